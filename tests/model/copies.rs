//! Snapshot files, stores made from them, and a replica that follows.

use std::path::PathBuf;

use ml_persistence::jobs::JobFilter;
use ml_persistence::{Cursor, ErrorKind, MlPersistence, Replica, SnapshotKind};
use proptest::prelude::*;
use tempfile::TempDir;

use super::ground::Ground;
use super::items::Item;
use super::queue::model::Model as Queue;
use super::rig::{BEGIN_MS, all_by, assert_sound};
use super::state::{Agreement, Moment, agree};

#[derive(Debug, Clone)]
pub enum Op {
    /// The whole state, into a file.
    Export,
    /// The newest file, into a store of its own.
    ImportElsewhere,
    /// The newest file, in the place of what there is.
    Restore,
    /// A replica is brought up to date: by a full snapshot at first, then by deltas.
    Follow,
    /// The replica's machine loses its power.
    CutReplica(u64),
    /// The replica becomes a primary, and is looked at as one.
    Promote,
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Export),
        2 => Just(Op::ImportElsewhere),
        1 => Just(Op::Restore),
        4 => Just(Op::Follow),
        1 => any::<u64>().prop_map(Op::CutReplica),
        1 => Just(Op::Promote),
    ]
}

pub struct Copies {
    folder: TempDir,
    files: u64,
    newest: Option<Export>,
    follower: Option<Follower>,
    /// Whether the store's history may still be the one of the file that it was restored from.
    restored: bool,
}

struct Export {
    path: PathBuf,
    digest: String,
    cursor: Cursor,
    moment: Moment,
}

struct Follower {
    ground: Ground,
    replica: Replica,
    digest: String,
    moment: Moment,
}

fn told(error: ml_persistence::Error) -> String {
    error.to_string()
}

impl Copies {
    pub fn new() -> Self {
        Copies { folder: tempfile::tempdir().unwrap(), files: 0, newest: None, follower: None, restored: false }
    }

    fn next_path(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.path().join(format!("{}.mlsnap", self.files))
    }

    /// A disk that nothing was written to yet, with identifiers that nobody else gives out.
    fn new_ground(&mut self) -> Ground {
        self.files += 1;
        Ground::new(ml_persistence::ManualClock::at(BEGIN_MS), 1_000 + self.files)
    }

    /// Answers the state that the store has been put back to, if it has.
    pub fn step(&mut self, db: &MlPersistence, now: &Moment, op: &Op) -> Result<Option<Moment>, String> {
        match op {
            Op::Export => self.export(db, now)?,
            Op::ImportElsewhere => self.import_elsewhere()?,
            Op::Restore => {
                let Some(newest) = &self.newest else { return Ok(None) };
                let info = db.import_snapshot(&newest.path, true).map_err(told)?;
                agree("restored to", &info.cursor, &newest.cursor)?;
                let mut moment = newest.moment.clone();
                (moment.queue.wall, moment.queue.monotonic) = (now.queue.wall, now.queue.monotonic);
                swept(&mut moment.queue);
                // What this store writes from here on is another history.
                (self.follower, self.restored) = (None, true);
                return Ok(Some(moment));
            }
            Op::Follow => self.follow(db, now)?,
            Op::CutReplica(seed) => {
                let Some(follower) = self.follower.take() else { return Ok(None) };
                let ground = follower.ground.with_disk(follower.ground.disk.crash(*seed));
                drop(follower.replica);
                let replica = ground.builder().open_replica().map_err(told)?;
                agree("a replica after a power cut", &replica.digest().map_err(told)?, &follower.digest)?;
                assert_sound(&replica);
                self.follower = Some(Follower { ground, replica, ..follower });
            }
            Op::Promote => {
                let Some(follower) = self.follower.take() else { return Ok(None) };
                let primary = follower.replica.promote().map_err(told)?;
                let mut moment = follower.moment;
                moment.queue.wall = BEGIN_MS;
                swept(&mut moment.queue);
                look_at(&primary, &moment)?;
            }
        }
        Ok(None)
    }

