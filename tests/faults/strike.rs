//! The trials.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::OnceLock;

use ml_persistence::engine::local::sim::Fault;
use ml_persistence::engine::wrap::{Mishap, StoreCall, Times};
use ml_persistence::kv::KeyValue;
use ml_persistence::{Error, ErrorKind, Json, MlPersistence, Result};

use super::ground::Ground;
use super::scene::{Base, Scene, dump};
use super::store::{FaultOpener, Plan};
use super::write::{Hand, Promise, Subject, Write};

/// What goes wrong.
#[derive(Debug, Clone)]
enum Blow {
    /// Nothing: how it goes when all is well.
    None,
    Disk(Fault),
    /// The power goes during the call.
    Power,
    Store(Plan),
}

/// How the life ends in which it went wrong.
#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    PowerCut(u64),
}

/// A life that has ended.
struct Ended {
    outcome: Result<()>,
    /// Whether what was written after the blow was acknowledged.
    probe: Result<()>,
    /// Calls of the kind that was to fail, from the blow on.
    calls: u64,
    next: Ground,
}

fn open(ground: &Ground, opener: std::sync::Arc<FaultOpener>, base: Base) -> Result<Subject> {
    let builder = ground.builder_over(opener);
    Ok(match base {
        Base::Replica => Subject::Replica(Some(builder.open_replica()?)),
        Base::Plain | Base::Damaged => Subject::Store(builder.open()?),
    })
}

fn probe() -> Json {
    Json::from(serde_json::json!("probe"))
}

/// Runs one write with one blow, which the `nth` call meets.
fn live(write: Write, blow: &Blow, nth: u64, end: End) -> Ended {
    let ground = Scene::the().stage(write.base());
    let opener = FaultOpener::new(ground.opener());
    let subject = open(&ground, std::sync::Arc::clone(&opener), write.base()).expect("opens when all is well");
    let mut hand = Hand::new(&ground, write.base(), subject);
    let disk_before = ground.disk.counts().mutations();
    let store_before = match blow {
        Blow::Store(plan) => opener.calls(plan.call),
        _ => Vec::new(),
    };
    match blow {
        Blow::None => {}
        Blow::Disk(fault) => ground.disk.fail_after(nth, fault.clone()),
        Blow::Power => ground.disk.crash_at(nth),
        Blow::Store(plan) => opener.plan(plan),
    }
    let outcome = write.run(&mut hand);
    let calls = match blow {
        Blow::Store(plan) => {
            // The store is written behind the caller's back: it is made to be now.
            if matches!(hand.subject, Subject::Store(_)) {
                hand.db().checkpoint().unwrap_or_default();
            }
            let before = store_before.iter().copied().chain(std::iter::repeat(0));
            opener
                .calls(plan.call)
                .iter()
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before))
                .max()
                .unwrap_or(0)
        }
        _ => ground.disk.counts().mutations() - disk_before,
    };
    let probe = match &hand.subject {
        Subject::Store(db) => db.kv().put("probe", "k", &probe()),
        Subject::Replica(_) => Err(Error::new(ErrorKind::Unsupported, "a replica")),
    };
    let disk = match end {
        End::Kill => ground.disk.kill(),
        End::PowerCut(seed) => ground.disk.crash(seed),
    };
    hand.let_go();
    drop(hand);
    Ended { outcome, probe, calls, next: ground.with_disk(disk) }
}

