//! A store whose files are damaged, as users meet it: rebuilt with nothing lost, or refused with what is missing.
//!
//! What a crash in the middle of a rebuild leaves is tested on a simulated disk, in `src/engine/local/tests/rebuild.rs`.

#![cfg(feature = "sled")]
// A panic here is a failed test; clippy sees that only for functions marked as such.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use ml_persistence::{Builder, Durability, ErrorKind, MlPersistence, NewJob, SnapshotPolicy};
use tempfile::TempDir;

const EVERY_BYTES: u64 = 256 << 10;

fn builder(folder: &Path) -> Builder {
    let builder = MlPersistence::builder(folder).memtable_bytes(1 << 20).journal_retention_bytes(0);
    // Closing syncs; what a power cut takes is another test's subject.
    builder.durability(Durability::Buffered)
}

fn with_policy(folder: &Path, retention: u64) -> Builder {
    builder(folder).journal_retention_bytes(retention).snapshot_policy(SnapshotPolicy::new(EVERY_BYTES, 2))
}

/// Enough for several snapshots and for a journal that forgets its start.
fn write(db: &MlPersistence, from: u32) {
    let values = db.namespace("cache").unwrap();
    for number in from..from + 400 {
        values.put(&format!("k{}", number % 300), &format!("{number} {}", "x".repeat(3_000))).unwrap();
    }
    db.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
    db.checkpoint().unwrap();
}

/// Waits for what the background does.
fn wait(db: &MlPersistence, what: &str, done: impl Fn(&ml_persistence::StoreStats) -> bool) {
    loop {
        let stats = db.stats().unwrap();
        assert_eq!(stats.snapshots.last_failure, None, "{what}");
        if done(&stats) {
            return;
        }
        std::thread::yield_now();
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A store with two snapshots, a journal that begins behind its start, and commits behind the newest; and its digest.
    fn store(&self, retention: u64) -> (PathBuf, String) {
        let folder = self.path("db");
        let db = with_policy(&folder, retention).open().unwrap();
        for round in 0..4u32 {
            write(&db, round * 400);
            wait(&db, "a snapshot a round", |stats| stats.snapshots.made > u64::from(round));
        }
        db.namespace("cache").unwrap().put("last", "acknowledged").unwrap();
        let stats = db.stats().unwrap();
        assert_eq!((stats.rebuildable, stats.snapshots.kept), (true, 2));
        assert!(retention > 0 || stats.storage.journal_first_sequence > 1);
        let digest = db.digest().unwrap();
        db.close().unwrap();
        (folder, digest)
    }

    fn copy(&self, folder: &Path, name: &str) -> PathBuf {
        let target = self.path(name);
        copy_folder(folder, &target);
        target
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.is_file());
    paths
}

fn inside(folder: &Path, name: &str) -> PathBuf {
    folder.join("gen-00000001").join(name)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// What it is, which file it strikes, and how.
type Damage = (String, PathBuf, Box<dyn Fn(&Path)>);

/// Every file of the store flipped here and there, cut and removed.
fn damages(store: &Path) -> Vec<Damage> {
    let mut all: Vec<Damage> = Vec::new();
    for path in files(store) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let length = fs::metadata(&path).unwrap().len() as usize;
        let mut add = |what: String, damage: Box<dyn Fn(&Path)>| {
            all.push((format!("{name}: {what}"), PathBuf::from(&name), damage));
        };
        add("removed".to_owned(), Box::new(|path| fs::remove_file(path).unwrap()));
        for part in [0, length / 2, length.saturating_sub(1)] {
            add(format!("cut at {part}"), Box::new(move |path| change(path, |bytes| bytes.truncate(part))));
        }
        for at in [0, 3, length / 3, length / 2, length - 1] {
            add(format!("flipped at {at}"), Box::new(move |path| change(path, |bytes| bytes[at] ^= 0x10)));
        }
        add("noise".to_owned(), Box::new(|path| change(path, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0xa7))));
    }
    all
}