    fn export(&mut self, db: &MlPersistence, now: &Moment) -> Agreement {
        let path = self.next_path();
        let info = db.export_snapshot(&path, None).map_err(told)?;
        let digest = db.digest().map_err(told)?;
        agree("the digest in the file", &info.digest, &Some(digest.clone()))?;
        agree("inspected", &MlPersistence::inspect_snapshot(&path).map_err(told)?, &info)?;
        self.newest = Some(Export { path, digest, cursor: info.cursor, moment: now.clone() });
        Ok(())
    }

    fn import_elsewhere(&mut self) -> Agreement {
        let ground = self.new_ground();
        let Some(newest) = &self.newest else { return Ok(()) };
        let db = ground.builder().open().map_err(told)?;
        db.import_snapshot(&newest.path, false).map_err(told)?;
        let mut moment = newest.moment.clone();
        moment.queue.wall = BEGIN_MS;
        let was_executing = swept(&mut moment.queue) > 0;
        if !was_executing {
            agree("the digest of an import", &db.digest().map_err(told)?, &newest.digest)?;
            agree("the cursor of an import", &db.cursor(), &newest.cursor)?;
        }
        look_at(&db, &moment)?;
        let again = db.import_snapshot(&newest.path, false).map_err(|error| error.kind());
        agree("a second import", &again.map(drop), &Err(ErrorKind::Conflict))?;
        // What was imported survives a power cut, and so does what the sweep made of it.
        let digest = db.digest().map_err(told)?;
        let cut = ground.with_disk(ground.disk.crash(self.files));
        drop(db);
        let db = cut.builder().open().map_err(told)?;
        agree("an import after a power cut", &db.digest().map_err(told)?, &digest)
    }

    fn follow(&mut self, db: &MlPersistence, now: &Moment) -> Agreement {
        let path = self.next_path();
        let follower = match self.follower.take() {
            Some(follower) => {
                let since = follower.replica.status().map_err(told)?.cursor;
                let since = since.ok_or("a replica without a cursor")?;
                match db.export_snapshot(&path, Some(since)) {
                    // The first write after a restoring begins a history of its own, and what had followed the one
                    // that was restored has to begin again.
                    Err(error) if self.restored && error.kind() == ErrorKind::Diverged => {
                        self.restored = false;
                        return Ok(());
                    }
                    exported => agree("kind", &exported.map_err(told)?.kind, &SnapshotKind::Delta)?,
                }
                follower
            }
            None => {
                db.export_snapshot(&path, None).map_err(told)?;
                let ground = self.new_ground();
                let replica = ground.builder().open_replica().map_err(told)?;
                Follower { ground, replica, digest: String::new(), moment: now.clone() }
            }
        };
        follower.replica.apply(&path).map_err(told)?;
        let digest = follower.replica.digest().map_err(told)?;
        agree("the digest of a replica", &digest, &db.digest().map_err(told)?)?;
        assert_sound(&follower.replica);
        // Applied again, it changes nothing.
        follower.replica.apply(&path).map_err(told)?;
        agree("applied twice", &follower.replica.digest().map_err(told)?, &digest)?;
        now.state.compare(&follower.replica)?;
        self.follower = Some(Follower { digest, moment: now.clone(), ..follower });
        Ok(())
    }
}

/// What the sweep of a state that was taken over makes of jobs that executed where it comes from: their workers are
/// elsewhere, and nobody has crashed.
fn swept(queue: &mut Queue) -> u64 {
    queue.end_all(false).iter().sum()
}

/// Looks at a store that was made from another.
fn look_at(db: &MlPersistence, moment: &Moment) -> Agreement {
    db.collection::<Item>().map_err(told)?;
    moment.state.compare(db)?;
    assert_sound(db);
    let mut stored: Vec<_> = all_by(db.jobs(), &JobFilter::new(), 100)
        .into_iter()
        .map(|job| (job.id, job.state, job.attempt, job.crash_count, job.run_at, job.finished_at, job.unique_key))
        .collect();
    stored.sort_by_key(|job| job.0);
    let row = |(id, row): (&ml_persistence::JobId, &super::queue::model::Row)| {
        (*id, row.state, row.attempt, row.crash_count, row.run_at, row.finished_at, row.unique.clone())
    };
    agree("jobs", &stored, &moment.queue.rows.iter().map(row).collect())
}
