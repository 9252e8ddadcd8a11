//! Rebuilding a store that can't be opened: whatever happens at whichever call of the disk, the next opening ends with all
//! that was acknowledged, and a state that does not belong here is refused.

use std::collections::BTreeMap;

use super::*;
use crate::engine::local::place::Place;
use crate::engine::local::rescue::{Gap, NoRescue, Rescue};
use crate::engine::{Fresh, Position};

type State = BTreeMap<Vec<u8>, Value>;

/// Brings a state that was copied earlier.
#[derive(Debug, Clone)]
struct Copied {
    state: State,
    position: Position,
}

impl Rescue for Copied {
    fn newest(&self, _annex: &Path) -> Result<Option<u64>> {
        Ok(Some(self.position.cursor.sequence))
    }

    fn fill(&self, gap: &Gap, fresh: &mut dyn Fresh) -> Result<Position> {
        assert!(gap.annex.starts_with(FOLDER) && gap.least <= gap.most);
        for (key, value) in &self.state {
            fresh.write(Tree::Kv, key, Some(value))?;
        }
        Ok(self.position.clone())
    }
}

#[derive(Debug)]
struct Home {
    disk: SimDisk,
    config: Config,
}

impl Home {
    fn new(disk: SimDisk) -> Self {
        let mut config = Config::new().unwrap();
        config.memtable_bytes = 1 << 20;
        config.journal_retention_bytes = 0;
        Home { disk, config }
    }

    fn open(&self, rescue: &dyn Rescue) -> Result<(Place, OpenReport)> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opener = Arc::new(MemoryOpener::in_folder(Arc::clone(&disk)));
        Place::open_with(disk, Path::new(FOLDER), opener, &self.config, rescue)
    }

    fn root(&self) -> PathBuf {
        Path::new(FOLDER).join("gen-00000001")
    }

    fn names(&self) -> Vec<String> {
        self.disk.list(&self.root()).unwrap()
    }

    /// Spoils the first bytes of every file of the store.
    fn damage_store(&self) {
        let store = self.root().join("store");
        for name in self.disk.list(&store).unwrap() {
            self.disk
                .damage(&store.join(name), |bytes| bytes.iter_mut().take(64).for_each(|byte| *byte ^= 0x5a))
                .unwrap();
        }
    }

    /// A copy of the machine as it is, the process's memory apart.
    fn again(&self) -> Self {
        Home { disk: self.disk.kill(), config: self.config.clone() }
    }
}

fn write(engine: &dyn Engine, key: &str, value: &[u8]) {
    let options = TxnOptions::durability(Durability::Buffered);
    engine.transact(&options, &mut |txn| txn.put(Tree::Kv, key.as_bytes(), Value::from(value))).unwrap();
}

fn state(engine: &dyn Reader) -> State {
    let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10_000).unwrap();
    assert!(page.resume.is_none());
    page.entries.into_iter().collect()
}

/// A folder whose journal reaches back to a copied state and no further, whose store is damaged, and what it holds.
fn damaged_home() -> (Home, Copied, State, Position) {
    let home = Home::new(SimDisk::recording());
    let (place, _) = home.open(&NoRescue).unwrap();
    for number in 0..700 {
        write(&place, &format!("key {number}"), &[1; 1_500]);
    }
    let cursor = place.sync().unwrap();
    let copied = Copied { state: state(&place), position: place.position(&cursor).unwrap() };
    place.keep_changes(cursor.sequence).unwrap();
    place.close().unwrap();
    // An opening behind the copy, so that the journal tells of one.
    let (place, _) = home.open(&copied).unwrap();
    for number in 0..20 {
        write(&place, &format!("later {number}"), b"2");
        write(&place, &format!("key {number}"), b"3");
    }
    place.checkpoint().unwrap();
    let (expected, end) = (state(&place), place.position(&place.sync().unwrap()).unwrap());
    assert!(place.stats().journal_first_sequence > 1, "the journal still reaches back to the start");
    place.close().unwrap();
    home.damage_store();
    (home, copied, expected, end)
}

#[test]
fn a_damaged_store_is_rebuilt_from_a_state_and_the_journal_behind_it() {
    let (home, copied, expected, end) = damaged_home();
    let (place, report) = home.open(&copied).unwrap();
    assert!(report.rebuilt);
    assert_eq!(report.damaged_store, Some(home.root().join("store.damaged-1")));
    assert!(report.replayed < 5, "{} frames were kept in memory though the store could take them", report.replayed);
    assert!(state(&place) == expected);
    // It is the same store: same lineage, and a feed that goes on behind the copy.
    let told = place.changes(&copied.position.cursor, 10_000).unwrap().changes;
    assert_eq!(told.iter().filter(|change| change.tree == Tree::Kv).count(), 40);
    assert!(place.position(&place.cursor()).unwrap().came_through(&end.cursor));
    assert!(place.position(&place.cursor()).unwrap().came_through(&copied.position.cursor));
    place.close().unwrap();
    let (place, report) = home.open(&copied).unwrap();
    assert!(!report.rebuilt && report.damaged_store.is_none());
    assert!(state(&place) == expected);
    assert!(home.names().contains(&"store.damaged-1".to_owned()));
}

