//! Renames and deletes of models with thousands of versions under the eyes of readers, and of smaller ones when the power
//! goes: every reader, at every moment, finds it done or not begun.
//!
//! The sizes here are for every day. With `MLP_MOVES_FULL` set, the power goes at every single call, readers look
//! at every step, and models have ten thousand versions; that takes minutes.

#![cfg(feature = "sled")]

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::Disk;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::record::digest;
use ml_persistence::record::scrub::Report;
use ml_persistence::registry::{self, Change, MoveFilter, MoveProgress, PageRequest, SearchRequest, VersionRef};
use ml_persistence::{
    Config, Durability, EngineKind, ErrorKind, MlPersistence, NewVersion, RecordStore, Registry, Result, Stopwatch,
};

/// Rows that a reader asks for at once.
const PAGE: u32 = 20;

/// `every_day`, or `full` when that is asked for.
fn size<T>(every_day: T, full: T) -> T {
    if std::env::var_os("MLP_MOVES_FULL").is_some() { full } else { every_day }
}

/// Registers `count` versions with labels, stages, external ids and shared artifacts, and an alias on one of them.
fn fill(registry: &Registry, model: &str, count: u32) {
    let numbers: Vec<u32> = (1..=count).collect();
    let buffered = registry.with_durability(Durability::Buffered);
    for some in numbers.chunks(100) {
        let registered = buffered.transact(|registry| {
            some.iter().try_for_each(|number| registry.register_version(model, version(*number)).map(drop))
        });
        registered.expect("room");
    }
    registry.set_alias(model, "prod", count / 2, &Change::new()).expect("the version is there");
}

fn version(number: u32) -> NewVersion {
    NewVersion::new()
        .label(format!("l{number}"))
        .external_id(format!("id {number}"))
        .stage(if number.is_multiple_of(2) { "even" } else { "odd" })
        .tag("n", number.to_string())
        .artifact(vec![(number % 50) as u8; 100])
}

/// What one look at the registry finds of the model that goes from one name to another (or nowhere).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Before,
    After,
}

impl Found {
    /// Takes in what a newer read found.
    fn now(&mut self, what: &str, found: Found) {
        assert!(found >= *self, "{what}: {found:?} after {self:?}");
        *self = found;
    }
}

/// One look by each kind of read. Panics at anything between before and after, and at an after that becomes a before.
fn look(registry: &Registry, old: &str, new: Option<&str>, count: u32, round: u32, newest: &mut Found) {
    let mut find = |what: &str, found: Found| newest.now(what, found);
    // Each pair of reads looks at the old name first: gone there, it must be found under the new one.
    let number = round % count + 1;
    let by: [VersionRef; 4] =
        [number.into(), "prod".into(), VersionRef::latest(), VersionRef::Label(format!("l{number}"))];
    for by in by {
        let here = registry.get(old, by.clone()).expect("a read");
        let wanted = match &by {
            VersionRef::Alias(alias) if alias == "prod" => count / 2,
            VersionRef::Alias(_) => count,
            _ => number,
        };
        match (here, new) {
            (Some(version), _) => {
                assert_eq!((version.model.as_str(), version.version), (old, wanted));
                find("get", Found::Before);
            }
            (None, Some(new)) => {
                let there = registry.get(new, by.clone()).expect("a read").expect("it is here or there");
                assert_eq!((there.model.as_str(), there.version), (new, wanted), "{by:?}");
                find("get", Found::After);
            }
            (None, None) => find("get", Found::After),
        }
    }
    let by_id = registry.version_by_external_id(&format!("id {number}")).expect("a read");
    match (by_id, new) {
        (Some(version), _) if version.model == old => find("external id", Found::Before),
        (Some(version), Some(new)) => {
            assert_eq!((version.model.as_str(), version.version), (new, number));
            find("external id", Found::After);
        }
        (None, None) => find("external id", Found::After),
        (version, _) => panic!("external id: {version:?}"),
    }
    let tagged = SearchRequest::new().filter(format!("tags.n = '{number}' and stage is not null"));
    let tagged = registry.search_versions(&tagged).expect("a page").versions;
    match (tagged.as_slice(), new) {
        ([], None) => find("search", Found::After),
        ([version], _) => {
            assert_eq!(version.version, number);
            assert!(version.model == old || Some(version.model.as_str()) == new);
            find("search", if version.model == old { Found::Before } else { Found::After });
        }
        (versions, _) => panic!("search: {} versions", versions.len()),
    }
    // Reads that show everything at one point in time.
    let summary = registry.summary().expect("counters");
    match (summary.versions.total, summary.models.total, new) {
        (versions, 1, _) if versions == u64::from(count) => {}
        (0, 0, None) => find("summary", Found::After),
        other => panic!("summary: {other:?}"),
    }
    let first = PageRequest::new().size(PAGE as usize);
    for (what, rows) in [
        ("all versions", registry.list_all_versions(&first).expect("a page").versions),
        ("least recently used", registry.least_recently_used(PAGE as usize).expect("a list")),
    ] {
        let Some(model) = rows.first().map(|version| version.model.clone()) else {
            assert_eq!(new, None, "{what}: nothing");
            find(what, Found::After);
            continue;
        };
        assert!(rows.iter().zip(1..).all(|(version, number)| version.model == model && version.version == number));
        assert_eq!(rows.len() as u32, count.min(PAGE), "{what}");
        assert!(model == old || Some(model.as_str()) == new);
        find(what, if model == old { Found::Before } else { Found::After });
    }
    let name = if *newest == Found::After { new } else { Some(old) };
    let Some(name) = name else {
        assert_eq!(registry.list_versions(old, &first).expect_err("it is gone").kind(), ErrorKind::NotFound);
        return;
    };
    match registry.list_versions(name, &first) {
        Ok(page) => {
            assert!(page.versions.iter().zip(1..).all(|(version, number)| version.version == number));
            assert_eq!(page.versions.len() as u32, count.min(PAGE));
        }
        Err(error) => {
            assert_eq!((error.kind(), *newest), (ErrorKind::NotFound, Found::Before));
            newest.now("list", Found::After);
        }
    }
}

