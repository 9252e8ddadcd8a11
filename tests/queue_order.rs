//! The order of claims, exactly, against the plainest model: a list of jobs that is sorted at each claim.
//!
//! Jobs are enqueued at once and for later, in three priorities and two queues; claimed, completed, failed, snoozed,
//! released, cancelled and retried; queues are paused; time passes, jumps, and leases run out; the store ends, with and
//! without a word, and opens again. At each claim the model says which jobs come, in which order. A bounded window
//! stands between the queue and its store; here it is never seen.

#[allow(dead_code)] // Shared with tests that need other parts of it.
mod house;

use std::collections::BTreeMap;

use ml_persistence::jobs::{JobFilter, State};
use ml_persistence::{Backoff, ErrorKind, JobId, Lease, ManualClock, NewJob, Token};

use house::{Dice, House, Open};

const LEASE_MS: u64 = 200;
const WALKS: u64 = 16;
const STEPS: usize = 400;
const QUEUES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
struct Model {
    queue: &'static str,
    priority: u8,
    run_at: u64,
    sequence: u64,
    state: State,
    token: Option<Token>,
    /// By the monotonic clock.
    lease_ends: u64,
    cancel_requested: bool,
}

/// What the model found wrong.
type Verdict = Result<(), String>;

/// A fault planted in the model, to show that the walk would notice one in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Jobs of equal rank against the order in which they came.
    ForgetsEnqueueOrder,
    /// A release sends to the back of the line.
    ReleaseGoesLast,
    /// Of what is due the newest comes first.
    NewestDueFirst,
}

struct Walk {
    house: House,
    clock: ManualClock,
    open: Option<Open>,
    jobs: BTreeMap<JobId, Model>,
    paused: [bool; 2],
    mark: u64,
    sequence: u64,
    monotonic: u64,
    fault: Fault,
}

impl Walk {
    fn new(fault: Fault) -> Self {
        let clock = ManualClock::at(1_000_000);
        let house = House::new(clock.clone());
        let open = Some(house.open());
        let (jobs, paused) = (BTreeMap::new(), [false; 2]);
        Walk { house, clock, open, jobs, paused, mark: 0, sequence: 0, monotonic: 0, fault }
    }

    fn queue(&self) -> &ml_persistence::Jobs {
        &self.open.as_ref().expect("the store is open").jobs
    }

    fn now(&self) -> u64 {
        use ml_persistence::Clock;
        self.clock.now_ms()
    }

    fn enqueue(&mut self, dice: &mut Dice, count: usize) {
        let mut new = Vec::new();
        for _ in 0..count {
            let queue = QUEUES[dice.roll(2) as usize];
            let priority = dice.roll(3) as u8;
            let later = (dice.roll(4) == 0).then(|| 1 + dice.roll(150));
            let job = NewJob::new(queue, "k").priority(priority).lease_ms(LEASE_MS).backoff(Backoff::fixed(30));
            let job = job.max_attempts(1_000_000).max_crashes(1_000_000);
            new.push((queue, priority, later, later.map_or(job.clone(), |delay| job.delay_ms(delay))));
        }
        let list: Vec<NewJob> = new.iter().map(|(.., job)| job.clone()).collect();
        let enqueued = self.queue().enqueue_batch(&list).expect("room");
        let now = self.now();
        for ((queue, priority, later, _), enqueued) in new.into_iter().zip(enqueued) {
            self.sequence += 1;
            let run_at = match later {
                Some(delay) => now + delay,
                None => {
                    self.mark = self.mark.max(now);
                    self.mark
                }
            };
            let state = if later.is_some() { State::Scheduled } else { State::Available };
            let model = Model {
                queue,
                priority,
                run_at,
                sequence: self.sequence,
                state,
                token: None,
                lease_ends: 0,
                cancel_requested: false,
            };
            self.jobs.insert(enqueued.job, model);
        }
    }

    /// The claims of an opening that is over, or of leases that have run out, end.
    fn take_back(&mut self, ended: impl Fn(&Model) -> bool) {
        for job in self.jobs.values_mut().filter(|job| job.state == State::Executing && ended(job)) {
            job.state = if job.cancel_requested { State::Cancelled } else { State::Available };
            job.token = None;
        }
    }

