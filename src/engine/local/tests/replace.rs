//! Replacing the whole state: whatever happens at whichever call of the disk, there is the old state or the new one.

use std::collections::BTreeMap;

use super::*;
use crate::engine::local::place::Place;
use crate::engine::{ChainHash, EpochStart, Fresh, Position};

/// More than one batch of the store, and more than one chunk of it.
const NEW_KEYS: usize = 700;

struct Home {
    disk: SimDisk,
    config: Config,
}

impl Home {
    fn new(disk: SimDisk) -> Self {
        let mut config = Config::new().unwrap();
        config.memtable_bytes = 1 << 20;
        Home { disk, config }
    }

    fn open(&self) -> Result<Place> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opener = Arc::new(MemoryOpener::in_folder(Arc::clone(&disk)));
        Place::open(disk, Path::new(FOLDER), opener, &self.config).map(|(place, _)| place)
    }

    fn generations(&self) -> Vec<String> {
        let names = self.disk.list(Path::new(FOLDER)).unwrap();
        names.into_iter().filter(|name| name.starts_with("gen-")).collect()
    }
}

fn write(engine: &dyn Engine, key: &str, value: &str) -> Result<()> {
    let value = Value::from(value.as_bytes());
    engine.transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Kv, key.as_bytes(), value.clone())).map(drop)
}

fn state(engine: &dyn Reader) -> BTreeMap<Vec<u8>, Value> {
    let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10_000).unwrap();
    assert!(page.resume.is_none());
    page.entries.into_iter().collect()
}

fn taken_over() -> Position {
    let epoch = crate::engine::Epoch { number: 9, id: 1234 };
    let cursor = Cursor { lineage: 77, epoch, sequence: 5_000 };
    let chain = Some(ChainHash::START.after(5_000, b"elsewhere"));
    Position { cursor, chain, epochs: vec![EpochStart { epoch, after_sequence: 4_000 }] }
}

fn new_state() -> BTreeMap<Vec<u8>, Value> {
    (0..NEW_KEYS).map(|number| (format!("new {number:05}").into_bytes(), Value::from(vec![7u8; 600]))).collect()
}

fn fill(fresh: &mut dyn Fresh) -> Result<Position> {
    for (key, value) in new_state() {
        fresh.write(Tree::Kv, &key, Some(&value))?;
    }
    Ok(taken_over())
}

fn old_home() -> (Home, BTreeMap<Vec<u8>, Value>) {
    let home = Home::new(SimDisk::recording());
    let place = home.open().unwrap();
    for number in 0..20 {
        write(&place, &format!("old {number}"), "1").unwrap();
    }
    let old = state(&place);
    place.close().unwrap();
    (home, old)
}

/// What opening after a crash found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    New,
    /// Neither, or nothing that opens.
    Lost,
}

fn look(home: &Home, old: &BTreeMap<Vec<u8>, Value>) -> Found {
    let Ok(place) = home.open() else { return Found::Lost };
    let found = state(&place);
    let (is_old, is_new) = (found == *old, found == new_state());
    let stands = (place.cursor() == taken_over().cursor) == is_new && home.generations().len() == 1;
    match (is_old || is_new) && stands {
        true if is_new => Found::New,
        true => Found::Old,
        false => Found::Lost,
    }
}

#[test]
fn a_power_cut_or_kill_at_any_call_leaves_the_old_state_or_the_new_one_and_trying_again_finishes() {
    let (base, old) = old_home();
    let (mut calls, mut ends) = (0, [0u32; 2]);
    loop {
        calls += 1;
        let home = Home::new(base.disk.kill());
        let place = home.open().unwrap();
        home.disk.crash_at(calls);
        let replaced = place.replace(false, &mut fill);
        let done = !home.disk.is_off();
        drop(place);
        let kill = std::iter::once(home.disk.kill());
        for disk in kill.chain((0..3).map(|seed| home.disk.crash(calls * 10 + seed))) {
            let home = Home::new(disk);
            let found = look(&home, &old);
            assert_ne!(found, Found::Lost, "after call {calls}");
            assert!(found == Found::New || replaced.is_err(), "after call {calls}: it was said to be in place");
            ends[usize::from(found == Found::New)] += 1;
            if calls % 5 == 0 {
                let place = home.open().unwrap();
                place.replace(false, &mut fill).unwrap();
                assert_eq!(state(&place), new_state());
            }
        }
        if done {
            replaced.unwrap();
            break;
        }
    }
    // The test has seen both sides, and a good number of calls.
    assert!(calls > 30 && ends[0] > 30 && ends[1] > 4, "{calls} calls, {ends:?}");
}