#[test]
fn a_store_damaged_so_that_it_does_not_open_is_rebuilt_with_nothing_lost() {
    let place = Place::new();
    let (folder, digest) = place.store(0);
    let (mut rebuilt, mut unharmed, mut silent) = (0, 0, Vec::new());
    for (number, (what, file, damage)) in damages(&inside(&folder, "store")).into_iter().enumerate() {
        let copy = place.copy(&folder, &number.to_string());
        damage(&inside(&copy, "store").join(file));
        let db = with_policy(&copy, 0).open().unwrap_or_else(|error| panic!("{what}: {error}"));
        if db.recovery().damaged_store.is_some() {
            rebuilt += 1;
            assert_eq!(db.digest().unwrap(), digest, "{what}");
            let kept = db.recovery().damaged_store.clone().unwrap();
            assert!(kept.is_dir() && db.recovery().rebuilt, "{what}");
            assert_eq!(
                db.namespace("cache").unwrap().get_as::<String>("last").unwrap().as_deref(),
                Some("acknowledged")
            );
            assert!(db.verify().unwrap().violations.is_empty(), "{what}");
            assert!(db.stats().unwrap().rebuildable, "{what}");
        } else {
            // Nobody minded: either nothing is wrong, or reading says so, or verify does. What sled replays it passes over
            // in silence from the first damaged message of a segment on; nothing at opening could tell.
            unharmed += 1;
            let noticed = db.digest().is_err() || db.verify().map_or(true, |report| !report.violations.is_empty());
            if !noticed && db.digest().unwrap() != digest {
                silent.push(what);
            }
        }
        drop(db);
        fs::remove_dir_all(&copy).unwrap_or_default();
    }
    assert!(rebuilt >= 8, "{rebuilt} rebuilt, {unharmed} opened");
    assert_eq!(silent.iter().find(|what| ["db: flipped at 0", "db: flipped at 3"].contains(&what.as_str())), None);
    println!("{rebuilt} rebuilt, {unharmed} opened as they were, of these unnoticed: {silent:?}");
}

#[test]
fn with_the_newest_snapshot_damaged_the_one_before_serves_where_the_journal_reaches_back_to_it() {
    let place = Place::new();
    let (folder, digest) = place.store(64 << 20);
    fs::remove_dir_all(inside(&folder, "store")).unwrap();
    let newest = files(&inside(&folder, "snapshots")).pop().unwrap();
    let length = fs::metadata(&newest).unwrap().len() as usize;
    change(&newest, |bytes| bytes[length / 2] ^= 1);
    // A journal that reaches back to the very start needs none; forget that.
    let db = with_policy(&folder, 64 << 20).open().unwrap();
    assert!(db.recovery().rebuilt);
    assert_eq!(db.digest().unwrap(), digest);
}

