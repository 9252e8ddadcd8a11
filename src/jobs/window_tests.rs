//! The window against the simplest model: a sorted map of what is ready, and a store that may lag behind it.
//!
//! A walk does what the engine, scanners and claimers do, in any order: jobs become ready and stop being ready; a scan
//! begins (the store is read at some moment while it runs), and ends; claimers take, and settle in either way; another
//! state takes the place of all, in which other jobs may stand where these stood. After
//! each step no ready job may be missing in front of the horizon, and a claimer is never given a job while one in front
//! of it, known to the window, is free.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::job::JobId;
use super::window::{Fate, Horizon, Place, Window};

/// A window with a fault in it, to show that the walk notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// What is told while a scan runs is forgotten.
    DeafDuringScans,
    /// A candidate that comes back is not offered again.
    BackIsGone,
    /// What is told in front of the horizon is left for a later scan.
    PutsAreMissed,
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Remove(u8),
    BeginScan {
        limit: usize,
    },
    ReadScan,
    EndScan {
        fails: bool,
    },
    Take(usize),
    Settle {
        which: usize,
        gone: bool,
    },
    Cut,
    /// Of the places of these, each holds a job of the new state.
    Replace(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..40).prop_map(Step::Put),
        3 => (0u8..40).prop_map(Step::Remove),
        3 => (1usize..6).prop_map(|limit| Step::BeginScan { limit }),
        3 => Just(Step::ReadScan),
        3 => prop::bool::weighted(0.1).prop_map(|fails| Step::EndScan { fails }),
        4 => (1usize..4).prop_map(Step::Take),
        4 => (0usize..8, any::<bool>()).prop_map(|(which, gone)| Step::Settle { which, gone }),
        1 => Just(Step::Cut),
        1 => prop::collection::vec(0u8..40, 0..20).prop_map(Step::Replace),
    ]
}

fn place(number: u8) -> Place {
    Place { priority: number / 16, run_at: u64::from(number / 4), sequence: u64::from(number) }
}

type Page = (Vec<(Place, JobId)>, bool);

struct Walk {
    sabotage: Sabotage,
    window: Window,
    ready: BTreeMap<Place, JobId>,
    /// Where a scan that runs began, how much it wants, and its page once it has read.
    scan: Option<(Horizon, usize, Option<Page>)>,
    /// Taken under their tickets, not settled.
    held: Vec<(Place, JobId, u64)>,
    tickets: u64,
    cap: usize,
    /// How often the state was replaced.
    states: u128,
}

impl Walk {
    fn new(sabotage: Sabotage, cap: usize) -> Self {
        Walk {
            sabotage,
            window: Window::default(),
            ready: BTreeMap::new(),
            scan: None,
            held: Vec::new(),
            tickets: 0,
            cap,
            states: 0,
        }
    }

    fn job(&self, number: u8) -> JobId {
        JobId(self.states * 1_000 + u128::from(number))
    }

    fn tell(&mut self, place: Place, job: Option<JobId>) {
        let deaf = self.sabotage == Sabotage::DeafDuringScans && self.scan.is_some();
        match job {
            _ if deaf => {}
            Some(_) if self.sabotage == Sabotage::PutsAreMissed => {}
            Some(job) => self.window.put(place, job, self.cap),
            None => self.window.remove(place),
        }
    }

    fn read(&mut self) {
        if let Some((from, limit, page @ None)) = &mut self.scan {
            let behind = self.ready.iter().filter(|(place, _)| Horizon::At(**place) > *from);
            let mut jobs: Vec<_> = behind.map(|(place, job)| (*place, *job)).collect();
            let at_end = jobs.len() <= *limit;
            jobs.truncate(*limit);
            *page = Some((jobs, at_end));
        }
    }

