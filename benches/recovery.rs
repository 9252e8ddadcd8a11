//! Opening a store with many finished jobs and a thousand executing ones: what recovery costs, and that it does not
//! grow with the finished ones.
//!
//! `cargo bench --bench recovery` builds stores with 10 k, 100 k and 1 M finished jobs (`-- --finished N,N…` chooses),
//! leaves 1,000 executing, ends the process's hold on the folder without a clean close, and reopens it five times per
//! size, each from a fresh copy. It prints medians in milliseconds, then one JSON line.

use std::path::Path;
use std::process::Command;

use ml_persistence::{Durability, MlPersistence, NewJob, RecoveryReport, Stopwatch};

const EXECUTING: usize = 1_000;
const ROUNDS: usize = 5;
const STEP: usize = 1_000;
const CHILD: &str = "MLP_BENCH_RECOVERY_FILL";

type Failure = Box<dyn std::error::Error>;

/// Fills `folder` and dies without closing, as a crashed host would.
fn fill(folder: &Path, finished: usize) -> Result<(), Failure> {
    let db = MlPersistence::open(folder)?;
    let jobs = db.jobs().with_durability(Durability::Buffered);
    let batch = |count: usize| (0..count).map(|i| NewJob::new("train", format!("fit {i}"))).collect::<Vec<_>>();
    let mut left = finished;
    while left > 0 {
        let step = left.min(STEP);
        jobs.enqueue_batch(&batch(step))?;
        let tokens: Vec<_> = jobs.claim(&["train"], step)?.into_iter().map(|lease| lease.into_parts().1).collect();
        for some in tokens.chunks(100) {
            db.transact_with(Durability::Buffered, |txn| {
                some.iter().try_for_each(|token| txn.jobs().complete(token, None).map(drop))
            })?;
        }
        left -= step;
    }
    // What is finished lies in the store; what is executing may lie in the journal, as it would in a live host.
    db.checkpoint()?;
    jobs.enqueue_batch(&batch(EXECUTING))?;
    let leases = db.jobs().claim(&["train"], EXECUTING)?;
    assert_eq!(leases.len(), EXECUTING);
    db.sync()?;
    std::process::abort();
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn reopen(folder: &Path) -> Result<(RecoveryReport, f64), Failure> {
    let took = Stopwatch::start();
    let db = MlPersistence::open(folder)?;
    let total_ms = took.elapsed().as_secs_f64() * 1e3;
    let report = db.recovery().clone();
    assert_eq!(report.jobs_requeued, EXECUTING as u64, "every executing job is taken back");
    db.close()?;
    Ok((report, total_ms))
}

fn sizes() -> Vec<usize> {
    let arguments: Vec<String> = std::env::args().collect();
    let chosen = arguments.iter().position(|word| word == "--finished").and_then(|at| arguments.get(at + 1));
    match chosen {
        Some(list) => list.split(',').filter_map(|number| number.parse().ok()).collect(),
        None => vec![10_000, 100_000, 1_000_000],
    }
}

fn main() -> Result<(), Failure> {
    if let Ok(request) = std::env::var(CHILD) {
        let (finished, folder) = request.split_once(' ').ok_or("a number and a folder")?;
        return fill(Path::new(folder), finished.parse()?);
    }
    println!(
        "| finished jobs | store open ms | replay ms | sweep ms | recovery (replay + sweep) ms | open in all ms |"
    );
    println!("|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for finished in sizes() {
        let scratch = tempfile::tempdir()?;
        let original = scratch.path().join("original");
        let ended =
            Command::new(std::env::current_exe()?).env(CHILD, format!("{finished} {}", original.display())).status()?;
        assert!(!ended.success(), "the filler ends by aborting");
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let folder = scratch.path().join(format!("copy {round}"));
            copy(&original, &folder)?;
            rounds.push(reopen(&folder)?);
            std::fs::remove_dir_all(&folder)?;
        }
        let of = |pick: &dyn Fn(&(RecoveryReport, f64)) -> f64| median(rounds.iter().map(pick).collect());
        let open = of(&|(report, _)| report.store_open_ms as f64);
        let replay = of(&|(report, _)| report.replay_ms as f64);
        let sweep = of(&|(report, _)| report.sweep_ms as f64);
        let recovery = of(&|(report, _)| (report.replay_ms + report.sweep_ms) as f64);
        let total = of(&|(_, total)| *total);
        println!("| {finished} | {open} | {replay} | {sweep} | {recovery} | {total:.1} |");
        rows.push(serde_json::json!({
            "finished": finished, "store_open_ms": open, "replay_ms": replay, "sweep_ms": sweep, "open_ms": total,
        }));
    }
    println!("{}", serde_json::json!({ "recovery": rows }));
    Ok(())
}
