//! The memory store with a folder, on a disk that loses power, refuses calls, or rots.

use super::*;
use crate::engine::VALUE_BYTES_MAX;
use crate::engine::local::sim::{Call, Fault, SimDisk};
use crate::engine::memory::frame::FRAME_HEADER;

/// Short, so that a script of a few batches goes through several generations.
const LOG_BYTES_MIN: u64 = 1500;

fn folder() -> &'static Path {
    Path::new("/store")
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::recording();
    disk.create_dir(folder()).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<FolderStore> {
    FolderStore::open_with(Arc::new(disk.clone()), folder(), LOG_BYTES_MIN)
}

/// All that a store holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Dump {
    mark: Option<Value>,
    entries: Vec<(Tree, Vec<u8>, Value)>,
}

impl Dump {
    fn of(store: &dyn KvStore) -> Dump {
        let mut dump = Dump { mark: store.mark().unwrap(), entries: Vec::new() };
        for tree in Tree::ALL {
            let entries = store.scan(*tree, &KeyRange::all(), Direction::Ascending, usize::MAX).unwrap();
            dump.entries.extend(entries.into_iter().map(|(key, value)| (*tree, key, value)));
        }
        dump
    }
}

/// The batch with this number: a few writes and removals over two trees, and the number as its mark.
fn batch(number: usize) -> WriteBatch {
    let value = |text: &str| Some(Value::from(format!("{text} {number} {}", "x".repeat(number % 5 * 40)).as_bytes()));
    let key = |text: &str| -> Box<[u8]> { Box::from(text.as_bytes()) };
    let writes = vec![
        (Tree::Kv, key(&format!("k{}", number % 7)), value("value")),
        (Tree::Jobs, key("newest"), value("job")),
        (Tree::Jobs, key(&format!("j{}", number % 3)), number.is_multiple_of(2).then(|| value("job")).flatten()),
    ];
    WriteBatch { writes, mark: Some(Value::from(number.to_string().as_bytes())) }
}

/// What a store holds after each number of batches.
fn models(batches: usize) -> Vec<Dump> {
    let store = MemoryStore::new();
    let mut models = vec![Dump::default()];
    for number in 1..=batches {
        store.apply(&batch(number)).unwrap();
        models.push(Dump::of(&store));
    }
    models
}

/// How far a run came: batches that were given to the store, and those that it had synced.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    given: usize,
    synced: usize,
}

const BATCHES: usize = 40;

/// Opens a store and applies the script; every third batch is synced, with what came before it.
fn run(disk: &SimDisk, progress: &mut Progress) -> Result<()> {
    let store = open(disk)?;
    for number in progress.given + 1..=BATCHES {
        progress.given = number;
        store.apply(&batch(number))?;
        if number.is_multiple_of(3) {
            store.sync()?;
            progress.synced = number;
        }
    }
    Ok(())
}

/// The number of batches that the store holds, whole.
#[track_caller]
fn held(store: &FolderStore, models: &[Dump]) -> usize {
    let dump = Dump::of(store);
    models.iter().position(|model| *model == dump).unwrap_or_else(|| panic!("no prefix of the batches: {dump:?}"))
}

#[track_caller]
fn assert_between(held: usize, progress: Progress, doing: &str) {
    let Progress { given, synced } = progress;
    assert!((synced..=given).contains(&held), "{doing}: {held} batches, synced {synced}, given {given}");
}

fn file(disk: &SimDisk, kind: Kind) -> (PathBuf, Vec<u8>) {
    let names = disk.list(folder()).unwrap();
    let name = names.iter().find(|name| kind.generation_of(name).is_some()).unwrap();
    let path = folder().join(name);
    let file = disk.open(&path, false).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    (path, bytes)
}

#[test]
fn the_script_goes_through_several_generations_and_leaves_only_the_newest() {
    let disk = new_disk();
    run(&disk, &mut Progress::default()).unwrap();
    let names = disk.list(folder()).unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    let generation = names.iter().find_map(|name| Kind::Snapshot.generation_of(name)).unwrap();
    assert!(generation >= 4, "{names:?}");
    let store = open(&disk).unwrap();
    assert_eq!(held(&store, &models(BATCHES)), 39);
    let live: u64 = store.maps.state.read().entry_bytes();
    assert_eq!(store.writer.lock().live_bytes, live);
    let on_disk: usize = [Kind::Snapshot, Kind::Log].iter().map(|kind| file(&disk, *kind).1.len()).sum();
    assert_eq!(store.disk_bytes(), on_disk as u64);
}