    fn go(&mut self, step: &Step) {
        match step {
            Step::Put(number) => {
                let (place, job) = (place(*number), self.job(*number));
                if self.ready.insert(place, job).is_none() {
                    self.tell(place, Some(job));
                }
            }
            Step::Remove(number) => {
                if self.ready.remove(&place(*number)).is_some() {
                    self.tell(place(*number), None);
                }
            }
            Step::BeginScan { limit } => {
                if self.scan.is_none() && self.window.wants_scan() {
                    self.scan = Some((self.window.begin_scan(), *limit, None));
                }
            }
            Step::ReadScan => self.read(),
            Step::EndScan { fails } => {
                self.read();
                if let Some((_, _, page)) = self.scan.take() {
                    self.window.end_scan(page.filter(|_| !fails));
                }
            }
            Step::Take(limit) => {
                self.tickets += 1;
                let free = self.window.offered();
                let taken = self.window.take(*limit, self.tickets);
                let expected: Vec<_> = free.into_iter().take(*limit).collect();
                assert_eq!(taken, expected, "the first in line first");
                self.held.extend(taken.into_iter().map(|(place, job)| (place, job, self.tickets)));
            }
            Step::Settle { which, gone } => {
                if *which < self.held.len() {
                    let (place, job, ticket) = self.held.remove(*which);
                    if *gone && self.ready.get(&place) == Some(&job) {
                        // Claimed. The note of it comes before or after the claimer has settled.
                        self.ready.remove(&place);
                        if *which % 2 == 0 {
                            self.tell(place, None);
                            self.window.settle(place, ticket, Fate::Gone, self.cap);
                        } else {
                            self.window.settle(place, ticket, Fate::Gone, self.cap);
                            self.tell(place, None);
                        }
                    } else if *gone && self.ready.get(&place) != Some(&job) || self.sabotage == Sabotage::BackIsGone {
                        self.window.settle(place, ticket, Fate::Gone, self.cap);
                    } else {
                        self.window.settle(place, ticket, Fate::Back, self.cap);
                    }
                }
            }
            Step::Cut => self.window.cut(self.cap / 2),
            Step::Replace(numbers) => {
                self.states += 1;
                self.ready = numbers.iter().map(|number| (place(*number), self.job(*number))).collect();
                self.window.forget();
            }
        }
    }

    /// Every ready job in front of the horizon is offered, or in the hands of a claimer; nothing else is offered.
    fn check(&self) {
        let held: BTreeSet<Place> = self.held.iter().map(|(place, _, _)| *place).collect();
        let offered: BTreeMap<Place, JobId> = self.window.offered().into_iter().collect();
        for (place, job) in &self.ready {
            if Horizon::At(*place) <= self.window.horizon() {
                assert!(offered.get(place) == Some(job) || held.contains(place), "{place:?} is missing");
            }
        }
        for (place, job) in &offered {
            assert_eq!(self.ready.get(place), Some(job), "{place:?} is offered and not ready");
        }
        assert!(self.window.taken() <= self.held.len());
    }

    fn walk(mut self, steps: &[Step]) {
        for step in steps {
            self.go(step);
            self.check();
        }
        // Everything comes to an end: what is ready is found, in order, by scans of one job each.
        self.go(&Step::EndScan { fails: false });
        for (place, _, ticket) in std::mem::take(&mut self.held) {
            self.window.settle(place, ticket, Fate::Back, self.cap);
        }
        let mut found = Vec::new();
        for _ in 0..200 {
            self.go(&Step::BeginScan { limit: 1 });
            self.go(&Step::EndScan { fails: false });
            self.tickets += 1;
            found.extend(self.window.take(1, self.tickets));
        }
        assert_eq!(found, self.ready.into_iter().collect::<Vec<_>>(), "all of the line, in its order");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_in_front_of_the_horizon_is_missing_whatever_happens_in_whichever_order(
        steps in prop::collection::vec(step(), 1..80), cap in 2usize..12,
    ) {
        Walk::new(Sabotage::None, cap).walk(&steps);
    }
}

#[test]
fn a_window_with_a_fault_in_it_is_caught() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for sabotage in [Sabotage::DeafDuringScans, Sabotage::BackIsGone, Sabotage::PutsAreMissed] {
        let mut runner = TestRunner::deterministic();
        let walks = prop::collection::vec(step(), 1..80);
        let caught = (0..200).any(|_| {
            let steps = walks.new_tree(&mut runner).unwrap().current();
            std::panic::catch_unwind(|| Walk::new(sabotage, 4).walk(&steps)).is_err()
        });
        assert!(caught, "{sabotage:?}");
    }
}

#[test]
fn notes_beyond_those_that_a_scan_keeps_only_shorten_what_the_scan_is_good_for() {
    let mut window = Window::default();
    let far = |number: u64| Place { priority: 1, run_at: 0, sequence: number };
    assert_eq!(window.begin_scan(), Horizon::Start);
    for number in (0..5_000).rev() {
        window.put(far(number), JobId(u128::from(number)), 10_000);
    }
    // The scan read before any of them: an empty line, to its end.
    window.end_scan(Some((Vec::new(), true)));
    let known = window.take(10_000, 1);
    assert_eq!(known.len(), 1_024, "as many as there were notes of");
    assert!(known.iter().zip(0..).all(|((place, _), number)| *place == far(number)), "the first of them");
    assert!(window.wants_scan(), "the line goes on");
}
