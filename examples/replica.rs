//! A replica that follows its primary by small files, and takes its place when the primary is killed.
//!
//! ```text
//!   primary (a process of its own)                            replica (this process)
//!   workers: claim, work, complete ──> store                  follow: what leads on among the files
//!   every 200 commits a delta ──> folder of *.mlsnap files ──────┘
//!                    killed ✗                                  promote: a new primary, the jobs go on
//! ```
//!
//! `cargo run --example replica` needs nothing else. The primary here is this very program, started again; the folder
//! between them could as well be a mounted disk or a bucket that both can reach. What the replica has not been shipped when
//! the primary dies is lost with it: jobs that were completed there since run again here. That is the price of following by
//! files; a shorter interval makes it smaller.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ml_persistence::{Cursor, MlPersistence, NewJob, NewVersion};
use serde_json::json;

const ROLE: &str = "MLP_EXAMPLE_PRIMARY";
const JOBS: usize = 5_000;
const DELTA_EVERY: usize = 200;
/// Deltas that the replica sees before the primary is killed.
const DELTAS: usize = 8;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    match std::env::var_os(ROLE) {
        Some(folder) => be_primary(Path::new(&folder)),
        None => be_replica(),
    }
}

/// Works through a queue for ever, and ships what changed as it goes.
fn be_primary(folder: &Path) -> Result<(), Failure> {
    let db = MlPersistence::open(folder.join("primary"))?;
    let jobs: Vec<NewJob> = (0..1_000).map(|number| NewJob::new("train", format!("fit {number}"))).collect();
    for _ in 0..JOBS / 1_000 {
        db.jobs().enqueue_batch(&jobs)?;
    }
    let ship = |number: usize, since: Option<Cursor>| -> Result<Cursor, Failure> {
        let path = folder.join("shipped").join(format!("{number:06}.mlsnap"));
        let info = db.export_snapshot(path, since)?;
        // The parent waits for this line, not for time to pass.
        writeln!(std::io::stdout(), "{number} {} {}", info.bytes, info.cursor)?;
        Ok(info.cursor)
    };
    let mut cursor = ship(0, None)?;
    for number in 1.. {
        for _ in 0..DELTA_EVERY {
            let Some(lease) = db.jobs().claim(&["train"], 1)?.pop() else { return Ok(()) };
            lease.complete_with(|txn| {
                txn.registry().register_version("spam", NewVersion::new().metric("f1", 0.9)).map(drop)
            })?;
        }
        cursor = ship(number, Some(cursor))?;
    }
    Ok(())
}

fn be_replica() -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let shipped = scratch.path().join("shipped");
    std::fs::create_dir(&shipped)?;
    let mut primary = start(scratch.path())?;
    let output = primary.stdout.take().ok_or("the primary has no output")?;

    let replica = MlPersistence::builder(scratch.path().join("replica")).open_replica()?;
    for line in BufReader::new(output).lines().take(1 + DELTAS) {
        let line = line?;
        let mut words = line.split(' ');
        let (number, bytes) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let at: Cursor = words.next().unwrap_or_default().parse()?;
        replica.follow(&shipped)?;
        let lag = replica.status()?.lag(&at)?;
        let versions = replica.registry().get_model("spam")?.map_or(0, |model| model.versions);
        println!("file {number} of {bytes} bytes: {versions} versions here, {lag} commits behind it");
    }

    primary.kill()?;
    primary.wait()?;
    println!("the primary is gone");
    replica.follow(&shipped)?;
    let db = replica.promote()?;
    let report = db.verify()?;
    let versions = db.registry().get_model("spam")?.map_or(0, |model| model.versions);
    println!("promoted with {versions} versions; {} violations in {} records", report.violations_found, report.records);

    // Leases that the old primary had granted are over: the jobs go on here.
    let mut completed = 0;
    while completed < 300 {
        let Some(lease) = db.jobs().claim(&["train"], 1)?.pop() else { break };
        lease.complete(json!({"by": "the new primary"}))?;
        completed += 1;
    }
    println!("{completed} jobs completed by the new primary");
    db.close()?;
    if report.violations_found > 0 || versions < (DELTAS * DELTA_EVERY) as u32 || completed < 300 {
        return Err("the replica did not take over as it should".into());
    }
    Ok(())
}

fn start(folder: &Path) -> Result<Child, Failure> {
    Ok(Command::new(std::env::current_exe()?).env(ROLE, folder).stdout(Stdio::piped()).spawn()?)
}