#[test]
fn live_bytes_are_counted_as_entries_come_change_and_go() {
    let store = open(&new_disk()).unwrap();
    for number in 1..=BATCHES {
        store.apply(&batch(number)).unwrap();
        assert_eq!(store.writer.lock().live_bytes, store.maps.state.read().entry_bytes());
    }
}

#[test]
fn a_sync_is_one_write_and_one_fdatasync_and_without_new_batches_none() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let before = disk.counts();
    store.apply(&batch(1)).unwrap();
    store.apply(&batch(2)).unwrap();
    assert_eq!(disk.counts(), before);
    store.sync().unwrap();
    store.sync().unwrap();
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    assert_eq!(after.mutations() - before.mutations(), 2);
}

/// Crashes the script at every mutating call. Answers the first broken promise, so that sabotage can be seen to be
/// caught.
fn crash_everywhere(sabotage: impl Fn(&SimDisk)) -> Result<u64, String> {
    let models = models(BATCHES);
    let whole = new_disk();
    run(&whole, &mut Progress::default()).unwrap();
    let calls = whole.counts().mutations();
    let mut points = 0;
    for call in 1..=calls {
        let disk = new_disk();
        sabotage(&disk);
        disk.crash_at(call);
        let mut progress = Progress::default();
        let ended = run(&disk, &mut progress);
        if ended.is_ok() {
            break;
        }
        for seed in 0..8 {
            points += 1;
            let after = disk.crash(seed);
            let doing = format!("crash at call {call}, seed {seed}");
            let store = open(&after).map_err(|error| format!("{doing}: {error}"))?;
            let dump = Dump::of(&store);
            let held = models.iter().position(|model| *model == dump).ok_or_else(|| format!("{doing}: {dump:?}"))?;
            if !(progress.synced..=progress.given).contains(&held) {
                return Err(format!("{doing}: {held} batches held, {progress:?}"));
            }
            // What an opening has found is durable from then on.
            let again = open(&after.crash(seed + 100)).map_err(|error| format!("{doing}, again: {error}"))?;
            if Dump::of(&again) != dump {
                return Err(format!("{doing}: what an opening found was gone after the next power cut"));
            }
            drop(store);
            // And the store goes on from there.
            let mut rest = Progress { given: held, synced: held };
            run(&after, &mut rest).map_err(|error| format!("{doing}, going on: {error}"))?;
            let end = open(&after.crash(seed)).map_err(|error| format!("{doing}, at the end: {error}"))?;
            if Dump::of(&end) != models[39] && Dump::of(&end) != models[40] {
                return Err(format!("{doing}: going on from {held} ended elsewhere"));
            }
        }
    }
    Ok(points)
}

