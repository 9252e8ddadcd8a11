//! Walks the state machine exhaustively: every event in every state that can be reached, against a table of the rules and
//! a list of what must always hold.
//!
//! The walk is bounded, the machine is not: claims, heartbeats and places in time go on for ever. But what an event does
//! depends on a job's [`Shape`] alone, of which there are finitely many; the last steps of the walk meet none that is new,
//! so a longer walk would meet none either.

use std::collections::HashSet;

use super::*;
use crate::error::ErrorKind;
use crate::jobs::backoff::Backoff;

const NOW: u64 = 1_000;
const MAX_ATTEMPTS: u32 = 2;
const MAX_CRASHES: u32 = 2;
const DEPTH: usize = 11;

fn pair(scheduled: bool, timeout_ms: Option<u64>) -> Pair {
    Pair::first(Body {
        id: 7,
        queue: "q".into(),
        kind: "k".into(),
        target: None,
        payload: Json::null(),
        priority: 100,
        max_attempts: MAX_ATTEMPTS,
        max_crashes: MAX_CRASHES,
        lease_ms: 10,
        timeout_ms,
        retention_ms: 1,
        backoff: Backoff::fixed(50),
        unique_key: None,
        sequence: 1,
        enqueued_at: NOW,
        run_at: if scheduled { NOW + 5 } else { NOW },
        scheduled,
        result: None,
    })
}

fn epoch() -> Epoch {
    Epoch { number: 3, id: 4 }
}

fn events() -> Vec<Event> {
    let now = NOW;
    let fail = |reason, retry_in_ms| Event::Fail { now, reason, error: Some("e".into()), retry_in_ms, random: 9 };
    vec![
        Event::Promote { now },
        Event::Promote { now: NOW + 1_000 },
        Event::Claim { now, epoch: epoch(), worker: "w".into(), lease_ms: 10 },
        Event::Heartbeat { now: NOW + 3, lease_ms: None },
        Event::Heartbeat { now, lease_ms: Some(20) },
        Event::Progress { percent: Some(40), checkpoint: None },
        Event::Progress { percent: None, checkpoint: Some(Json::null()) },
        Event::Complete { now, result: Some(serde_json::json!(1).into()) },
        Event::Complete { now, result: None },
        fail(Reason::Failed, None),
        fail(Reason::TimedOut, Some(0)),
        Event::Discard { now, error: None },
        Event::Snooze { now, delay_ms: 7 },
        Event::Release { now },
        Event::Expire { now },
        Event::Crash { now },
        Event::Cancel { now, lease_past: false },
        Event::Cancel { now, lease_past: true },
        Event::Retry { now },
    ]
}

/// The rules once more, as a table: what state an event leads to.
fn expected(pair: &Pair, event: &Event) -> std::result::Result<State, ErrorKind> {
    use ErrorKind::{Conflict, LeaseLost};
    use State::*;
    let head = &pair.head;
    let stop = |other| if head.cancel_requested { Cancelled } else { other };
    let crashed = if head.crash_count + 1 >= MAX_CRASHES { Discarded } else { Available };
    let failed = if head.attempt >= MAX_ATTEMPTS { Discarded } else { Retryable };
    match (head.state, event) {
        (Scheduled | Retryable, Event::Promote { now }) if head.run_at <= *now => Ok(Available),
        (_, Event::Promote { .. }) => Err(Conflict),
        (Available, Event::Claim { .. }) => Ok(Executing),
        (_, Event::Claim { .. }) => Err(Conflict),
        (Available | Scheduled | Retryable | Cancelled, Event::Cancel { .. }) => Ok(Cancelled),
        (Executing, Event::Cancel { lease_past: true, .. }) => Ok(Cancelled),
        (Executing, Event::Cancel { lease_past: false, .. }) => Ok(Executing),
        (Completed | Discarded, Event::Cancel { .. }) => Err(Conflict),
        (Completed | Discarded | Cancelled, Event::Retry { .. }) => Ok(Available),
        (_, Event::Retry { .. }) => Err(Conflict),
        (Executing, Event::Expire { .. } | Event::Crash { .. }) => Ok(stop(crashed)),
        (_, Event::Expire { .. } | Event::Crash { .. }) => Err(Conflict),
        (Executing, Event::Heartbeat { .. } | Event::Progress { .. }) => Ok(Executing),
        (Executing, Event::Complete { .. }) => Ok(Completed),
        (Executing, Event::Fail { .. }) => Ok(stop(failed)),
        (Executing, Event::Discard { .. }) => Ok(stop(Discarded)),
        (Executing, Event::Snooze { .. }) => Ok(stop(Scheduled)),
        (Executing, Event::Release { .. }) => Ok(stop(Available)),
        (_, _) => Err(LeaseLost),
    }
}

