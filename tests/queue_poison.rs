//! A job that aborts its process: the store opens every time, and after `max_crashes` the job is discarded.
//!
//! The child is this test binary again, running the ignored test below with a folder in its environment.

#![cfg(feature = "sled")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

use std::process::{Command, Output};

use ml_persistence::jobs::{Reason, State};
use ml_persistence::{Done, Handlers, JobId, MlPersistence, NewJob};

const FOLDER: &str = "MLP_POISON_FOLDER";
const POISON: JobId = JobId(1);
const MAX_CRASHES: u32 = 3;

#[test]
#[ignore = "the child process of the test below"]
fn child_that_works_off_what_is_ready() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let db = MlPersistence::open(folder).unwrap();
    let report = db.recovery();
    println!("swept {} {}", report.jobs_requeued, report.jobs_discarded);
    // Straight to the operating system: no unwinding, no destructor, no close.
    let handlers = Handlers::new().on("poison", |_| std::process::abort()).on("plain", |_| Ok(Done::ok()));
    db.jobs().drain(&["q"], &handlers).unwrap();
    db.close().unwrap();
}

#[test]
fn a_job_that_aborts_the_process_is_discarded_and_the_store_opens_every_time() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("db");
    let db = MlPersistence::open(&folder).unwrap();
    db.jobs().enqueue(NewJob::new("q", "poison").id(POISON).priority(0).max_crashes(MAX_CRASHES)).unwrap();
    let behind = db.jobs().enqueue(NewJob::new("q", "plain")).unwrap().job;
    db.close().unwrap();
    drop(db);
    let run = || -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["child_that_works_off_what_is_ready", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, &folder)
            .output()
            .unwrap()
    };
    for crashes in 0..MAX_CRASHES {
        let output = run();
        assert!(!output.status.success(), "it aborts while there are crashes left");
        let said = String::from_utf8(output.stdout).unwrap();
        let requeued = u32::from(crashes > 0);
        assert!(said.contains(&format!("swept {requeued} 0")), "opening {crashes}: {said}");
    }
    let output = run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("swept 0 1"));

    let db = MlPersistence::open(&folder).unwrap();
    let poison = db.jobs().get(POISON).unwrap().unwrap();
    assert_eq!((poison.state, poison.reason), (State::Discarded, Some(Reason::ProcessCrash)));
    assert_eq!((poison.crash_count, poison.attempt), (MAX_CRASHES, MAX_CRASHES));
    assert_eq!(db.jobs().get(behind).unwrap().unwrap().state, State::Completed, "what stood behind it was worked on");
    assert_eq!(db.verify().unwrap().violations_found, 0);
}
