//! The local engine, cut off everywhere: behind every call that changes the disk or the store, by a power cut or the
//! end of the process, in scripted and random runs, during their recovery, and during the recovery from that.
//!
//! Demanded of each next life: it opens; every commit that was promised (a `PowerLoss` one that returned, a `Buffered`
//! one before a `sync`, whatever a transaction answered from) is there; what is there is exactly the state after some
//! number of commits; it goes on. Twins that leave out one kind of sync prove that a mistake would be noticed.
//!
//! `MLP_CRASH_POINTS` asks for more crash points, `MLP_CRASH_SEED` for one seed alone. Seeds are printed.

mod explore;
mod ledger;
mod rig;
mod script;
mod store;

use std::path::{Path, PathBuf};

use self::explore::{Tally, explore, visit};
use self::rig::{End, FOLDER, Moment, Rig, Twin};
use self::script::{CAP, MIXED, ROTATION, SHORT, Style, THREADS};
use crate::config::Durability;
use crate::engine::local::disk::Disk;
use crate::engine::local::sim::Fault;
use crate::engine::{Engine, Tree, Value};

/// Crash points of a plain test run, all tests together, at least.
const POINTS: u64 = 10_000;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Explores seed after seed until this test has done its percentage of the crash points.
fn explore_share(style: Style, percent: u64) {
    let points = asked("MLP_CRASH_POINTS").unwrap_or(POINTS) * percent / 100;
    let one_seed = asked("MLP_CRASH_SEED");
    let (mut done, mut seed) = (0, one_seed.unwrap_or(1));
    loop {
        // The first seed has each of its calls cut off, whatever the share; the last one fills it up.
        let points_max = if done == 0 { u64::MAX } else { points - done };
        let tally = Tally::new(style, Twin::default(), seed, points_max);
        explore(&tally);
        done += tally.points();
        eprintln!("{}: seed {seed}, {} crash points", style.name, tally.points());
        if let Some(failure) = tally.first_failure() {
            panic!("{failure}");
        }
        if done >= points || one_seed.is_some() {
            return;
        }
        seed += 1;
    }
}

#[test]
fn mixed() {
    explore_share(MIXED, 56);
}

#[test]
fn rotation() {
    explore_share(ROTATION, 28);
}

#[test]
fn cap() {
    explore_share(CAP, 4);
}

#[test]
fn threads() {
    explore_share(THREADS, 12);
}

/// Runs a short script once for each of its calls, with `prepare` told which one is to go wrong, and looks at what a
/// power cut leaves of each.
fn each_call_goes_wrong(prepare: impl Fn(&Moment, u64)) {
    let tally = Tally::new(SHORT, Twin::default(), 1, u64::MAX);
    for call in 1.. {
        let moment = Rig::blank();
        prepare(&moment, call);
        let rig = Rig::new(moment, SHORT.config(), Twin::default(), None);
        // A call whose failure nobody depends on, such as preparing a segment ahead, leaves the run as it is.
        let outcome = SHORT.run(&rig, 1);
        if rig.disk.counts().mutations() < call {
            assert!(outcome.is_ok() && call > 50, "call {call} went well, yet {outcome:?}");
            break;
        }
        for end in [End::PowerCut(call), End::PowerCut(call + 1_000), End::Kill] {
            visit(&tally, rig.moment().after(end), &format!("call {call} went wrong, {end}"), 0);
        }
        if let Some(failure) = tally.first_failure() {
            panic!("{failure}");
        }
    }
    eprintln!("{} crash points", tally.points());
}

#[test]
fn nothing_is_promised_after_the_power_has_gone_during_any_call() {
    each_call_goes_wrong(|moment, call| moment.disk.crash_at(call));
}

#[test]
fn any_call_may_fail_once_and_a_power_cut_after_that_takes_nothing_promised() {
    each_call_goes_wrong(|moment, call| moment.disk.fail_after(call, Fault::io()));
}

#[test]
fn the_disk_may_be_full_at_any_call() {
    each_call_goes_wrong(|moment, call| moment.disk.fail_after(call, Fault::full()));
}

/// Asserts that some seed shows what `twin` leaves out.
fn assert_caught(what: &str, style: Style, twin: Twin) {
    for seed in 1..=6 {
        let tally = Tally::new(style, twin, seed, u64::MAX);
        explore(&tally);
        if let Some(failure) = tally.first_failure() {
            eprintln!("without {what}, after {} crash points: {failure}", tally.points());
            return;
        }
    }
    panic!("an engine without {what} passes all of this");
}

#[test]
fn an_engine_that_leaves_out_one_kind_of_sync_is_caught() {
    let twin = Twin::default();
    assert_caught("the journal's sync", MIXED, Twin { journal_unsynced: true, ..twin });
    assert_caught("the sync of frames that recovery wrote again", MIXED, Twin { rewrite_unsynced: true, ..twin });
    assert_caught("the sync of folders", MIXED, Twin { folders_unsynced: true, ..twin });
    assert_caught("the store's sync", ROTATION, Twin { store_unsynced: true, ..twin });
}

/// The segment files of a machine with their bytes.
fn segments(moment: &Moment) -> Vec<(PathBuf, Vec<u8>)> {
    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    let read = |name: String| {
        let path = journal.join(name);
        let file = moment.disk.open(&path, false).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        (path, bytes)
    };
    moment.disk.list(&journal).unwrap().into_iter().map(read).collect()
}

#[test]
fn a_journal_cut_at_every_byte_behind_the_last_promise_holds_exactly_that_or_the_whole_batch_behind_it() {
    let mut config = MIXED.config();
    config.sync_every_ms = 3_600_000;
    let put = |place: u64| vec![(Tree::Records, format!("k{}", place % 3).into_bytes(), change(place))];
    fn change(place: u64) -> ledger::Change {
        ledger::Change::Put(Value::from(format!("value {place}").into_bytes()))
    }
    let rig = Rig::new(Rig::blank(), config, Twin::default(), None);
    let engine = rig.open().unwrap().0;
    for place in 0..5 {
        rig.ledger.commit(&engine, &put(place).into(), Durability::PowerLoss).unwrap();
    }
    let promised = rig.moment();
    // Three commits in one frame.
    for place in 5..8 {
        rig.ledger.commit(&engine, &put(place).into(), Durability::Buffered).unwrap();
    }
    engine.sync().unwrap();
    let batch = rig.moment();
    let before = segments(&promised);
    let (path, from, to) = segments(&batch)
        .into_iter()
        .find_map(|(path, now)| {
            let old = &before.iter().find(|(old, _)| *old == path)?.1;
            let from = now.iter().zip(old).position(|(now, old)| now != old)?;
            let to = now.iter().zip(old).rposition(|(now, old)| now != old)? + 1;
            Some((path, from, to))
        })
        .unwrap();
    assert!(to - from > 100, "the frame takes bytes {from}..{to}");
    for cut in from..=to {
        for shorter in [false, true] {
            let machine = batch.after(End::Kill);
            let cut_off = |bytes: &mut Vec<u8>| if shorter { bytes.truncate(cut) } else { bytes[cut..].fill(0) };
            machine.disk.damage(&path, cut_off).unwrap();
            let rig = Rig::new(machine, MIXED.config(), Twin::default(), None);
            let engine = rig.open().unwrap().0;
            let order = rig.ledger.check(&engine).unwrap_or_else(|what| panic!("cut at {cut}: {what}"));
            assert_eq!(order, if cut == to { 8 } else { 5 }, "cut at {cut} of {from}..{to}, shorter: {shorter}");
        }
    }
}
