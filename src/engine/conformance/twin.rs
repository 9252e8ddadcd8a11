//! Twins of a real engine that each break one promise of [`history`] or [`replace`]: those suites have to tell them apart.
//! Tests of snapshots use them, too, to show what a promise is good for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::{engine, history, replace};
use crate::config::Config;
use crate::engine::local::place::Place;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;
use crate::engine::*;
use crate::error::Result;

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// No position knows what its history comes to.
    HashForgotten,
    /// Every position has the hash of the newest commit.
    HashOfTheEnd,
    /// The feed's hashes come one batch late.
    HashesLate,
    TimesLost,
    OpeningsLost,
    /// A position is made up for any cursor.
    StrangersWelcome,
    HoldStartsLate,
    HoldSyncsNothing,
    ReplacesNothing,
    EmptinessIgnored,
    /// Failed replacements are said to have worked.
    FailureSwallowed,
    ReplacementUntold,
    /// A commit that adopts a position is taken for a write of the store's own.
    AdoptionForgotten,
    /// Writes of its own leave a state where it was taken over.
    OriginStays,
    /// A watch never hears of a commit before its time is up.
    WatchDeaf,
    WatchEager,
}

/// A real engine with a bug.
#[derive(Debug)]
pub(crate) struct Twin {
    inner: Arc<dyn Engine>,
    bug: Bug,
    /// Those who are not told of a replacement, kept alive.
    untold: Mutex<Vec<Arc<dyn Observer>>>,
}

impl Twin {
    pub(crate) fn new(inner: Arc<dyn Engine>, bug: Bug) -> Self {
        Twin { inner, bug, untold: Mutex::default() }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == bug
    }
}

/// Hears of commits, and not of replacements.
#[derive(Debug)]
struct Untold(Weak<dyn Observer>);

impl Observer for Untold {
    fn watches(&self) -> Vec<(Tree, Vec<u8>)> {
        self.0.upgrade().map(|observer| observer.watches()).unwrap_or_default()
    }

    fn published(&self, cursor: Cursor, told: &[Told<'_>]) {
        if let Some(observer) = self.0.upgrade() {
            observer.published(cursor, told);
        }
    }
}

struct Hold {
    inner: Box<dyn FeedHold>,
    bug: Bug,
}

impl FeedHold for Hold {
    fn start(&self) -> Cursor {
        match self.bug {
            Bug::HoldStartsLate => self.inner.sync().expect("a hold that is looked at is synced"),
            _ => self.inner.start(),
        }
    }

    fn sync(&self) -> Result<Cursor> {
        match self.bug {
            Bug::HoldSyncsNothing => Ok(self.inner.start()),
            _ => self.inner.sync(),
        }
    }
}

impl Reader for Twin {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.inner.get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.inner.get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.inner.scan(tree, range, direction, limit)
    }
}