#[test]
fn a_replacement_that_syncs_nothing_is_noticed() {
    let (base, old) = old_home();
    let lost = (0..20).any(|seed| {
        let home = Home::new(base.disk.kill());
        let place = home.open().unwrap();
        home.disk.ignore_sync(true);
        place.replace(false, &mut fill).unwrap();
        look(&Home::new(home.disk.crash(seed)), &old) == Found::Lost
    });
    assert!(lost);
}

#[test]
fn a_disk_that_fails_or_is_full_at_any_call_leaves_a_handle_on_one_of_both_states() {
    let (base, old) = old_home();
    for make in [Fault::io as fn() -> Fault, Fault::full] {
        let mut calls = 0;
        loop {
            calls += 1;
            let home = Home::new(base.disk.kill());
            let place = home.open().unwrap();
            let before = home.disk.counts().mutations();
            home.disk.fail_after(calls, make());
            let replaced = place.replace(false, &mut fill);
            let met = home.disk.counts().mutations() - before < calls;
            if let Err(error) = &replaced {
                // It goes on with the old state, or says that it can't go on at all.
                match write(&place, "after", "1") {
                    Ok(()) => assert!(state(&place).contains_key(b"old 7".as_slice()), "{error}"),
                    Err(closed) => assert_eq!(closed.kind(), ErrorKind::Closed, "{error}"),
                }
            }
            drop(place);
            let again = Home::new(home.disk.kill());
            let place = again.open().unwrap_or_else(|error| panic!("after call {calls}: {error}"));
            let mut found = state(&place);
            found.remove(b"after".as_slice());
            assert!(found == old || found == new_state(), "after call {calls}");
            assert!(replaced.is_err() || found == new_state());
            if met || calls > 2_000 {
                break;
            }
        }
        assert!(calls > 30, "{calls}");
    }
}

#[test]
fn a_store_with_data_is_not_replaced_when_it_was_to_be_empty() {
    let (home, old) = old_home();
    let place = home.open().unwrap();
    assert_eq!(place.replace(true, &mut fill).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((state(&place), home.generations().len()), (old.clone(), 1));
    // What is committed while the new state is on its way counts, too.
    let empty = Home::new(SimDisk::recording());
    let place = empty.open().unwrap();
    let outcome = place.replace(true, &mut |fresh| {
        write(&place, "meanwhile", "1")?;
        fill(fresh)
    });
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((state(&place).len(), empty.generations().len()), (1, 1));
}

#[test]
fn one_replacement_at_a_time_and_a_filler_that_fails_changes_nothing() {
    let (home, old) = old_home();
    let place = home.open().unwrap();
    let outcome = place.replace(false, &mut |fresh| {
        assert_eq!(place.replace(false, &mut fill).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fresh.write(Tree::Meta, b"\0epoch", Some(b"")).unwrap_err().kind(), ErrorKind::Invalid);
        fill(fresh)?;
        Err(Error::corrupt("changed my mind"))
    });
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!((state(&place), home.generations().len()), (old, 1));
}

#[test]
fn calls_that_are_under_way_go_on_with_the_new_state() {
    let home = Home::new(SimDisk::new());
    let place = home.open().unwrap();
    write(&place, "old", "1").unwrap();
    let stop = AtomicBool::new(false);
    let committed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (place, stop, committed) = (&place, &stop, &committed);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    write(place, &format!("w{thread}"), &number.to_string()).unwrap();
                    assert!(place.get(Tree::Kv, format!("w{thread}").as_bytes()).is_ok());
                    place.read_view(&mut |view| view.get(Tree::Kv, b"old").map(drop)).unwrap();
                    committed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..5 {
            let before = committed.load(Ordering::SeqCst);
            place.replace(false, &mut fill).unwrap();
            while committed.load(Ordering::SeqCst) < before + 50 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(state(&place).len(), NEW_KEYS + 4);
    assert_eq!(get(&place, "old"), None);
}