#[test]
fn a_gap_between_snapshot_and_journal_is_corrupt_says_what_is_missing_and_changes_nothing() {
    let place = Place::new();
    let (folder, digest) = place.store(0);
    // A file of somebody's own, from just now.
    let db = builder(&folder).open().unwrap();
    for round in 4..8 {
        write(&db, round * 400);
    }
    wait(&db, "without a policy the journal goes on forgetting", |stats| !stats.rebuildable);
    db.export_snapshot(place.path("backup"), None).unwrap();
    let wanted = db.stats().unwrap().storage.durable_sequence;
    let after = db.namespace("cache").unwrap();
    after.put("after", "the backup").unwrap();
    let later = db.digest().unwrap();
    db.close().unwrap();
    assert_ne!(later, digest);

    let snapshots = files(&inside(&folder, "snapshots"));
    change(snapshots.last().unwrap(), |bytes| bytes[400] ^= 1);
    let store = inside(&folder, "store");
    fs::remove_file(store.join("db")).unwrap();
    fs::write(store.join("db"), b"nothing of the kind").unwrap();
    let before = files(&store);
    for _ in 0..2 {
        let refused = builder(&folder).open().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        let said = refused.to_string();
        for part in
            ["a full snapshot of this store at a commit from", "are missing", "is no use", "snapshot rebuild FILE"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(files(&store), before);
        assert_eq!(fs::read(store.join("db")).unwrap(), b"nothing of the kind");
        assert!(!inside(&folder, "store.rebuilt").exists());
    }
    // One that does not exist, one of another store, then the right one.
    assert_eq!(builder(&folder).rebuild(Some(&place.path("none"))).unwrap_err().kind(), ErrorKind::NotFound);
    let other = MlPersistence::in_memory().open().unwrap();
    while other.stats().unwrap().storage.durable_sequence < wanted {
        other.namespace("n").unwrap().put("k", "v").unwrap();
    }
    other.export_snapshot(place.path("foreign"), None).unwrap();
    let refused = builder(&folder).rebuild(Some(&place.path("foreign"))).unwrap_err();
    assert!(refused.kind() == ErrorKind::Corrupt && refused.to_string().contains("another store"), "{refused}");
    let db = builder(&folder).rebuild(Some(&place.path("backup"))).unwrap();
    assert_eq!(db.digest().unwrap(), later);
    assert!(db.verify().unwrap().violations.is_empty());
}

#[test]
fn a_store_that_opens_can_be_rebuilt_by_hand_and_goes_on_as_the_same_store() {
    let place = Place::new();
    let (folder, digest) = place.store(0);
    let db = with_policy(&folder, 0).open().unwrap();
    let exported = db.export_snapshot(place.path("backup"), None).unwrap();
    db.close().unwrap();
    let replica = MlPersistence::builder(place.path("replica")).open_replica().unwrap();
    replica.apply(place.path("backup")).unwrap();
    // From its own snapshots, then from a file; each time the store of before is kept.
    for round in 1..=2 {
        let given = place.path("backup");
        let db = with_policy(&folder, 0).rebuild((round == 2).then_some(given.as_path())).unwrap();
        assert_eq!(db.recovery().damaged_store, Some(inside(&folder, &format!("store.damaged-{round}"))));
        assert_eq!(db.digest().unwrap(), digest);
        db.close().unwrap();
    }
    let db = builder(&folder).open().unwrap();
    assert_eq!(db.recovery().damaged_store, None);
    db.namespace("cache").unwrap().put("after", "the rebuild").unwrap();
    // Whoever followed it goes on following.
    db.export_snapshot(place.path("delta"), Some(exported.cursor)).unwrap();
    replica.apply(place.path("delta")).unwrap();
    assert_eq!(replica.digest().unwrap(), db.digest().unwrap());
}

#[test]
fn the_policy_is_checked_and_stats_say_what_a_store_without_one_can_not() {
    let place = Place::new();
    let refused = |policy| builder(&place.path("x")).snapshot_policy(policy).open().unwrap_err();
    for policy in [SnapshotPolicy::new(0, 2), SnapshotPolicy::new(1 << 40, 2), SnapshotPolicy::new(1 << 20, 0)] {
        assert_eq!(refused(policy).kind(), ErrorKind::Invalid);
    }
    let memory = MlPersistence::in_memory().snapshot_policy(SnapshotPolicy::new(1 << 20, 1)).open();
    assert_eq!(memory.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!MlPersistence::in_memory().open().unwrap().stats().unwrap().rebuildable);

    let db = builder(&place.path("db")).open().unwrap();
    assert!(db.stats().unwrap().rebuildable, "its journal reaches back to the start");
    for round in 0..4 {
        write(&db, round * 400);
    }
    wait(&db, "the journal forgets its start", |stats| !stats.rebuildable);
    db.close().unwrap();
    // Whoever asks for a policy later has a first snapshot made at once.
    let db = with_policy(&place.path("db"), 0).open().unwrap();
    wait(&db, "the first snapshot", |stats| stats.rebuildable && stats.snapshots.made == 1);
    db.close().unwrap();
    let reader = builder(&place.path("db")).read_only(true).open().unwrap();
    assert!(reader.stats().unwrap().rebuildable);
}
