//! One transaction over several rooms: all of it happens, or nothing.

use ml_persistence::{Durability, Error, ErrorKind, JobId, MlPersistence, Token, Transaction};
use proptest::prelude::*;

use super::items::{self, Item};
use super::kv::{self, Write};
use super::queue::draw;
use super::queue::op::New as NewJob;
use super::registry::New as NewVersion;
use super::state::Moment;
use super::verbs;

#[derive(Debug, Clone)]
pub struct Mixed {
    pub parts: Vec<Part>,
    /// Whether it ends by a refusal of the host's own.
    pub fails: bool,
    /// The claim that it completes, by its place among all tokens from the newest back.
    pub completes: Option<usize>,
    pub durability: Durability,
}

#[derive(Debug, Clone)]
pub enum Part {
    Value(Write),
    Item(Item),
    Register(usize, NewVersion),
    Enqueue(NewJob),
}

pub fn mixed() -> impl Strategy<Value = Mixed> {
    let part = prop_oneof![
        2 => kv::write().prop_map(Part::Value),
        2 => items::item().prop_map(Part::Item),
        2 => (0..verbs::MODELS.len(), verbs::new()).prop_map(|(model, new)| Part::Register(model, new)),
        2 => draw::new().prop_map(Part::Enqueue),
    ];
    let buffered = prop_oneof![2 => Just(Durability::PowerLoss), 1 => Just(Durability::Buffered)];
    (prop::collection::vec(part, 1..5), prop::bool::weighted(0.15), prop::option::of(0..4usize), buffered)
        .prop_map(|(parts, fails, completes, durability)| Mixed { parts, fails, completes, durability })
}

impl Mixed {
    /// Runs it on the store; answers the jobs that it enqueued.
    pub fn run(&self, db: &MlPersistence, token: Option<&Token>) -> ml_persistence::Result<Vec<JobId>> {
        let body = |txn: &mut Transaction<'_>| {
            let mut enqueued = Vec::new();
            for part in &self.parts {
                match part {
                    Part::Value(write) => write.run(txn)?,
                    Part::Item(item) => items::run_save(txn, item)?,
                    Part::Register(model, new) => verbs::run_register(txn, *model, new)?,
                    Part::Enqueue(new) => enqueued.push(txn.jobs().enqueue(new.job())?.job),
                }
            }
            if self.fails { Err(Error::new(ErrorKind::Unsupported, "the host's own")) } else { Ok(enqueued) }
        };
        match token {
            Some(token) => db.jobs().with_durability(self.durability).complete_with(token, body),
            None => db.transact_with(self.durability, body),
        }
    }

    /// What it comes to, with the identifiers that the store gave new jobs; those that are new are answered.
    pub fn apply(&self, moment: &mut Moment, token: Option<usize>, ids: &[JobId]) -> Result<Vec<JobId>, ErrorKind> {
        let now = moment.queue.wall;
        if let Some(token) = token {
            moment.queue.fence(token)?;
        }
        let mut given = ids.iter().copied();
        let mut entered = Vec::new();
        for part in &self.parts {
            match part {
                Part::Value(write) => write.apply(&mut moment.state.values),
                Part::Item(item) => items::save(&mut moment.state.items, item)?,
                Part::Register(model, new) => {
                    moment.state.registry.register(now, verbs::MODELS[*model], new)?;
                }
                Part::Enqueue(new) => {
                    // Where the store answered none, its refusal comes further on, and any name does until then.
                    let unnamed = JobId(u128::MAX - entered.len() as u128);
                    let given = given.next().or(new.own_id()).unwrap_or(unnamed);
                    match moment.queue.existing(new)? {
                        Some(id) => assert!(ids.is_empty() || id == given, "{new:?} exists as {id}, answered {given}"),
                        None => {
                            moment.queue.enter(new, given);
                            entered.push(given);
                        }
                    }
                }
            }
        }
        if self.fails {
            return Err(ErrorKind::Unsupported);
        }
        if let Some(token) = token {
            moment.queue.complete(token)?;
        }
        Ok(entered)
    }
}
