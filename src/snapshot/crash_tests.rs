//! A delta that takes several transactions, cut off at every call of the disk, by the end of the process and by power cuts:
//! the next life holds the old state, the new one, or says that it stands between them; the same delta finishes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{apply, export, status};
use crate::config::Config;
use crate::engine::local::disk::Disk;
use crate::engine::local::place::Place;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;
use crate::engine::{Engine, Tree, Txn, TxnOptions, Value};
use crate::error::ErrorKind;
use crate::record::digest_bytes;

/// More than two transactions of a delta.
const CHANGES: u32 = 2_500;

fn open(disk: &SimDisk) -> Place {
    let mut config = Config::new().unwrap();
    config.memtable_bytes = 1 << 20;
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let opener = Arc::new(MemoryOpener::in_folder(Arc::clone(&disk)));
    Place::open(disk, Path::new("/data"), opener, &config).unwrap().0
}

fn write(engine: &dyn Engine, keys: std::ops::Range<u32>, stored: &[u8]) {
    let body = &mut |txn: &mut dyn Txn| {
        keys.clone().try_for_each(|number| txn.put(Tree::Kv, &number.to_be_bytes(), Value::from(stored)))
    };
    engine.transact(&TxnOptions::default(), body).unwrap();
}

fn digest(engine: &dyn Engine) -> [u8; 32] {
    let mut digest = [0; 32];
    engine
        .read_view(&mut |reader| {
            digest = digest_bytes(reader)?;
            Ok(())
        })
        .unwrap();
    digest
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    Between,
    New,
}

struct Case {
    long: PathBuf,
    short: PathBuf,
    old: [u8; 32],
    new: [u8; 32],
}

impl Case {
    /// What a life finds, and whether it is told; then the delta is applied again.
    fn look(&self, disk: &SimDisk, what: &str) -> Found {
        let follower = open(disk);
        let (found, status) = (digest(&follower), status(&follower).unwrap());
        let found = match status.applying {
            Some(_) => Found::Between,
            None if found == self.old => Found::Old,
            None if found == self.new => Found::New,
            None => panic!("{what}: a state between the two that nobody is told of"),
        };
        if found == Found::Between {
            assert_eq!(apply(&follower, &self.short, &mut |_| ()).unwrap_err().kind(), ErrorKind::Conflict, "{what}");
        }
        apply(&follower, &self.long, &mut |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(digest(&follower), self.new, "{what}");
        assert_eq!(super::status(&follower).unwrap().applying, None, "{what}");
        found
    }
}

#[test]
fn a_delta_cut_off_at_any_call_of_the_disk_is_finished_by_applying_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let source = open(&SimDisk::new());
    write(&source, 0..CHANGES, b"old");
    let base = export(&source, &file("full"), None, &mut |_| ()).unwrap().cursor;
    let old = digest(&source);
    write(&source, 0..5, b"short");
    export(&source, &file("short"), Some(&base), &mut |_| ()).unwrap();
    write(&source, 0..CHANGES, b"new");
    export(&source, &file("long"), Some(&base), &mut |_| ()).unwrap();
    let case = Case { long: file("long"), short: file("short"), old, new: digest(&source) };

    let home = SimDisk::recording();
    let follower = open(&home);
    apply(&follower, &file("full"), &mut |_| ()).unwrap();
    follower.checkpoint().unwrap();
    follower.close().unwrap();
    let (mut found, mut calls, mut sweeps) = (Vec::new(), 0, 1);
    let count = |found: &[Found], wanted: Found| found.iter().filter(|found| **found == wanted).count();
    loop {
        calls += 1;
        let disk = home.kill();
        let follower = open(&disk);
        disk.crash_at(calls);
        let applied = apply(&follower, &case.long, &mut |_| ());
        let done = !disk.is_off();
        drop(follower);
        let ends = [disk.kill(), disk.crash(calls), disk.crash(calls + 1_000)];
        for (end, disk) in ends.iter().enumerate() {
            let what = format!("call {calls}, end {end}");
            let next = case.look(disk, &what);
            assert!(applied.is_err() || next == Found::New, "{what}: it was said to be in");
            found.push(next);
        }
        if done {
            applied.unwrap();
            let counts = [Found::Old, Found::Between, Found::New].map(|wanted| count(&found, wanted));
            if calls >= 6 && counts.iter().all(|count| *count >= 3) {
                break;
            }
            // Calls of the engine's own threads are counted, too, and can take the places of those that matter.
            assert!(sweeps < 20, "{calls} calls, {counts:?}");
            (calls, sweeps) = (0, sweeps + 1);
        }
    }
}
