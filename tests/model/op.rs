//! What can be done to a whole store, as values.

use ml_persistence::Durability;
use proptest::prelude::*;

use super::{copies, items, kv, mixed, queue, verbs};

#[derive(Debug, Clone)]
pub enum Op {
    Values(kv::Op, Durability),
    Items(items::Op, Durability),
    Registry(verbs::Op),
    /// Closing and the end of the process are among the queue's own steps.
    Queue(queue::op::Op),
    Mixed(mixed::Mixed),
    Copies(copies::Op),
    Sync,
    Checkpoint,
    Repair,
    /// The power goes; the seed says what becomes of what was not synced.
    CutPower(u64),
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![2 => Just(Durability::PowerLoss), 1 => Just(Durability::Buffered)]
}

/// Everything, in the proportions of a store at work.
pub fn everyday() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (kv::op(), durability()).prop_map(|(op, durability)| Op::Values(op, durability)),
        6 => (items::op(), durability()).prop_map(|(op, durability)| Op::Items(op, durability)),
        10 => verbs::op().prop_map(Op::Registry),
        14 => queue::draw::op().prop_map(Op::Queue),
        5 => mixed::mixed().prop_map(Op::Mixed),
        1 => prop_oneof![Just(Op::Sync), Just(Op::Checkpoint), Just(Op::Repair)],
        1 => any::<u64>().prop_map(Op::CutPower),
        1 => copies::op().prop_map(Op::Copies),
    ]
}

/// Short lives, and much that is not durable when they end.
pub fn troubled() -> impl Strategy<Value = Op> {
    let buffered = Durability::Buffered;
    prop_oneof![
        4 => kv::op().prop_map(move |op| Op::Values(op, buffered)),
        4 => items::op().prop_map(move |op| Op::Items(op, buffered)),
        5 => verbs::op().prop_map(Op::Registry),
        4 => queue::draw::op().prop_map(Op::Queue),
        4 => mixed::mixed().prop_map(move |mixed| Op::Mixed(mixed::Mixed { durability: buffered, ..mixed })),
        1 => prop_oneof![Just(Op::Sync), Just(Op::Checkpoint)],
        4 => any::<u64>().prop_map(Op::CutPower),
    ]
}

/// Models, versions and pointers, over and over.
pub fn registered() -> impl Strategy<Value = Op> {
    prop_oneof![
        14 => verbs::op().prop_map(Op::Registry),
        2 => mixed::mixed().prop_map(Op::Mixed),
        2 => prop_oneof![Just(1u64), Just(60)].prop_map(|ms| Op::Queue(queue::op::Op::Advance { ms })),
        1 => any::<u64>().prop_map(Op::CutPower),
        1 => Just(Op::Queue(queue::op::Op::Close)),
    ]
}

/// Snapshots, replicas, and what is to be carried by them.
pub fn copied() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (kv::op(), durability()).prop_map(|(op, durability)| Op::Values(op, durability)),
        2 => (items::op(), durability()).prop_map(|(op, durability)| Op::Items(op, durability)),
        3 => verbs::op().prop_map(Op::Registry),
        4 => queue::draw::op().prop_map(Op::Queue),
        2 => mixed::mixed().prop_map(Op::Mixed),
        6 => copies::op().prop_map(Op::Copies),
        1 => any::<u64>().prop_map(Op::CutPower),
    ]
}
