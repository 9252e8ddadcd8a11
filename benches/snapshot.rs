//! Export, verify, import and delta of a store of jobs, beside a bare scan and a bare load of the same entries; what an export
//! under way costs those who commit; and one changed job in a store of a million.
//!
//! `cargo bench --bench snapshot` takes 200 k jobs for the rates (`-- --jobs N` chooses) and 1 M for the delta (`--large N`, 0
//! leaves it out); it prints a table, or with `--json` one JSON object. A rate is in bytes of keys and values, and in entries,
//! by second. Memory is what the process has resident beyond what it had when the step began, caches of sled included (at most
//! `cache_bytes`, 64 MiB, for each store). Nothing else should run meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Direction, Engine, KeyRange, Reader, Tree, WriteBatch};
use ml_persistence::{Config, Durability, Json, MlPersistence, NewJob, SnapshotInfo, Stopwatch};

const STEP: usize = 1_000;
const PAGE: usize = 512;
const WRITERS: usize = 16;
const COMMITS: usize = 400;
const CACHE_BYTES: usize = 64 << 20;

type Failure = Box<dyn std::error::Error>;

struct Row {
    what: &'static str,
    seconds: f64,
    bytes: u64,
    entries: u64,
}

fn chosen(option: &str, usual: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let chosen = arguments.iter().position(|word| word == option).and_then(|at| arguments.get(at + 1));
    chosen.and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// What one changed job in a store of `count` costs.
struct Delta {
    jobs: usize,
    bytes: u64,
    ms: f64,
}

fn delta_of_one_job(folder: &Path, count: usize) -> Result<Delta, Failure> {
    let db = MlPersistence::open(folder)?;
    fill(&db, count)?;
    let cursor = db.sync()?;
    for lease in db.jobs().claim(&["train"], 1)? {
        lease.complete(serde_json::json!(null))?;
    }
    let took = Stopwatch::start();
    let changed = db.export_snapshot(folder.join("delta"), Some(cursor))?;
    let ms = took.elapsed().as_secs_f64() * 1e3;
    db.close()?;
    Ok(Delta { jobs: count, bytes: changed.bytes, ms })
}

/// The most that a step had resident beyond its beginning, in MiB.
struct Memory {
    idle_mib: u64,
    most_mib: u64,
}

impl Memory {
    fn begin() -> Self {
        let idle_mib = resident_mib();
        Memory { idle_mib, most_mib: idle_mib }
    }

    fn look(&mut self) {
        self.most_mib = self.most_mib.max(resident_mib());
    }

    fn over_idle(&self) -> u64 {
        self.most_mib - self.idle_mib
    }
}

fn fill(db: &MlPersistence, count: usize) -> Result<(), Failure> {
    let jobs = db.jobs().with_durability(Durability::Buffered);
    let mut dice = 1u64;
    let mut left = count;
    while left > 0 {
        let step = left.min(STEP);
        let batch: Vec<NewJob> = (0..step)
            .map(|_| {
                // Half of a payload packs well, half does not, as with real ones.
                let noise: String = (0..8)
                    .map(|_| {
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        format!("{:016x}", dice)
                    })
                    .collect();
                let payload = serde_json::json!({"depth": 6, "dataset": "s3://bucket/train/part", "run": noise});
                NewJob::new("train", "fit").payload(Json::from(payload))
            })
            .collect();
        jobs.enqueue_batch(&batch)?;
        left -= step;
    }
    db.checkpoint()?;
    Ok(())
}

/// Calls `each` with every page of the store in `folder`, read through a bare engine.
fn scan(
    folder: &Path,
    mut each: impl FnMut(Tree, Vec<(Vec<u8>, ml_persistence::engine::Value)>),
) -> Result<(), Failure> {
    let (engine, _) = LocalEngine::open_read_only(Arc::new(RealDisk::new()), folder, &SledOpener, &Config::new()?)?;
    for tree in Tree::ALL {
        let mut rest = KeyRange::all();
        loop {
            let page = engine.scan(*tree, &rest, Direction::Ascending, PAGE)?;
            each(*tree, page.entries);
            match page.resume {
                Some(key) => rest = rest.behind(&key, Direction::Ascending),
                None => break,
            }
        }
    }
    engine.close()?;
    Ok(())
}

fn timed<T>(
    what: &'static str,
    rows: &mut Vec<Row>,
    work: impl FnOnce() -> Result<(T, u64, u64), Failure>,
) -> Result<T, Failure> {
    let took = Stopwatch::start();
    let (answer, bytes, entries) = work()?;
    rows.push(Row { what, seconds: took.elapsed().as_secs_f64(), bytes, entries });
    Ok(answer)
}

/// Commits from many threads until each has made its number, or until told to stop; milliseconds, sorted.
fn commit(db: &MlPersistence, stop: Option<&AtomicBool>) -> Result<Vec<f64>, Failure> {
    let mut all = Vec::new();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || -> ml_persistence::Result<Vec<f64>> {
                    let values = db.namespace("bench")?;
                    let mut took_ms = Vec::new();
                    for number in 0.. {
                        let enough = stop.map_or(number >= COMMITS, |stop| stop.load(Ordering::SeqCst));
                        if enough {
                            break;
                        }
                        let took = Stopwatch::start();
                        values.put(&format!("{writer} {}", number % 1_000), &number)?;
                        took_ms.push(took.elapsed().as_secs_f64() * 1e3);
                    }
                    Ok(took_ms)
                })
            })
            .collect();
        for writer in writers {
            all.extend(writer.join().map_err(|_| "a writer panicked")??);
        }
        Ok(())
    })?;
    all.sort_by(f64::total_cmp);
    Ok(all)
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted.get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Resident memory of this process in MiB; 0 where there is no /proc.
fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    (text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096) >> 20
}