/// What the next life finds; with the write done again where `again` says so.
fn look(write: Write, ended: &Ended, again: bool) -> std::result::Result<String, String> {
    let next = &ended.next;
    let opener = FaultOpener::new(next.opener());
    let as_replica = write.base() == Base::Replica && write != Write::Promote;
    let base = if as_replica { Base::Replica } else { Base::Plain };
    let told = |what: &str, error: Error| format!("{what}: {error}");
    let subject = open(next, opener, base).map_err(|error| told("does not open", error))?;
    let db: MlPersistence = match &subject {
        Subject::Store(db) => db.clone(),
        Subject::Replica(replica) => (**replica.as_ref().expect("opened")).clone(),
    };
    if again {
        repeat(write, &db).map_err(|error| told("can't be done again", error))?;
    }
    db.collection::<super::scene::Item>().map_err(|error| told("no collection", error))?;
    let report = db.verify().map_err(|error| told("verify", error))?;
    if !report.violations.is_empty() && (write != Write::Repair || again) {
        return Err(format!("{:?}", report.violations));
    }
    let text = dump(&db);
    if ended.probe.is_ok() {
        let found = db.kv().get("probe", "k").map_err(|error| told("the probe", error))?;
        if found != Some(probe()) {
            return Err("what was acknowledged behind the failure is gone".to_owned());
        }
    }
    Ok(text)
}

/// The rest of a write that was done in part. Leases are gone with their opening, so what takes one is done already, or
/// has not happened.
fn repeat(write: Write, db: &MlPersistence) -> Result<()> {
    match write {
        Write::Prune => db.jobs().prune(None, Some(0)).map(drop),
        Write::Maintain => db.jobs().maintain().map(drop),
        Write::Repair => db.repair().map(drop),
        Write::SweepLeftovers => db.registry().sweep_leftovers(1_000).map(drop),
        _ => Ok(()),
    }
}

/// What there was before a write and after it, when all is well.
fn well(write: Write) -> (String, String) {
    static WELL: OnceLock<Mutex<BTreeMap<String, (String, String)>>> = OnceLock::new();
    let known = || WELL.get_or_init(Mutex::default).lock().unwrap();
    if let Some(well) = known().get(&format!("{write:?}")) {
        return well.clone();
    }
    let ended = live(write, &Blow::None, 1, End::Kill);
    assert!(ended.outcome.is_ok(), "{write:?} goes wrong when all is well: {:?}", ended.outcome);
    let after =
        look(write, &ended, write.promise() == Promise::Steps).unwrap_or_else(|what| panic!("{write:?}: {what}"));
    // An opening that holds the same leases, and no write.
    let ground = Scene::the().stage(write.base());
    let subject = open(&ground, FaultOpener::new(ground.opener()), write.base()).unwrap();
    let mut hand = Hand::new(&ground, write.base(), subject);
    if matches!(write, Write::Maintain | Write::Touch) {
        ground.clock.advance(if write == Write::Touch { 1 } else { 100_000 });
    }
    let next = ground.with_disk(ground.disk.kill());
    hand.let_go();
    drop(hand);
    let nothing = Ended { outcome: Ok(()), probe: Err(Error::new(ErrorKind::Closed, "")), calls: 0, next };
    let before = look(write, &nothing, false).unwrap_or_else(|what| panic!("before {write:?}: {what}"));
    known().insert(format!("{write:?}"), (before.clone(), after.clone()));
    (before, after)
}

fn judge(write: Write, ended: &Ended) -> std::result::Result<(), String> {
    let (before, after) = well(write);
    let found = look(write, ended, false)?;
    let promise = write.promise();
    let done = found == after;
    if ended.outcome.is_ok() && promise == Promise::AllOrNothing && !done {
        return Err(format!("was acknowledged, and is not there:\n{}", difference(&found, &after)));
    }
    if let (Err(error), Ok(())) = (&ended.outcome, &ended.probe)
        && error.kind() == ErrorKind::CommitUnknown
    {
        return Err("goes on acknowledging after a commit of which it does not know".to_owned());
    }
    if done || (found == before && (ended.outcome.is_err() || promise == Promise::Buffered)) {
        return Ok(());
    }
    match promise {
        Promise::Steps => {
            let again = look(write, ended, true)?;
            let takes_a_lease = matches!(
                write,
                Write::Claim
                    | Write::CompleteAndClaim
                    | Write::LeaseCompleteAndClaim
                    | Write::ReleaseAll
                    | Write::Close
            );
            // Which of the leases were given, or given back, is seen in their jobs alone; verify has looked at these.
            if takes_a_lease || again == after {
                return Ok(());
            }
            Err(format!("done again, it does not come to the same:\n{}", difference(&again, &after)))
        }
        Promise::AllOrNothing | Promise::Buffered => {
            Err(format!("in part:\n{}", difference(&found, if ended.outcome.is_ok() { &after } else { &before })))
        }
    }
}

