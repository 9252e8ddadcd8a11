//! A clean close while workers still wait for jobs: what it gives back is claimed by nobody else on the way out.

use std::sync::Barrier;

use ml_persistence::jobs::ClaimRequest;
use ml_persistence::{ErrorKind, MlPersistence, NewJob};

const WAITERS: usize = 4;
const ROUNDS: u32 = 8;

#[test]
fn a_clean_close_counts_no_crash_even_while_workers_wait_for_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..ROUNDS {
        let db = MlPersistence::open(folder.path()).expect("the store opens");
        let swept = db.recovery().clone();
        assert_eq!((swept.jobs_requeued, swept.jobs_discarded), (0, 0), "round {round}: a close left leases behind");
        if round == 0 {
            let jobs: Vec<NewJob> = (0..16).map(|_| NewJob::new("q", "k")).collect();
            db.jobs().enqueue_batch(&jobs).expect("an enqueue");
        }
        let held: Vec<_> =
            db.jobs().claim(&["q"], 16).expect("a claim").into_iter().map(|lease| lease.into_parts()).collect();
        assert_eq!(held.len(), 16, "round {round}");
        assert!(held.iter().all(|(job, _)| job.crash_count == 0), "round {round}: a close was taken for a crash");
        let ready = Barrier::new(WAITERS + 1);
        std::thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    ready.wait();
                    // As a worker does: what it is handed it works on, which a close does not wait for.
                    loop {
                        match db.jobs().claim_wait(&ClaimRequest::new(["q"]), 60_000) {
                            Ok(leases) => leases.into_iter().for_each(|lease| drop(lease.into_parts())),
                            Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                        }
                    }
                });
            }
            ready.wait();
            db.close().expect("a clean close");
        });
    }
}
