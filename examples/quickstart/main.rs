//! The main job: real training runs through the queue into the registry, on one folder.
//!
//! ```text
//! grid of training jobs ──enqueue, one commit──> queue "train"
//!                                                   │ claim
//!                                   workers: train and measure a classifier
//!                                                   │ complete_with: job done + model version, one commit
//!                                                   v
//!                        registry ──best of each model──> active version, alias "production"
//! ```
//!
//! Run it again on the same folder and it goes on counting versions. Kill it at any point, or let it kill itself with
//! `--crash-after`: the next run says what it found, runs what was left over, and has every version exactly once.
//!
//! `training.rs` is the machine learning and knows no store; `work.rs` is the queue; `report.rs` the registry.

mod flags;
mod report;
mod training;
mod work;

use std::process::ExitCode;

use flags::Flags;
use ml_persistence::{MlPersistence, RecoveryReport, Stopwatch};
use training::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(flags) = Flags::parse(std::env::args().skip(1))? else {
        println!("{}", flags::USAGE);
        return Ok(());
    };
    let watch = Stopwatch::start();
    let db = MlPersistence::open(&flags.data)?;
    say_what_was_found(db.recovery());

    let left_over = work::open_jobs(&db)?;
    if left_over > 0 {
        println!("{left_over} jobs are left over from an earlier run");
    }
    work::enqueue(&db, flags.jobs)?;
    println!("{} jobs enqueued; {} workers begin", flags.jobs, flags.workers);

    let done = work::run(&db, flags.workers, flags.crash_after)?;
    report::promote_the_best(&db)?;

    let report = report::Report::read(&db)?;
    report.print_table();
    println!(
        "{} jobs completed in this run, {} of them begun before a crash, in {:.1} s",
        done.completed,
        done.rerun,
        watch.elapsed().as_secs_f64()
    );
    report.print_audit();
    let recovery = db.recovery().clone();
    db.close()?;
    if flags.json {
        println!("{}", report.to_json(&done, &recovery));
    }
    report.check()
}

fn say_what_was_found(recovery: &RecoveryReport) {
    if recovery.epoch == 1 {
        println!("a new store");
        return;
    }
    println!(
        "recovered in {} ms: opening number {}, {} commits read back from the journal, {} jobs were executing and wait \
         again, {} given up, {} records in quarantine",
        recovery.ms,
        recovery.epoch,
        recovery.replayed,
        recovery.jobs_requeued,
        recovery.jobs_discarded,
        recovery.quarantined,
    );
}
