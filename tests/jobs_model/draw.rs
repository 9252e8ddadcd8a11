//! Steps of the queue, drawn by chance.

use proptest::prelude::*;

use super::op::{New, Op};

/// A job to enqueue.
pub fn new() -> impl Strategy<Value = New> {
    let limits = (1..=3u32, 1..=3u32, prop_oneof![Just(None), Just(Some(60)), Just(Some(250))]);
    let line =
        (0..2usize, prop_oneof![3 => Just(100u8), 1 => 0..=1u8], prop_oneof![2 => Just(None), 1 => Just(Some(40))]);
    let names = (
        prop_oneof![3 => Just(None), 1 => (0..3u8).prop_map(Some)],
        prop_oneof![1 => Just(None), 1 => (0..3u8).prop_map(Some)],
    );
    let times = (
        prop_oneof![Just(50u64), Just(100), Just(400)],
        prop_oneof![Just(0u64), Just(150), Just(100_000)],
        prop_oneof![Just(0u64), Just(30)],
    );
    (limits, line, names, times).prop_map(|(limits, (queue, priority, delay_ms), (id, unique), times)| New {
        queue,
        id,
        priority,
        unique,
        delay_ms,
        max_attempts: limits.0,
        max_crashes: limits.1,
        timeout_ms: limits.2,
        lease_ms: times.0,
        retention_ms: times.1,
        backoff_ms: times.2,
    })
}

/// A step.
pub fn op() -> impl Strategy<Value = Op> {
    let token = || 0..6usize;
    let job = || 0..6usize;
    let queues = prop_oneof![Just(vec![0]), Just(vec![0, 1]), Just(vec![1, 0]), Just(vec![1, 0, 1])];
    prop_oneof![
        8 => new().prop_map(Op::Enqueue),
        8 => (queues, 1..4usize).prop_map(|(queues, limit)| Op::Claim { queues, limit }),
        1 => (0..2usize).prop_map(|queue| Op::ClaimAndDrop { queue }),
        2 => (token(), prop_oneof![Just(None), Just(Some(300))]).prop_map(|(token, lease_ms)| Op::Heartbeat { token, lease_ms }),
        1 => token().prop_map(|token| Op::Progress { token }),
        2 => token().prop_map(|token| Op::Complete { token }),
        2 => (token(), 0..2usize).prop_map(|(token, queue)| Op::CompleteAndClaim { token, queue }),
        3 => (token(), prop_oneof![Just(None), Just(Some(0)), Just(Some(20))]).prop_map(|(token, retry_in_ms)| Op::Fail { token, retry_in_ms }),
        1 => token().prop_map(|token| Op::Discard { token }),
        1 => (token(), prop_oneof![Just(1u64), Just(60)]).prop_map(|(token, delay_ms)| Op::Snooze { token, delay_ms }),
        1 => token().prop_map(|token| Op::Release { token }),
        3 => job().prop_map(|job| Op::Cancel { job }),
        3 => job().prop_map(|job| Op::Retry { job }),
        5 => prop_oneof![Just(1u64), Just(30), Just(60), Just(200)].prop_map(|ms| Op::Advance { ms }),
        1 => prop_oneof![Just(0u64), Just(999_990), Just(1_000_500), Just(2_000_000)].prop_map(|ms| Op::SetWall { ms }),
        1 => Just(Op::Maintain),
        1 => prop_oneof![Just(None), Just(Some(0)), Just(Some(50))].prop_map(|older_than_ms| Op::Prune { older_than_ms }),
        1 => (0..2usize).prop_map(|queue| Op::Pause { queue }),
        2 => (0..2usize).prop_map(|queue| Op::Resume { queue }),
        2 => Just(Op::Crash),
        1 => Just(Op::Close),
    ]
}