/// What holds of every job, and of every step.
fn check_step(old: &Pair, event: &Event, new: &Pair) {
    let (before, after) = (&old.head, &new.head);
    assert_eq!(after.state == State::Executing, after.lease.is_some(), "a lease exactly while executing");
    assert_eq!(after.state.is_terminal(), after.finished_at.is_some(), "a finish time exactly when finished");
    assert!(after.lease.is_none() || after.last.is_none(), "the ended attempt is in the history while one runs");
    assert!(after.attempt <= MAX_ATTEMPTS + MAX_CRASHES && after.crash_count <= MAX_CRASHES);
    assert!(after.claims >= u64::from(after.attempt));
    assert_eq!(after.claims, before.claims + u64::from(matches!(event, Event::Claim { .. })), "one claim, one number");
    assert_eq!(after.revision, before.revision, "revisions are the store's");
    let with_result = Body { result: old.body.result.clone(), ..Body::clone(&new.body) };
    assert_eq!(with_result, *old.body, "only the result of a body ever changes");
    assert!(new.body.result.is_none() || after.state == State::Completed, "a result only when completed");
    let counted = match event {
        Event::Expire { .. } | Event::Crash { .. } => 1,
        Event::Cancel { lease_past, .. } => u32::from(*lease_past && before.state == State::Executing),
        _ => 0,
    };
    let attempt = match event {
        Event::Retry { .. } => 0,
        Event::Claim { .. } => before.attempt + 1,
        Event::Snooze { .. } | Event::Release { .. } if !before.cancel_requested => before.attempt - 1,
        _ => before.attempt,
    };
    assert_eq!(after.attempt, attempt);
    if matches!(event, Event::Retry { .. }) {
        assert_eq!((after.crash_count, after.run_at, after.cancel_requested), (0, NOW, false));
        assert_eq!((after.last.is_none(), new.job().reason), (true, None));
    } else {
        assert_eq!(after.crash_count, before.crash_count + counted);
    }
    let run_at = match (event, after.state) {
        (Event::Fail { retry_in_ms, .. }, State::Retryable) => NOW + retry_in_ms.unwrap_or(50),
        (Event::Snooze { delay_ms, .. }, State::Scheduled) => NOW + delay_ms,
        (Event::Retry { .. }, _) => NOW,
        _ => before.run_at,
    };
    assert_eq!(after.run_at, run_at, "release, crash and expiry keep the place in line");
    if let (Some(timeout_ms), Some(lease)) = (new.body.timeout_ms, &after.lease) {
        assert!(lease.expires_at <= lease.started_at + timeout_ms, "no lease outlives the timeout");
    }
    if before.state == State::Executing && after.state != State::Executing {
        let reason = match event {
            Event::Complete { .. } => Reason::Completed,
            Event::Expire { .. } | Event::Cancel { .. } => Reason::LeaseExpired,
            Event::Crash { .. } => Reason::ProcessCrash,
            _ if before.cancel_requested => Reason::Cancelled,
            Event::Fail { reason, .. } => *reason,
            Event::Discard { .. } => Reason::Failed,
            Event::Snooze { .. } => Reason::Snoozed,
            Event::Release { .. } => Reason::Released,
            other => panic!("{other:?} ended an attempt"),
        };
        let ended = after.last.as_ref().unwrap();
        assert_eq!((ended.reason, ended.attempt, ended.claim), (Some(reason), before.attempt, before.claims));
    }
}

/// All of a job that the rules ask about: state, attempts, crashes, whether it is to stop, whether its time has come for
/// either promotion, whether it has a result, a timeout, and how the last attempt ended.
type Shape = (State, u32, u32, bool, [bool; 2], [bool; 2], Option<Reason>);