#[test]
fn a_power_cut_at_any_call_leaves_a_prefix_of_the_batches_with_all_synced_ones() {
    let points = crash_everywhere(|_| {}).unwrap();
    assert!(points > 500, "{points} crash points");
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_by_the_crash_test() {
    assert!(crash_everywhere(|disk| disk.ignore_sync(true)).is_err());
}

#[test]
fn a_second_power_cut_at_any_call_of_the_opening_takes_nothing_that_was_synced() {
    let models = models(BATCHES);
    let whole = new_disk();
    run(&whole, &mut Progress::default()).unwrap();
    let mut cut_openings = 0;
    for call in 1..=whole.counts().mutations() {
        let disk = new_disk();
        disk.crash_at(call);
        let mut progress = Progress::default();
        drop(run(&disk, &mut progress));
        for seed in 0..4 {
            for second_call in 1.. {
                let after = disk.crash(seed);
                after.crash_at(second_call);
                let opened = open(&after);
                let doing = format!("crash at call {call}, seed {seed}, then at call {second_call}");
                let found = held(&open(&after.crash(seed + 50)).expect(&doing), &models);
                assert_between(found, progress, &doing);
                if opened.is_ok() && !after.is_off() {
                    break;
                }
                cut_openings += 1;
            }
        }
    }
    assert!(cut_openings > 500, "{cut_openings}");
}

#[test]
fn the_end_of_the_process_at_any_call_loses_nothing_synced_and_what_is_found_then_survives_a_power_cut() {
    let models = models(BATCHES);
    let whole = new_disk();
    run(&whole, &mut Progress::default()).unwrap();
    for call in 1..=whole.counts().mutations() {
        let disk = new_disk();
        disk.crash_at(call);
        let mut progress = Progress::default();
        drop(run(&disk, &mut progress));
        let killed = disk.kill();
        let found = held(&open(&killed).unwrap(), &models);
        assert_between(found, progress, &format!("killed at call {call}"));
        for seed in 0..8 {
            assert_eq!(held(&open(&killed.crash(seed)).unwrap(), &models), found, "call {call}, seed {seed}");
        }
    }
}

#[test]
fn after_a_failed_call_nothing_more_is_written_and_reopening_believes_no_page_cache() {
    let models = models(BATCHES);
    let whole = new_disk();
    run(&whole, &mut Progress::default()).unwrap();
    let mut refusals = 0;
    for fault in [Call::Write, Call::Sync, Call::SyncDir, Call::Create, Call::Rename, Call::Remove] {
        for call in 1..=whole.counts().mutations() {
            let disk = new_disk().with_seed(call);
            let Ok(store) = open(&disk) else { panic!("a new folder opens") };
            disk.fail_after(call, Fault::io().only(fault));
            let mut progress = Progress::default();
            let failed = (1..=BATCHES).find_map(|number| {
                progress.given = number;
                let failed = store.apply(&batch(number)).and_then(|()| store.sync()).err();
                progress.synced = if failed.is_none() { number } else { progress.synced };
                failed
            });
            if failed.is_none() {
                break;
            }
            refusals += 1;
            let before = disk.counts();
            assert_eq!(store.apply(&batch(1)).unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(disk.counts(), before);
            drop(store);
            let doing = format!("{fault:?} {call}");
            let found = held(&open(&disk).expect(&doing), &models);
            assert_between(found, progress, &doing);
            for seed in 0..8 {
                assert_eq!(held(&open(&disk.crash(seed)).expect(&doing), &models), found, "{doing}, seed {seed}");
            }
        }
    }
    assert!(refusals > 100, "{refusals}");
}

#[test]
fn a_snapshot_that_finds_no_room_is_put_off_and_nothing_is_lost() {
    let models = models(BATCHES);
    let disk = new_disk();
    let store = open(&disk).unwrap();
    disk.fail_after(1, Fault::full().only(Call::Create).forever());
    for number in 1..=BATCHES {
        store.apply(&batch(number)).unwrap();
        store.sync().unwrap();
    }
    assert_eq!(disk.list(folder()).unwrap(), ["log-0000000000000001", "snapshot-0000000000000001"]);
    // Put off, not asked again for each batch.
    assert!(disk.counts().creates < 12, "{:?}", disk.counts());
    for seed in 0..8 {
        assert_eq!(held(&open(&disk.crash(seed)).unwrap(), &models), BATCHES);
    }
}

/// A store whose newest generation has a snapshot of 30 batches and one frame for each of three more; and where the
/// last frame begins.
fn small_store() -> (SimDisk, Vec<Dump>, usize) {
    let disk = new_disk();
    let store = FolderStore::open_with(Arc::new(disk.clone()), folder(), 0).unwrap();
    for number in 1..=30 {
        store.apply(&batch(number)).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let store = FolderStore::open(Arc::new(disk.clone()), folder()).unwrap();
    let mut last = 0;
    for number in 31..=33 {
        last = file(&disk, Kind::Log).1.len();
        store.apply(&batch(number)).unwrap();
        store.sync().unwrap();
    }
    (disk, models(33), last)
}

#[test]
fn every_flipped_bit_is_corrupt_or_in_the_last_frame_a_torn_tail() {
    let (disk, models, last) = small_store();
    let (snapshot, log) = (file(&disk, Kind::Snapshot), file(&disk, Kind::Log));
    assert!(snapshot.1.len() > 300 && log.1.len() > FILE_HEADER + 4 * FRAME_HEADER);
    for (path, bytes) in [&snapshot, &log] {
        for place in 0..bytes.len() {
            for change in [1u8, 0x80, 0xff] {
                let damaged = disk.kill();
                damaged.damage(path, |bytes| bytes[place] ^= change).unwrap();
                let doing = format!("{} byte {place} ^ {change:02x}", path.display());
                match open(&damaged) {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{doing}: {error}"),
                    Ok(store) => {
                        assert!(path == &log.0 && place >= last, "{doing}: opened");
                        assert_eq!(held(&store, &models), 32, "{doing}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_cut_short_anywhere_is_corrupt_or_a_torn_tail() {
    let (disk, models, last) = small_store();
    let (snapshot, log) = (file(&disk, Kind::Snapshot), file(&disk, Kind::Log));
    for (path, bytes) in [&snapshot, &log] {
        let mut newest = 30;
        for len in 0..bytes.len() {
            let cut = disk.kill();
            cut.damage(path, |bytes| bytes.truncate(len)).unwrap();
            let doing = format!("{} cut to {len} bytes", path.display());
            match open(&cut) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{doing}: {error}");
                    assert!(path == &snapshot.0 || len < FILE_HEADER, "{doing}: {error}");
                }
                Ok(store) => {
                    assert!(path == &log.0 && len >= FILE_HEADER, "{doing}: opened");
                    let found = held(&store, &models);
                    assert!(found == newest || found == newest + 1, "{doing}: {found} batches");
                    newest = found;
                    // It goes on from there.
                    store.apply(&batch(1)).unwrap();
                    store.sync().unwrap();
                    assert_eq!(Dump::of(&open(&cut).unwrap()), Dump::of(&store), "{doing}");
                }
            }
            assert!(path != &log.0 || len < last || newest == 32);
        }
    }
}

#[test]
fn a_missing_an_exchanged_and_a_longer_file_are_corrupt() {
    let (disk, ..) = small_store();
    let (snapshot, log) = (file(&disk, Kind::Snapshot), file(&disk, Kind::Log));
    let kind = |disk: &SimDisk| open(disk).map(drop).unwrap_err().kind();
    for path in [&snapshot.0, &log.0] {
        let less = disk.kill();
        less.remove(path).unwrap();
        assert_eq!(kind(&less), ErrorKind::Corrupt, "without {}", path.display());
    }
    let longer = disk.kill();
    longer.damage(&snapshot.0, |bytes| bytes.push(0)).unwrap();
    assert_eq!(kind(&longer), ErrorKind::Corrupt);
    // The same history, written by another store.
    let (other, ..) = small_store();
    for (path, _) in [&snapshot, &log] {
        let mixed = disk.kill();
        let theirs = file(&other, Kind::Snapshot);
        let theirs = if *path == theirs.0 { theirs.1 } else { file(&other, Kind::Log).1 };
        mixed.damage(path, |bytes| *bytes = theirs).unwrap();
        assert_eq!(kind(&mixed), ErrorKind::Corrupt);
    }
}

#[test]
fn a_newer_format_is_unsupported_and_not_called_damage() {
    let (disk, ..) = small_store();
    let (path, _) = file(&disk, Kind::Snapshot);
    disk.damage(&path, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..FILE_HEADER - 4]);
        bytes[FILE_HEADER - 4..FILE_HEADER].copy_from_slice(&crc.to_le_bytes());
    })
    .unwrap();
    assert_eq!(open(&disk).map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn batches_that_could_not_be_read_back_are_refused_and_the_store_goes_on() {
    let store = open(&new_disk()).unwrap();
    let long = vec![0; VALUE_BYTES_MAX + 1];
    let refused = WriteBatch { writes: vec![(Tree::Kv, Box::from(*b"k"), Some(Value::from(long)))], mark: None };
    assert_eq!(store.apply(&refused).unwrap_err().kind(), ErrorKind::Invalid);
    store.apply(&batch(1)).unwrap();
    store.sync().unwrap();
    assert_eq!(Dump::of(&store), models(1)[1]);
}

#[test]
fn more_than_a_window_of_entries_and_frames_reads_back() {
    let disk = new_disk();
    let fill = |store: &FolderStore, rounds: std::ops::Range<u32>| {
        for round in rounds {
            let writes = (0..40u32).map(|number| {
                let key = (round * 40 + number).to_be_bytes();
                (Tree::Records, Box::from(key), Some(Value::from(vec![round as u8; 9_000 + number as usize])))
            });
            store.apply(&WriteBatch { writes: writes.collect(), mark: None }).unwrap();
        }
        store.sync().unwrap();
    };
    let store = open(&disk).unwrap();
    fill(&store, 0..5);
    fill(&store, 5..8);
    let expected = Dump::of(&store);
    assert_eq!(expected.entries.len(), 320);
    let (snapshot, log) = (file(&disk, Kind::Snapshot).1.len(), file(&disk, Kind::Log).1.len());
    assert!(snapshot > 600_000 && log > 600_000, "{snapshot} {log}");
    assert_eq!(Dump::of(&open(&disk).unwrap()), expected);
}