fn open(folder: &Path, engine: EngineKind) -> MlPersistence {
    MlPersistence::builder(folder).engine(engine).open().expect("the folder opens")
}

fn records(db: &MlPersistence) -> u64 {
    let report = db.verify().expect("the store is read");
    assert_eq!(report.violations, []);
    report.records
}

/// Runs `work` while two readers look, after each few steps that it tells of; answers how long it took and how often
/// they looked.
fn watched(
    db: &MlPersistence,
    names: (&str, Option<&str>),
    count: u32,
    work: impl FnOnce(&mut dyn FnMut(MoveProgress)),
) -> (u128, u64) {
    let (old, new) = names;
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        let mut signals = Vec::new();
        for reader in 0..2 {
            let (signal, steps) = std::sync::mpsc::channel::<()>();
            signals.push(signal);
            readers.push(scope.spawn(move || {
                let (mut newest, mut looks) = (Found::Before, 0);
                // Whatever was told while it looked is one reason to look again.
                while steps.recv().is_ok() {
                    steps.try_iter().for_each(drop);
                    look(db.registry(), old, new, count, reader * 2_477 + looks * 31, &mut newest);
                    looks += 1;
                }
                look(db.registry(), old, new, count, reader, &mut newest);
                assert_eq!(newest, Found::After);
                u64::from(looks) + 1
            }));
        }
        let clock = Stopwatch::start();
        let mut steps = 0;
        work(&mut |_| {
            if steps % size(2, 1) == 0 {
                signals.iter().for_each(|signal| signal.send(()).expect("the reader goes on"));
            }
            steps += 1;
        });
        let took = clock.elapsed().as_millis();
        drop(signals);
        (took, readers.into_iter().map(|reader| reader.join().expect("no panic")).sum())
    })
}

fn moved_under_readers(engine: EngineKind, count: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path(), engine);
    fill(db.registry(), "old", count);
    let before = records(&db);
    let history = db.registry().alias_history("old", &MoveFilter::new()).expect("it is there");
    let mut told = 0;
    let (renamed_ms, looks) = watched(&db, ("old", Some("new")), count, |tell| {
        let tell = |progress| {
            told += 1;
            tell(progress);
        };
        db.registry().rename_model_with("old", "new", &Change::new(), tell).expect("the name is free");
    });
    assert!(told >= count / 256, "progress is told: {told}");
    assert_eq!(records(&db), before);
    assert_eq!(db.registry().alias_history("new", &MoveFilter::new()).expect("it came along"), history);
    db.close().expect("a clean end");
    let db = open(folder.path(), engine);
    let (deleted_ms, looks_too) = watched(&db, ("new", None), count, |tell| {
        assert_eq!(db.registry().delete_model_with("new", &Change::new(), tell).expect("it is there"), count);
    });
    assert_eq!(records(&db), 0);
    println!(
        "{engine:?}, {count} versions: rename {renamed_ms} ms ({looks} looks), delete {deleted_ms} ms ({looks_too} looks)"
    );
    db.close().expect("a clean end");
}