#[test]
fn a_power_cut_or_kill_at_any_call_of_a_rebuild_is_made_up_for_by_the_next_opening() {
    let (base, copied, expected, _) = damaged_home();
    let (mut calls, mut halves) = (0, 0);
    loop {
        calls += 1;
        let home = base.again();
        home.disk.crash_at(calls);
        let opened = home.open(&copied);
        let done = !home.disk.is_off();
        drop(opened);
        let kill = std::iter::once(home.disk.kill());
        for disk in kill.chain((0..2).map(|seed| home.disk.crash(calls * 10 + seed))) {
            let home = Home::new(disk);
            let names = home.names();
            halves += usize::from(!names.contains(&"store".to_owned()));
            let (place, _) = home.open(&copied).unwrap_or_else(|error| panic!("after call {calls}: {error}"));
            assert!(state(&place) == expected, "after call {calls}");
            drop(place);
            // The damaged one is kept, once, whatever happened.
            let kept: Vec<_> = home.names().into_iter().filter(|name| name.starts_with("store.")).collect();
            assert_eq!(kept, ["store.damaged-1"], "after call {calls}");
        }
        if done {
            break;
        }
    }
    assert!(calls > 30 && halves > 0, "{calls} calls, {halves} times between the two renames");
}

#[test]
fn a_disk_that_fails_or_is_full_at_any_call_of_a_rebuild_loses_nothing() {
    let (base, copied, expected, _) = damaged_home();
    for make in [Fault::io as fn() -> Fault, Fault::full] {
        for calls in 1.. {
            let home = base.again();
            let before = home.disk.counts().mutations();
            home.disk.fail_after(calls, make());
            let opened = home.open(&copied);
            let met = home.disk.counts().mutations() - before >= calls;
            drop(opened);
            let again = home.again();
            let (place, _) = again.open(&copied).unwrap_or_else(|error| panic!("after call {calls}: {error}"));
            assert!(state(&place) == expected, "after call {calls}");
            if !met {
                assert!(calls > 20, "{calls}");
                break;
            }
        }
    }
}

#[test]
fn a_state_that_does_not_belong_here_is_refused_and_nothing_is_changed() {
    let (home, copied, expected, end) = damaged_home();
    let changed = |change: &dyn Fn(&mut Position)| {
        let mut other = copied.clone();
        change(&mut other.position);
        other
    };
    for (other, says) in [
        (changed(&|position| position.cursor.lineage ^= 1), "another store"),
        (changed(&|position| position.cursor.sequence = end.cursor.sequence + 1_000), "stands at commit"),
        (changed(&|position| position.cursor.sequence = 1), "stands at commit"),
        // The opening behind the copy was another one than the journal tells of.
        (
            changed(&|position| {
                let mut start = position.epochs[0];
                start.epoch.number = 2;
                start.after_sequence += 1;
                position.epochs.push(start);
            }),
            "another branch",
        ),
    ] {
        let again = home.again();
        let refused = again.open(&other).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert!(refused.to_string().contains(says) && refused.to_string().contains("the damage:"), "{refused}");
        assert_eq!(again.names(), ["journal", "store"]);
        assert!(state(&again.open(&copied).unwrap().0) == expected);
    }
    let refused = home.open(&NoRescue).unwrap_err();
    assert!(refused.kind() == ErrorKind::Corrupt && refused.to_string().contains("does not reach back"), "{refused}");
    // The comparison is one that can fail: a state that is said to be newer than it is lacks what the frames between say.
    let wrong = changed(&|position| *position = end.clone());
    assert!(state(&home.open(&wrong).unwrap().0) != expected);
}

#[test]
fn a_store_that_lost_its_files_or_is_an_old_copy_is_rebuilt_too() {
    let (home, copied, expected, _) = damaged_home();
    home.disk.remove_dir_all(&home.root().join("store")).unwrap();
    let (place, report) = home.open(&copied).unwrap();
    assert!(report.rebuilt);
    assert!(state(&place) == expected);
}

#[test]
fn a_journal_that_reaches_back_to_the_start_is_enough_and_what_is_durable_of_it_goes_straight_to_the_store() {
    let mut home = Home::new(SimDisk::recording());
    home.config.journal_retention_bytes = 64 << 20;
    let (place, _) = home.open(&NoRescue).unwrap();
    for number in 0..1_000 {
        write(&place, &format!("key {}", number % 100), &[number as u8; 3_000]);
    }
    place.transact(&TxnOptions::default(), &mut |txn| txn.delete(Tree::Kv, b"key 7")).unwrap();
    place.checkpoint().unwrap();
    write(&place, "last", b"1");
    place.sync().unwrap();
    let (expected, end) = (state(&place), place.position(&place.sync().unwrap()).unwrap());
    drop(place);
    home.damage_store();
    let (place, report) = home.open(&NoRescue).unwrap();
    assert!(report.rebuilt && report.damaged_store.is_some() && report.replayed < 5, "{report:?}");
    assert!(state(&place) == expected);
    let now = place.position(&place.cursor()).unwrap();
    assert!(now.came_through(&end.cursor));
    assert_eq!(place.position(&end.cursor).unwrap(), end);
}

#[test]
fn a_state_that_was_taken_over_is_never_looked_for_in_the_journal_alone() {
    let home = Home::new(SimDisk::recording());
    let (place, _) = home.open(&NoRescue).unwrap();
    // No store writes a snapshot of before its first commit; whoever forges one must not have it forgotten.
    let epoch = place.epoch();
    let cursor = crate::engine::Cursor { lineage: 7, epoch, sequence: 0 };
    let epochs = vec![crate::engine::EpochStart { epoch, after_sequence: 0 }];
    let position = Position { cursor, chain: None, epochs };
    place
        .replace(true, &mut |fresh| {
            fresh.write(Tree::Kv, b"taken over", Some(b"1"))?;
            Ok(position.clone())
        })
        .unwrap();
    place.close().unwrap();
    let store = Path::new(FOLDER).join("gen-00000002").join("store");
    for name in home.disk.list(&store).unwrap() {
        home.disk.damage(&store.join(name), |bytes| bytes.iter_mut().take(64).for_each(|byte| *byte ^= 0x5a)).unwrap();
    }
    assert_eq!(home.open(&NoRescue).unwrap_err().kind(), ErrorKind::Corrupt);
}
