//! Every event in every state that can be reached within [`DEPTH`] steps, through the real store.
//!
//! Breadth first over the model's states: where two paths meet in the same state, only the shorter one goes on. Each
//! edge is walked from the enqueue, in a queue that was emptied before; its last step is checked in full.
//!
//! The walk says how many [situations](situation) it met first at each depth: what the rules ask about all jobs there are,
//! and the event. That tells what a deeper one would add; the machine of a single job is walked until nothing is new in
//! `jobs/transition_tests.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use ml_persistence::jobs::State;

use super::model::{Held, Model, Row};
use super::op::{New, Op};
use super::world::World;

/// Steps, the enqueue included; `MLP_WALK_DEPTH` asks for more of them.
const DEPTH: usize = 4;

/// All events that mean something to one job, and to another of the same unique key.
fn alphabet() -> Vec<Op> {
    let unique = New { unique: Some(0), ..New::plain() };
    let mut ops = vec![
        Op::Enqueue(unique),
        Op::Claim { queues: vec![0], limit: 2 },
        Op::ClaimAndDrop { queue: 0 },
        Op::Cancel { job: 0 },
        Op::Retry { job: 0 },
        Op::Advance { ms: 30 },
        Op::Advance { ms: 100 },
        Op::Maintain,
        Op::Prune { older_than_ms: Some(0) },
        Op::Pause { queue: 0 },
        Op::Resume { queue: 0 },
        Op::Crash,
        Op::Close,
    ];
    // The newest token, which may be good, and the one before, which is stale or another job's.
    for token in [0, 1] {
        ops.extend([
            Op::Heartbeat { token, lease_ms: Some(150) },
            Op::Complete { token },
            Op::CompleteAndClaim { token, queue: 0 },
        ]);
    }
    ops.extend([
        Op::Progress { token: 0 },
        Op::Fail { token: 0, retry_in_ms: None },
        Op::Fail { token: 0, retry_in_ms: Some(0) },
        Op::Discard { token: 0 },
        Op::Snooze { token: 0, delay_ms: 100 },
        Op::Release { token: 0 },
    ]);
    ops
}

/// A state as far as the future goes: times count from now, tokens by who holds them, and what is past is past.
fn canonical(model: &Model) -> (Vec<Row>, BTreeSet<usize>, Vec<Option<usize>>) {
    let mut rows: Vec<(u64, Row)> = model.rows.values().map(|row| (row.sequence, row.clone())).collect();
    rows.sort();
    let rows: Vec<Row> = rows
        .into_iter()
        .enumerate()
        .map(|(place, (_, mut row))| {
            row.sequence = place as u64;
            row.run_at = row.run_at.saturating_sub(model.wall);
            row.finished_at = row.finished_at.map(|at| (model.wall - at).min(row.retention_ms));
            row.claims = 0;
            row.held = row.held.map(|held| Held {
                token: 0,
                due: held.due.saturating_sub(model.monotonic),
                timeout: held.timeout.map(|timeout| timeout.saturating_sub(model.monotonic)),
                ..held
            });
            row
        })
        .collect();
    // Whose job each of the two newest tokens is good for.
    let good = |back: usize| {
        let place = model.tokens.len().checked_sub(back + 1)?;
        let id = model.fence(place).ok()?;
        model.rows.keys().position(|other| *other == id)
    };
    (rows, model.paused.clone(), vec![good(0), good(1)])
}

/// What the rules ask about a job: state, whether this is the last attempt or the last crash, whether it is to stop,
/// whether its lease, its attempt's time, its retention and its `run_at` are past.
type Question = (State, [bool; 7]);

fn situation(model: &Model) -> (Vec<Question>, bool) {
    let question = |row: &Row| {
        let held = row.held.as_ref();
        let past = |at: Option<u64>| at.is_some_and(|at| at <= model.monotonic);
        let asks = [
            row.attempt >= row.max_attempts,
            row.crash_count + 1 >= row.max_crashes,
            row.cancel_requested,
            past(held.map(|held| held.due)),
            past(held.and_then(|held| held.timeout)),
            model.is_old(row, None),
            row.run_at <= model.wall,
        ];
        (row.state, asks)
    };
    let mut questions: Vec<Question> = model.rows.values().map(question).collect();
    questions.sort_unstable();
    (questions, model.paused.contains(&0))
}

#[test]
fn every_event_in_every_state_within_reach_does_what_the_rules_say() {
    let first = |new: New| vec![Op::Enqueue(new)];
    let plain = || New { unique: Some(0), ..New::plain() };
    let mut line: VecDeque<Vec<Op>> = [
        first(plain()),
        first(New { delay_ms: Some(30), max_attempts: 1, ..plain() }),
        first(New { timeout_ms: Some(100), lease_ms: 1_000, max_crashes: 1, ..plain() }),
        first(New { retention_ms: 0, max_attempts: 1, max_crashes: 1, ..plain() }),
    ]
    .into();
    let depth = std::env::var("MLP_WALK_DEPTH").ok().map_or(DEPTH, |depth| depth.parse().unwrap());
    let (mut world, mut reopens) = (World::new(), 0);
    let (mut seen, mut edges, mut visited) = (HashSet::new(), 0_usize, BTreeSet::new());
    let (mut situations, mut by_depth) = (HashSet::new(), BTreeMap::<usize, [usize; 3]>::new());
    while let Some(path) = line.pop_front() {
        for (number, op) in alphabet().into_iter().enumerate() {
            // Each reopening leaves its mark on a disk, and makes the next one slower.
            if reopens > 20 {
                (world, reopens) = (World::new(), 0);
            }
            world.clear();
            reopens += path.iter().chain([&op]).filter(|step| matches!(step, Op::Crash | Op::Close)).count();
            for step in &path {
                world.step(step).unwrap_or_else(|fault| panic!("{path:?}: {fault}"));
            }
            let is_new = situations.insert((situation(&world.model), number));
            world.checked_step(&op).unwrap_or_else(|fault| panic!("{path:?}, then {fault}"));
            edges += 1;
            visited.extend(world.model.rows.values().map(|row| row.state));
            let at_depth = by_depth.entry(path.len() + 1).or_default();
            at_depth[0] += 1;
            at_depth[2] += usize::from(is_new);
            if seen.insert(canonical(&world.model)) {
                at_depth[1] += 1;
                if path.len() + 1 >= depth {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(op);
                line.push_back(longer);
            }
        }
    }
    println!("{edges} edges over {} states; by depth edges, new states, new situations: {by_depth:?}", seen.len());
    assert_eq!(visited.len(), State::ALL.len(), "the walk has been everywhere");
}