fn shape(pair: &Pair) -> Shape {
    let Pair { body, head } = pair;
    let due = [NOW, NOW + 1_000].map(|now| head.run_at <= now);
    let last = head.last.as_ref().and_then(|attempt| attempt.reason);
    let has = [body.result.is_some(), body.timeout_ms.is_some()];
    (head.state, head.attempt, head.crash_count, head.cancel_requested, due, has, last)
}

#[test]
fn every_event_in_every_reachable_state_follows_the_rules() {
    let mut seen = HashSet::new();
    let mut edges = HashSet::new();
    // Shapes that a step was the first to meet, and edges between shapes likewise.
    let (mut shapes, mut steps) = (HashSet::new(), HashSet::new());
    let mut new_at_depth = Vec::new();
    let mut line: Vec<Pair> =
        [(false, None), (true, None), (false, Some(12))].map(|(later, timeout)| pair(later, timeout)).into();
    for _ in 0..DEPTH {
        let mut next_line = Vec::new();
        let before_depth = (shapes.len(), steps.len());
        shapes.extend(line.iter().map(shape));
        for old in line {
            for (number, event) in events().into_iter().enumerate() {
                let before = old.clone();
                let outcome = transition(&old, &event);
                assert_eq!(old, before);
                let wanted = expected(&old, &event);
                match outcome {
                    Err(error) => assert_eq!(Err(error.kind()), wanted, "{:?} on {:?}", event, old.head),
                    Ok(new) => {
                        assert_eq!(Ok(new.head.state), wanted, "{:?} on {:?}", event, old.head);
                        check_step(&old, &event, &new);
                        shapes.insert(shape(&new));
                        steps.insert((shape(&old), number, shape(&new)));
                        edges.insert((old.head.state, std::mem::discriminant(&event), new.head.state));
                        if seen.insert(format!("{new:?}")) {
                            next_line.push(new);
                        }
                    }
                }
            }
        }
        line = next_line;
        new_at_depth.push((shapes.len() - before_depth.0, steps.len() - before_depth.1));
    }
    println!("{} states, {} shapes; new shapes and edges by depth: {new_at_depth:?}", seen.len(), shapes.len());
    assert_eq!(
        new_at_depth.last(),
        Some(&(0, 0)),
        "nothing new at the end, so nothing new behind it: {new_at_depth:?}"
    );
    let states: HashSet<State> = edges.iter().map(|(_, _, to)| *to).collect();
    assert_eq!(states.len(), State::ALL.len(), "the walk has been everywhere");
    // promote 2, claim 1, heartbeat and progress 2, complete 1, fail 3, discard 2, snooze 2, release 2, expire and
    // crash 3 each, cancel 6, retry 3.
    assert_eq!(edges.len(), 30, "{edges:?}");
}

#[test]
fn a_token_is_good_for_its_own_claim_alone() {
    let claim = Event::Claim { now: NOW, epoch: epoch(), worker: "w".into(), lease_ms: 10 };
    let first = transition(&pair(false, None), &claim).unwrap();
    let token = first.token().unwrap();
    assert_eq!(fence(Some(first.clone()), &token).unwrap(), first);
    // Past its time, the token is still good: only a take-back ends it.
    let again = transition(&transition(&first, &Event::Release { now: NOW }).unwrap(), &claim).unwrap();
    assert_eq!(again.head.attempt, first.head.attempt, "the attempt was given back");
    let other_epoch = Token { epoch: Epoch { number: 3, id: 5 }, ..token };
    for (pair, token) in [(Some(again), token), (None, token), (Some(first), other_epoch)] {
        assert_eq!(fence(pair, &token).unwrap_err().kind(), ErrorKind::LeaseLost);
    }
}

#[test]
fn cancelling_twice_and_cancelling_the_cancelled_changes_nothing() {
    let claim = Event::Claim { now: NOW, epoch: epoch(), worker: "w".into(), lease_ms: 10 };
    let cancel = Event::Cancel { now: NOW, lease_past: false };
    let executing = transition(&transition(&pair(false, None), &claim).unwrap(), &cancel).unwrap();
    assert_eq!(transition(&executing, &cancel).unwrap(), executing);
    let cancelled = transition(&pair(true, None), &cancel).unwrap();
    assert_eq!(transition(&cancelled, &Event::Cancel { now: NOW + 9, lease_past: true }).unwrap(), cancelled);
}