fn main() -> Result<(), Failure> {
    let count = chosen("--jobs", 200_000);
    let as_json = std::env::args().any(|word| word == "--json");
    let scratch = tempfile::tempdir()?;
    let path = |name: &str| scratch.path().join(name);
    let (store, full) = (path("store"), path("full"));
    let db = MlPersistence::open(&store)?;
    fill(&db, count)?;
    let mut rows = Vec::new();

    let mut exporting = Memory::begin();
    let exported: SnapshotInfo = timed("export", &mut rows, || {
        let info = db.export_snapshot_with(&full, None, &mut |_| exporting.look())?;
        let (bytes, records) = (info.raw_bytes, info.records);
        Ok((info, bytes, records))
    })?;
    timed("verify", &mut rows, || {
        let info = MlPersistence::inspect_snapshot(&full)?;
        Ok(((), info.raw_bytes, info.records))
    })?;
    let copy = MlPersistence::open(path("copy"))?;
    let mut importing = Memory::begin();
    timed("import", &mut rows, || {
        let info = copy.import_snapshot_with(&full, false, &mut |_| importing.look())?;
        Ok(((), info.raw_bytes, info.records))
    })?;
    assert_eq!(exported.digest, Some(copy.digest()?));
    copy.close()?;

    let idle = commit(&db, None)?;
    let stop = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| -> Result<Vec<f64>, Failure> {
        let writers = scope.spawn(|| commit(&db, Some(&stop)).map_err(|failure| failure.to_string()));
        let exported = db.export_snapshot(path("under writers"), None);
        stop.store(true, Ordering::SeqCst);
        exported?;
        Ok(writers.join().map_err(|_| "the writers panicked")??)
    })?;
    db.close()?;

    timed("bare scan", &mut rows, || {
        let (mut bytes, mut entries) = (0, 0);
        scan(&store, |_, page| {
            entries += page.len() as u64;
            bytes += page.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        })?;
        Ok(((), bytes, entries))
    })?;
    let mut pages = Vec::new();
    scan(&store, |tree, page| pages.push((tree, page)))?;
    timed("bare load", &mut rows, || {
        let folder = path("load");
        std::fs::create_dir(&folder)?;
        let store = SledOpener.open(&folder, CACHE_BYTES)?;
        let (mut bytes, mut entries) = (0, 0);
        for (tree, page) in pages {
            let writes: Vec<_> = page.into_iter().map(|(key, value)| (tree, key.into(), Some(value))).collect();
            entries += writes.len() as u64;
            let size = |(_, key, value): &(Tree, Box<[u8]>, Option<ml_persistence::engine::Value>)| {
                (key.len() + value.as_ref().map_or(0, |value| value.len())) as u64
            };
            bytes += writes.iter().map(size).sum::<u64>();
            store.apply(&WriteBatch { writes, mark: None })?;
            store.sync()?;
        }
        Ok(((), bytes, entries))
    })?;

    let large = chosen("--large", 1_000_000);
    let delta = if large == 0 { None } else { Some(delta_of_one_job(&path("large"), large)?) };

    let (idle_p99, busy_p99) = (percentile(&idle, 0.99), percentile(&busy, 0.99));
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({"what": row.what, "s": row.seconds, "bytes": row.bytes, "entries": row.entries}))
            .collect();
        let delta = delta.map(|delta| serde_json::json!({"jobs": delta.jobs, "bytes": delta.bytes, "ms": delta.ms}));
        println!(
            "{}",
            serde_json::json!({"snapshot": rows, "jobs": count, "file_bytes": exported.bytes, "delta": delta,
                "writers": WRITERS, "idle_p99_ms": idle_p99, "busy_p99_ms": busy_p99, "busy_commits": busy.len(),
                "export_over_idle_mib": exporting.over_idle(), "import_over_idle_mib": importing.over_idle()})
        );
        return Ok(());
    }
    println!("| {count} jobs | s | MB/s | k entries/s |");
    println!("|---|---|---|---|");
    for Row { what, seconds, bytes, entries } in &rows {
        let (megabytes, thousands) = (*bytes as f64 / 1e6 / seconds, *entries as f64 / 1e3 / seconds);
        println!("| {what} | {seconds:.2} | {megabytes:.0} | {thousands:.0} |");
    }
    println!("file: {} of {} bytes of keys and values", exported.bytes, exported.raw_bytes);
    println!(
        "memory over idle: {} MiB during the export, {} MiB during the import",
        exporting.over_idle(),
        importing.over_idle()
    );
    if let Some(Delta { jobs, bytes, ms }) = delta {
        println!("delta of one changed job of {jobs}: {bytes} bytes in {ms:.1} ms");
    }
    println!(
        "commit p50 / p99 of {WRITERS} writers: idle {:.2} / {idle_p99:.2} ms, during an export {:.2} / {busy_p99:.2} ms ({} \
         commits): x{:.2}",
        percentile(&idle, 0.5),
        percentile(&busy, 0.5),
        busy.len(),
        busy_p99 / idle_p99
    );
    Ok(())
}