#[test]
fn thousands_of_versions_are_renamed_and_deleted_at_one_moment_for_every_reader() {
    moved_under_readers(EngineKind::Memory, size(2_500, 10_000));
}

#[test]
fn on_sled_too_a_model_is_renamed_and_deleted_at_one_moment_for_every_reader() {
    moved_under_readers(EngineKind::Sled, size(500, 10_000));
}

/// A registry on a disk, as an opening finds it before it recovers, with every commit synced on its own.
fn on(disk: &SimDisk) -> Result<(RecordStore, Registry)> {
    let mut config = Config::new()?;
    config.sync_every_bytes = 1;
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let opener = MemoryOpener::in_folder(Arc::clone(&shared));
    let (engine, _) = LocalEngine::open(shared, Path::new("/data"), &opener, &config)?;
    let store = RecordStore::new(Arc::new(engine), config.clock, config.ids);
    Ok((store.clone(), Registry::new(store)))
}

fn assert_clean(store: &RecordStore, doing: &str) {
    let mut report = Report::default();
    let swept = store.read(|view| {
        report = Report::default();
        registry::verify(view, &mut report)
    });
    swept.expect("the store is read");
    assert_eq!(report.violations, [], "{doing}");
}

/// Cuts the power at calls of the disk all through `work`, opens what is left, looks, recovers, and looks again.
fn cut_everywhere(old: &str, new: Option<&str>, step: usize, work: impl Fn(&Registry) -> Result<()>) {
    // More than one step of a copy takes.
    const COUNT: u32 = 260;
    let disk = SimDisk::recording();
    let (store, registry) = on(&disk).expect("a fresh disk");
    fill(&registry, old, COUNT);
    store.engine().close().expect("a clean end");
    let digest_of = |store: &RecordStore| store.read(|view| digest(view.reader())).expect("the store is read");
    let (mut done, mut undone) = (0, 0);
    for call in (1..).step_by(step) {
        let trial = disk.kill();
        let (_, registry) = on(&trial).expect("a whole disk");
        trial.crash_at(call);
        let outcome = work(&registry);
        let ended = !trial.is_off();
        drop(registry);
        let seed = call;
        let after = if ended { trial.kill() } else { trial.crash(seed) };
        let doing = format!("call {call}: {outcome:?}");
        let (store, registry) = on(&after).expect(&doing);
        let mut found = Found::Before;
        for round in [0, 7, 150] {
            look(&registry, old, new, COUNT, round, &mut found);
        }
        assert!(outcome.is_err() || found == Found::After, "{doing}: what was acknowledged is there");
        assert_clean(&store, &doing);
        // The power goes once more while the opening recovers.
        let again = after.kill();
        drop((store, registry));
        let (_, registry) = on(&again).expect(&doing);
        again.crash_at(call % 7 + 1);
        drop(registry.recover());
        drop(registry);
        let (store, registry) = on(&again.crash(seed)).expect(&doing);
        assert_clean(&store, &doing);
        assert!(registry.recover().expect(&doing).done, "{doing}");
        look(&registry, old, new, COUNT, 9, &mut found);
        assert_clean(&store, &doing);
        match found {
            Found::Before => undone += 1,
            Found::After => done += 1,
        }
        let digest = digest_of(&store);
        // What is over leaves nothing behind: going on by hand ends in the same state as never having been cut.
        assert_eq!(registry.sweep_leftovers(usize::MAX).expect(&doing).rows, 0, "{doing}");
        assert_eq!(digest_of(&store), digest);
        if ended {
            break;
        }
    }
    assert!(done > 0 && undone > 0, "{done} done, {undone} not begun");
    println!("{old} -> {new:?}: power cut at {} places, {done} done, {undone} not begun", done + undone - 1);
}

#[test]
fn a_power_cut_anywhere_in_a_rename_leaves_it_done_or_not_begun() {
    cut_everywhere("old", Some("new"), size(9, 1), |registry| {
        registry.rename_model("old", "new", &Change::new()).map(drop)
    });
}

#[test]
fn a_power_cut_anywhere_in_a_delete_leaves_it_done_or_not_begun() {
    cut_everywhere("old", None, size(4, 1), |registry| registry.delete_model("old", &Change::new()).map(drop));
}
