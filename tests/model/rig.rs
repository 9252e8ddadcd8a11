//! A whole store that is closed, cut off and opened again; what the model of the queue runs on here.

use ml_persistence::jobs::recovery::SweepReport;
use ml_persistence::jobs::{Job, JobFilter};
use ml_persistence::{Jobs, ManualClock, MlPersistence};

use super::ground::Ground;
use super::items::Item;

pub const BEGIN_MS: u64 = 1_000_000;

pub struct Rig {
    ground: Ground,
    pub clock: ManualClock,
    open: Option<MlPersistence>,
    pub swept: SweepReport,
}

impl Rig {
    pub fn new() -> Self {
        let clock = ManualClock::at(BEGIN_MS);
        let ground = Ground::new(clock.clone(), 7);
        let mut rig = Rig { ground, clock, open: None, swept: SweepReport::default() };
        rig.reopen();
        rig
    }

    fn reopen(&mut self) {
        let db = self.ground.builder().open().expect("the store opens");
        let report = db.recovery();
        self.swept = SweepReport::default();
        self.swept.requeued = report.jobs_requeued;
        self.swept.discarded = report.jobs_discarded;
        self.swept.cancelled = report.jobs_cancelled;
        assert_eq!((report.quarantined, report.repaired, report.rebuilt), (0, 0, false), "nothing was damaged");
        db.collection::<Item>().expect("the collection opens").build().expect("its indexes are built");
        self.open = Some(db);
    }

    pub fn db(&self) -> &MlPersistence {
        self.open.as_ref().expect("open between steps")
    }

    pub fn jobs(&self) -> &Jobs {
        self.db().jobs()
    }

    /// Every index, counter and reference is what the records say.
    #[allow(dead_code, reason = "shared with the test of the queue alone")]
    pub fn verify(&self) {
        assert_sound(self.db());
    }

    /// The power goes; `seed` says what becomes of what was not synced.
    pub fn cut_power(&mut self, seed: u64) {
        let disk = self.ground.disk.crash(seed);
        self.leave_for(disk);
    }

    /// The process ends without a word.
    pub fn crash(&mut self) -> SweepReport {
        let disk = self.ground.disk.kill();
        self.leave_for(disk);
        self.swept
    }

    fn leave_for(&mut self, disk: ml_persistence::engine::local::sim::SimDisk) {
        // Whatever the old one still writes as it goes, it writes to a disk that nobody will look at.
        drop(self.open.take());
        self.ground = self.ground.with_disk(disk);
        self.reopen();
    }

    /// A clean end, then a new opening: everything stays as it is once the leases have been given back.
    pub fn close_and_open(&mut self) -> SweepReport {
        let db = self.open.take().expect("open between steps");
        db.jobs().release_all_on_close().expect("leases are given back");
        let before = db.digest().expect("a digest");
        db.close().expect("a clean end");
        drop(db);
        self.reopen();
        assert_eq!(self.db().digest().expect("a digest"), before, "a reopening changes nothing");
        self.swept
    }
}

pub fn assert_sound(db: &MlPersistence) {
    let report = db.verify().expect("a sweep");
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

/// All jobs of a list, by pages of this size.
pub fn all_by(jobs: &Jobs, filter: &JobFilter, page_size: usize) -> Vec<Job> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = jobs.list(filter, after.as_deref(), page_size).expect("a page of jobs");
        all.extend(page.jobs);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}
