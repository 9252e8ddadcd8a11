//! Ends a life behind each of its calls, in several ways, and looks at what the next life makes of it: a tree of lives.
//!
//! ```text
//! life 1: a script        cut or killed behind every call
//!   life 2: recovery      checked; goes on a little; for a part of them cut or killed behind every call
//!     life 3: recovery    checked; again for a part of them
//!       life 4: recovery  checked
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ledger::Change;
use super::rig::{End, Moment, Rig, Twin, Watch};
use super::script::Style;
use crate::clock::mix;
use crate::config::Durability;
use crate::engine::{Engine, Tree, Value};

/// Lives that follow the first, at most.
const DEPTH: u32 = 3;

/// What all lives of one exploration share.
pub(super) struct Tally {
    pub(super) style: Style,
    pub(super) twin: Twin,
    seed: u64,
    points_max: u64,
    script_calls: AtomicU64,
    points: AtomicU64,
    found: AtomicBool,
    first: Mutex<Option<String>>,
}

impl Tally {
    /// Stops at `points_max` crash points.
    pub(super) fn new(style: Style, twin: Twin, seed: u64, points_max: u64) -> Arc<Self> {
        let (script_calls, points, first) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(None));
        Arc::new(Tally { style, twin, seed, points_max, script_calls, points, found: AtomicBool::new(false), first })
    }

    /// Crash points that were recovered from.
    pub(super) fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self, path: &str, what: &str) {
        self.found.store(true, Ordering::Relaxed);
        self.first.lock().get_or_insert_with(|| {
            let Tally { style: Style { name, .. }, seed, .. } = self;
            format!("{what}\n  {name}, seed {seed}: {path}\n  again: MLP_CRASH_SEED={seed} cargo test --lib crash_tests::{name}")
        });
    }

    pub(super) fn first_failure(&self) -> Option<String> {
        self.first.lock().clone()
    }
}

/// Ends lives behind their calls.
struct Ender {
    tally: Arc<Tally>,
    path: String,
    /// Lives that may still follow.
    depth: u32,
}

/// A choice that depends on where it is made, so that a run of the same seed makes it again.
fn roll(tally: &Tally, path: &str, salt: u64) -> u64 {
    path.bytes().fold(mix(tally.seed ^ mix(salt)), |hash, byte| mix(hash ^ u64::from(byte)))
}

impl Watch for Ender {
    fn wants(&self, _step: u64, call: &str) -> bool {
        if self.tally.found.load(Ordering::Relaxed) || self.tally.points() >= self.tally.points_max {
            return false;
        }
        // Every call of the script has its turn. How many of the recoveries are cut off is a matter of time, which is
        // spread over the script.
        match self.depth {
            DEPTH => {
                let wanted = !self.tally.style.names_only || !call.ends_with(".seg") || call.starts_with("rename");
                self.tally.script_calls.fetch_add(u64::from(wanted), Ordering::Relaxed);
                wanted
            }
            _ => {
                let calls = self.tally.script_calls.load(Ordering::Relaxed);
                self.tally.points() < calls * self.tally.style.points_per_call
            }
        }
    }

    fn see(&self, step: u64, call: &str, moment: &Moment) {
        let path = format!("{} > {step} {call}", self.path);
        end_at(&self.tally, moment, &path, self.depth);
    }
}

/// Ends the life of `moment` in several ways and visits each.
fn end_at(tally: &Arc<Tally>, moment: &Moment, path: &str, depth: u32) {
    let cut = |salt| End::PowerCut(roll(tally, path, salt) % 1_000);
    let any = roll(tally, path, 0);
    let ends = match depth {
        DEPTH => vec![End::Kill, cut(1), cut(2)],
        _ if any.is_multiple_of(2) => vec![End::Kill],
        _ => vec![cut(1)],
    };
    for end in ends {
        visit(tally, moment.after(end), &format!("{path}, {end}"), depth - 1);
    }
}

/// A life that begins with a recovery: checks what it finds, goes on a little, and is itself cut off at times.
pub(super) fn visit(tally: &Arc<Tally>, moment: Moment, path: &str, depth: u32) {
    if tally.found.load(Ordering::Relaxed) {
        return;
    }
    tally.points.fetch_add(1, Ordering::Relaxed);
    let any = roll(tally, path, 7);
    let ends_again = depth > 0 && any.is_multiple_of(if depth == 2 { 6 } else { 12 });
    let ender = ends_again.then(|| Arc::new(Ender { tally: Arc::clone(tally), path: path.to_owned(), depth }) as _);
    let rig = Rig::new(moment, tally.style.config(), tally.twin, ender);
    if let Err(what) = live(&rig, any) {
        tally.fail(path, &what);
        return;
    }
    // What was found, and what was answered since, has to stand up to a cut as well.
    if (any >> 8).is_multiple_of(4) {
        let end = End::PowerCut(any % 1_000);
        let last = Rig::new(rig.moment().after(end), tally.style.config(), tally.twin, None);
        tally.points.fetch_add(1, Ordering::Relaxed);
        if let Err(what) = live(&last, 0) {
            tally.fail(&format!("{path} > its end, {end}"), &what);
        }
    }
}

fn live(rig: &Arc<Rig>, any: u64) -> Result<(), String> {
    let (engine, _) = rig.open().map_err(|error| format!("reopening failed: {error}"))?;
    let order = rig.ledger.check(&engine)?;
    rig.ledger.cut_to(order);
    // It was answered from here on, so it may not be taken back.
    rig.ledger.promise(order);
    let going_on = |error| format!("going on failed: {error}");
    let operation = Arc::new(vec![(Tree::Kv, b"next life".to_vec(), Change::Put(Value::from(&b"x"[..])))]);
    rig.ledger.commit(&engine, &operation, Durability::PowerLoss).map_err(going_on)?;
    if (any >> 16).is_multiple_of(4) {
        engine.checkpoint().map_err(going_on)?;
    }
    engine.close().map_err(going_on)
}

/// Runs the script once, ended behind every call.
pub(super) fn explore(tally: &Arc<Tally>) {
    let path = "script".to_owned();
    let ender: Arc<dyn Watch> = Arc::new(Ender { tally: Arc::clone(tally), path, depth: DEPTH });
    let rig = Rig::new(Rig::blank(), tally.style.config(), tally.twin, Some(ender));
    if let Err(error) = tally.style.run(&rig, tally.seed) {
        tally.fail("script", &format!("the script itself failed: {error}"));
    }
}