fn difference(found: &str, wanted: &str) -> String {
    let lines = |one: &str, other: &str, sign: char| -> String {
        let only = one.lines().filter(|line| !other.lines().any(|known| known == *line));
        only.map(|line| format!("{sign} {}\n", line.chars().take(600).collect::<String>())).collect()
    };
    lines(found, wanted, '+') + &lines(wanted, found, '-')
}

/// Strikes a write at every call; answers how many trials that took.
fn strike(write: Write, blow: impl Fn(u64) -> Blow) -> std::result::Result<u64, String> {
    for nth in 1.. {
        let blow = blow(nth);
        let end = if nth % 2 == 0 { End::Kill } else { End::PowerCut(nth) };
        let ended = live(write, &blow, nth, end);
        judge(write, &ended).map_err(|what| {
            format!("{write:?}, {blow:?} at call {nth}, then {end:?}, outcome {:?}: {what}", ended.outcome)
        })?;
        if ended.calls < nth {
            return Ok(nth);
        }
        assert!(nth < 1_000, "{write:?} never comes to an end of its calls");
    }
    unreachable!("an endless count")
}

/// All writes, or the ones whose names contain `MLP_FAULTS`.
fn strike_all(name: &str, blows: &[&dyn Fn(u64) -> Blow]) {
    let (mut trials, mut faults) = (0, Vec::new());
    let wanted = std::env::var("MLP_FAULTS").unwrap_or_default();
    for write in Write::ALL.iter().filter(|write| format!("{write:?}").contains(&wanted)) {
        for blow in blows {
            match strike(*write, blow) {
                Ok(of_write) => trials += of_write,
                Err(fault) => faults.push(fault),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    println!("{name}: {trials} trials over {} writes", Write::ALL.len());
}

#[test]
fn an_error_of_the_disk_at_any_call_takes_nothing_acknowledged_and_leaves_nothing_in_part() {
    strike_all("disk errors", &[&|_| Blow::Disk(Fault::io()), &|_| Blow::Disk(Fault::io().forever())]);
}

#[test]
fn a_full_disk_at_any_call_takes_nothing_acknowledged_and_leaves_nothing_in_part() {
    strike_all("full disk", &[&|_| Blow::Disk(Fault::full()), &|_| Blow::Disk(Fault::full().forever())]);
}

#[test]
fn the_power_may_go_at_any_call() {
    strike_all("power", &[&|_| Blow::Power]);
}

#[test]
fn a_store_that_fails_at_any_call_takes_nothing_acknowledged_and_leaves_nothing_in_part() {
    let failed = || Error::new(ErrorKind::Unavailable, "planned");
    let full = || Error::new(ErrorKind::Full, "planned");
    let plan = |call, nth, times, mishap| Blow::Store(Plan { call, nth, times, mishap });
    strike_all(
        "store",
        &[
            &|nth| plan(StoreCall::Apply, nth, Times::Once, Mishap::FailBefore(failed())),
            &|nth| plan(StoreCall::Apply, nth, Times::Forever, Mishap::FailBefore(full())),
            &|nth| plan(StoreCall::Apply, nth, Times::Once, Mishap::FailAfter(failed())),
            &|nth| plan(StoreCall::Sync, nth, Times::Once, Mishap::FailBefore(failed())),
            &|nth| plan(StoreCall::Sync, nth, Times::Forever, Mishap::FailBefore(full())),
        ],
    );
}
