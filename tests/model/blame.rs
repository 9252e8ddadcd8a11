//! Found by the copies' model: a job that executed where a state was taken from was counted as crashed by the import and
//! by the promotion, so that one with a single crash to its name was given up although nothing of it had crashed. Its
//! worker is elsewhere; the job goes back to its place in line, as at a clean close.

use ml_persistence::jobs::State;
use ml_persistence::{ManualClock, MlPersistence, NewJob};

use super::ground::Ground;
use super::rig::BEGIN_MS;

fn assert_waits_blamelessly(db: &MlPersistence) {
    let job = db.jobs().claim(&["q"], 1).unwrap().remove(0).into_parts().0;
    assert_eq!((job.state, job.attempt, job.crash_count), (State::Executing, 1, 0));
}

#[test]
fn importing_and_promoting_blame_no_job_for_a_crash_and_a_crash_afterwards_does() {
    let clock = ManualClock::at(BEGIN_MS);
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("full.mlsnap");
    let source = Ground::new(clock.clone(), 1).builder().open().unwrap();
    let id = source.jobs().enqueue(NewJob::new("q", "k").max_crashes(1)).unwrap().job;
    drop(source.jobs().claim(&["q"], 1).unwrap().remove(0).into_parts());
    source.export_snapshot(&path, None).unwrap();

    let imported = Ground::new(clock.clone(), 2).builder().open().unwrap();
    imported.import_snapshot(&path, false).unwrap();
    assert_waits_blamelessly(&imported);

    let ground = Ground::new(clock, 3);
    let replica = ground.builder().open_replica().unwrap();
    replica.apply(&path).unwrap();
    let promoted = replica.promote().unwrap();
    assert_waits_blamelessly(&promoted);
    // From here on its jobs are executed here.
    let killed = ground.with_disk(ground.disk.kill());
    drop(promoted);
    let job = killed.builder().open().unwrap().jobs().get(id).unwrap().unwrap();
    assert_eq!((job.state, job.crash_count), (State::Discarded, 1));
}