impl Engine for Twin {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        let adopt = match self.bug {
            Bug::AdoptionForgotten => None,
            Bug::OriginStays if options.adopt.is_none() => self.position(&self.cursor()).ok(),
            _ => options.adopt.clone(),
        };
        self.inner.transact(&TxnOptions { adopt, ..options.clone() }, body)
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.inner.read_view(body)
    }

    fn sync(&self) -> Result<Cursor> {
        self.inner.sync()
    }

    fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint()
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        let mut page = self.inner.changes(after, limit)?;
        if self.is(Bug::TimesLost) {
            page.changes.iter_mut().for_each(|change| change.committed_ms = 0);
        }
        if self.is(Bug::HashesLate) && page.chain.len() > 1 {
            let sequences: Vec<u64> = page.chain.iter().map(|(sequence, _)| *sequence).collect();
            page.chain.rotate_right(1);
            page.chain.iter_mut().zip(sequences).for_each(|(link, sequence)| link.0 = sequence);
        }
        Ok(page)
    }

    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        match self.bug {
            Bug::WatchDeaf if !at_most.is_zero() => {
                let outcome = self.inner.watch(&self.inner.sync()?, Duration::ZERO);
                std::thread::park_timeout(at_most);
                outcome.and(self.inner.watch(after, Duration::ZERO))
            }
            Bug::WatchEager => self.inner.watch(after, at_most).map(|_| true),
            _ => self.inner.watch(after, at_most),
        }
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        if self.is(Bug::ReplacementUntold) {
            let untold: Arc<dyn Observer> = Arc::new(Untold(observer));
            self.inner.observe(Arc::downgrade(&untold));
            self.untold.lock().push(untold);
            return;
        }
        self.inner.observe(observer);
    }

    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        Ok(Box::new(Hold { inner: self.inner.hold_changes()?, bug: self.bug }))
    }

    fn position(&self, at: &Cursor) -> Result<Position> {
        let mut position = match self.inner.position(at) {
            Err(_) if self.is(Bug::StrangersWelcome) => Position { cursor: *at, chain: None, epochs: Vec::new() },
            position => position?,
        };
        match self.bug {
            Bug::HashForgotten => position.chain = None,
            Bug::HashOfTheEnd => position.chain = self.inner.position(&self.inner.sync()?)?.chain,
            Bug::OpeningsLost => position.epochs.clear(),
            _ => {}
        }
        Ok(position)
    }

    fn replace(&self, only_if_empty: bool, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<()> {
        match self.bug {
            // `made` looks at a first replacement that is to be refused; this one is about those that are not.
            Bug::ReplacesNothing if !only_if_empty => Ok(()),
            Bug::EmptinessIgnored => self.inner.replace(false, fill),
            Bug::FailureSwallowed if !only_if_empty => self.inner.replace(false, fill).or(Ok(())),
            _ => self.inner.replace(only_if_empty, fill),
        }
    }

    fn cursor(&self) -> Cursor {
        self.inner.cursor()
    }

    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

fn make(bug: Bug) -> Arc<dyn Engine> {
    let config = Config::new().expect("the machine has randomness");
    let opener = Arc::new(MemoryOpener::by_folder());
    let place = Place::open(Arc::new(SimDisk::new()), Path::new("/data"), opener, &config);
    Arc::new(Twin::new(Arc::new(place.expect("a new folder opens").0), bug))
}

fn all() -> impl Iterator<Item = &'static (&'static str, engine::Check)> {
    history::ALL.iter().chain(replace::ALL)
}

#[test]
fn a_twin_without_a_bug_passes() {
    for (name, check) in all() {
        println!("{name}");
        check(&|| make(Bug::None)).expect(name);
    }
}

#[test]
fn each_bug_is_caught_by_the_check_that_names_it() {
    let twins = [
        (Bug::HashForgotten, "the_chain_hash_follows_from_what_was_committed_and_a_position_has_it"),
        (Bug::HashOfTheEnd, "the_chain_hash_follows_from_what_was_committed_and_a_position_has_it"),
        (Bug::HashesLate, "the_chain_hash_follows_from_what_was_committed_and_a_position_has_it"),
        (Bug::TimesLost, "the_feed_tells_when_each_commit_was_made"),
        (Bug::OpeningsLost, "a_position_lists_the_openings_that_led_to_its_cursor"),
        (Bug::StrangersWelcome, "a_position_is_refused_for_what_is_not_of_this_history"),
        (Bug::HoldStartsLate, "what_is_committed_after_a_hold_began_lies_behind_its_start"),
        (Bug::HoldStartsLate, "a_scan_with_what_the_feed_tells_from_a_hold_on_is_the_state_at_its_sync"),
        (Bug::HoldSyncsNothing, "what_is_committed_after_a_hold_began_lies_behind_its_start"),
        (Bug::HoldSyncsNothing, "a_scan_with_what_the_feed_tells_from_a_hold_on_is_the_state_at_its_sync"),
        (Bug::ReplacesNothing, "a_replaced_state_is_the_new_one_alone"),
        (Bug::EmptinessIgnored, "a_state_that_was_to_be_empty_stays_when_it_is_not"),
        (Bug::FailureSwallowed, "a_filler_that_fails_changes_nothing"),
        (Bug::ReplacementUntold, "observers_are_told_once_that_the_state_was_replaced_and_hear_of_the_new_one"),
        (Bug::AdoptionForgotten, "a_commit_that_adopts_a_position_moves_the_state_and_its_cursor_at_once"),
        (Bug::OriginStays, "the_first_write_of_its_own_begins_a_history_of_its_own"),
        (Bug::WatchDeaf, "a_commit_wakes_those_who_watch"),
        (Bug::WatchEager, "a_watch_answers_whether_there_is_more_and_ends_with_its_time"),
    ];
    for (bug, name) in twins {
        let check = all().find(|(listed, _)| *listed == name).expect("the check is listed").1;
        let caught = || !matches!(catch_unwind(AssertUnwindSafe(|| check(&|| make(bug)))), Ok(Ok(())));
        // Those that race may be lucky once.
        assert!((0..30).any(|_| caught()), "{bug:?} passes {name}");
    }
}