    fn claim(&mut self, dice: &mut Dice) -> Verdict {
        let mut order = if dice.roll(2) == 0 { vec![0, 1] } else { vec![1, 0] };
        order.truncate(1 + dice.roll(2) as usize);
        let limit = 1 + dice.roll(6) as usize;
        let (now, monotonic, fault) = (self.now(), self.monotonic, self.fault);
        self.take_back(|job| job.lease_ends <= monotonic);
        let mut expected = Vec::new();
        for &number in &order {
            let queue = QUEUES[number];
            for job in self.jobs.values_mut().filter(|job| job.queue == queue && job.run_at <= now) {
                if matches!(job.state, State::Scheduled | State::Retryable) {
                    job.state = State::Available;
                }
            }
            let available = self.jobs.iter().filter(|(_, job)| job.queue == queue && job.state == State::Available);
            let mut line: Vec<_> = available
                .map(|(id, job)| match fault {
                    Fault::ForgetsEnqueueOrder => ((job.priority, job.run_at, u64::MAX - job.sequence), *id),
                    Fault::NewestDueFirst => ((job.priority, u64::MAX - job.run_at, job.sequence), *id),
                    _ => ((job.priority, job.run_at, job.sequence), *id),
                })
                .collect();
            line.sort_unstable();
            if !self.paused[number] {
                expected.extend(line.into_iter().map(|(_, id)| id));
            }
        }
        expected.truncate(limit);
        let queues: Vec<&str> = order.iter().map(|number| QUEUES[*number]).collect();
        let claimed = self.queue().claim(&queues, limit).expect("a claim");
        let claimed: Vec<_> = claimed.into_iter().map(Lease::into_parts).collect();
        let found: Vec<JobId> = claimed.iter().map(|(job, _)| job.id).collect();
        if found != expected {
            return Err(format!("claim of {limit} from {queues:?}: expected {expected:?}, found {found:?}"));
        }
        for (job, token) in claimed {
            let model = self.jobs.get_mut(&job.id).expect("it was expected");
            model.state = State::Executing;
            model.token = Some(token);
            model.lease_ends = monotonic + LEASE_MS;
        }
        Ok(())
    }

    fn pick(&self, dice: &mut Dice, with: impl Fn(&Model) -> bool) -> Option<JobId> {
        let found: Vec<JobId> = self.jobs.iter().filter(|(_, job)| with(job)).map(|(id, _)| *id).collect();
        (!found.is_empty()).then(|| found[dice.roll(found.len() as u64) as usize])
    }

    fn finish(&mut self, dice: &mut Dice) {
        let Some(id) = self.pick(dice, |job| job.state == State::Executing) else { return };
        let (now, fault) = (self.now(), self.fault);
        let token = self.jobs[&id].token.expect("it executes");
        let requested = self.jobs[&id].cancel_requested;
        let delay = 1 + dice.roll(100);
        let (outcome, state, run_at) = match dice.roll(5) {
            0 => (self.queue().complete(&token, None), State::Completed, None),
            1 => (self.queue().fail(&token, None, Some(delay - 1)), State::Retryable, Some(now + delay - 1)),
            2 => (self.queue().snooze(&token, delay), State::Scheduled, Some(now + delay)),
            _ => (self.queue().release(&token), State::Available, None),
        };
        outcome.expect("the claim is held");
        let model = self.jobs.get_mut(&id).expect("it exists");
        model.token = None;
        model.state = if requested && state != State::Completed { State::Cancelled } else { state };
        model.run_at = run_at.unwrap_or(model.run_at);
        if fault == Fault::ReleaseGoesLast && state == State::Available {
            model.sequence = u64::MAX;
        }
    }

    fn cancel_or_retry(&mut self, dice: &mut Dice) {
        let (now, monotonic) = (self.now(), self.monotonic);
        let Some(id) = self.pick(dice, |_| true) else { return };
        if dice.roll(2) == 0 {
            let outcome = self.queue().retry(id);
            let model = self.jobs.get_mut(&id).expect("it exists");
            if !model.state.is_terminal() {
                assert_eq!(outcome.expect_err("it is not over").kind(), ErrorKind::Conflict);
                return;
            }
            outcome.expect("it is over");
            (model.state, model.run_at, model.cancel_requested) = (State::Available, now, false);
            return;
        }
        let outcome = self.queue().cancel(id);
        let model = self.jobs.get_mut(&id).expect("it exists");
        match model.state {
            State::Completed => assert_eq!(outcome.expect_err("completed").kind(), ErrorKind::Conflict),
            State::Executing if model.lease_ends > monotonic => model.cancel_requested = true,
            _ => model.state = State::Cancelled,
        }
    }

    fn reopen(&mut self, says_so: bool) {
        let open = self.open.take().expect("the store is open");
        if says_so {
            open.jobs.release_all_on_close().expect("leases are released");
        }
        open.end();
        self.take_back(|_| true);
        self.open = Some(self.house.open());
    }

    fn go(&mut self, dice: &mut Dice) -> Verdict {
        match dice.roll(24) {
            0..=3 => {
                let count = 1 + dice.roll(4) as usize;
                self.enqueue(dice, count);
            }
            4..=9 => return self.claim(dice),
            10..=14 => self.finish(dice),
            15 | 16 => self.cancel_or_retry(dice),
            17 => {
                let number = dice.roll(2) as usize;
                self.paused[number] = !self.paused[number];
                let toggle =
                    if self.paused[number] { ml_persistence::Jobs::pause } else { ml_persistence::Jobs::resume };
                toggle(self.queue(), QUEUES[number]).expect("a queue can be paused and resumed");
            }
            18..=20 => {
                let ms = dice.roll(80);
                self.clock.advance(ms);
                self.monotonic += ms;
            }
            // An administrator sets the clock: jobs are due earlier or later by that, and no lease ends.
            21 => self.clock.set_wall(self.now() + 60 - dice.roll(120)),
            22 => {
                self.queue().maintain().expect("upkeep goes through");
                let (now, monotonic) = (self.now(), self.monotonic);
                self.take_back(|job| job.lease_ends <= monotonic);
                for job in self.jobs.values_mut().filter(|job| job.run_at <= now) {
                    if matches!(job.state, State::Scheduled | State::Retryable) {
                        job.state = State::Available;
                    }
                }
            }
            // Opening costs a thousand times what a claim does, so it comes more rarely.
            _ if dice.roll(5) > 0 => {}
            _ => self.reopen(dice.roll(2) == 0),
        }
        Ok(())
    }

    fn walk(mut self, seed: u64, steps: usize) -> Verdict {
        let mut dice = Dice(seed);
        for step in 0..steps {
            self.go(&mut dice).map_err(|wrong| format!("seed {seed}, step {step}: {wrong}"))?;
        }
        self.open.as_ref().expect("the store is open").verify();
        let page = self.queue().list(&JobFilter::new(), None, 1_000).expect("the list can be read");
        for job in page.jobs {
            let model = &self.jobs[&job.id];
            // Nobody has looked since its time came.
            let waits = matches!(model.state, State::Scheduled | State::Retryable | State::Executing);
            if !waits && job.state != model.state {
                return Err(format!("seed {seed}: {} is {}, and not {}", job.id, job.state, model.state));
            }
        }
        Ok(())
    }
}

#[test]
fn claims_come_in_exact_order_whatever_happened_before_also_across_reopenings() {
    for seed in 0..WALKS {
        if let Err(wrong) = Walk::new(Fault::None).walk(seed, STEPS) {
            panic!("{wrong}");
        }
    }
}

#[test]
fn a_queue_with_another_order_would_be_caught() {
    for fault in [Fault::ForgetsEnqueueOrder, Fault::ReleaseGoesLast, Fault::NewestDueFirst] {
        assert!((0..WALKS).any(|seed| Walk::new(fault).walk(seed, STEPS).is_err()), "{fault:?}");
    }
}
