//! Checkers are trusted once they have caught something: each is shown a planted fault.

use std::collections::BTreeMap;

use ml_persistence::jobs::{Counts, JobFilter};
use ml_persistence::{Job, JobId};

use super::op::{New, Op};
use super::rig::{all_by, check};
use super::world::World;

fn world() -> World {
    let mut world = World::new();
    for unique in 0..2 {
        world.step(&Op::Enqueue(New { unique: Some(unique), ..New::plain() })).unwrap();
    }
    world.step(&Op::Claim { queues: vec![0], limit: 1 }).unwrap();
    world
}

#[test]
fn a_doctored_list_of_jobs_is_noticed() {
    let world = world();
    let jobs = all_by(world.rig.jobs(), &JobFilter::new(), 100);
    let counts = world.rig.jobs().counts(None).unwrap();
    check(&jobs, &counts).unwrap();
    let doctored = |doctor: fn(&mut Vec<Job>, &mut BTreeMap<String, Counts>)| {
        let (mut jobs, mut counts) = (jobs.clone(), counts.clone());
        doctor(&mut jobs, &mut counts);
        check(&jobs, &counts).unwrap_err()
    };
    assert!(doctored(|jobs, _| jobs[0].lease_expires_at = None).starts_with("a lease exactly"));
    assert!(doctored(|jobs, _| jobs[1].lease_expires_at = Some(1)).starts_with("a lease exactly"));
    assert!(doctored(|jobs, _| jobs[0].finished_at = Some(1)).starts_with("a finish time"));
    assert!(doctored(|jobs, _| jobs[0].attempt = 5).starts_with("attempts and crashes"));
    assert!(doctored(|jobs, _| jobs[0].crash_count = 3).starts_with("attempts and crashes"));
    assert!(doctored(|jobs, _| jobs[1].unique_key = jobs[0].unique_key.clone()).starts_with("one holder"));
    assert!(doctored(|_, counts| counts.get_mut("q").unwrap().available += 1).contains("by the counter"));
    assert!(doctored(|jobs, _| drop(jobs.pop())).contains("by the counter"));
    assert!(doctored(|_, counts| counts.clear()).starts_with("counted queues"));
}

#[test]
fn a_model_with_another_rule_is_noticed_as_soon_as_the_rule_matters() {
    let id = |world: &World| *world.model.rows.keys().next().unwrap();
    let other_rules: [fn(&mut World, JobId); 4] = [
        |world, id| world.model.rows.get_mut(&id).unwrap().run_at += 1,
        |world, id| world.model.rows.get_mut(&id).unwrap().max_attempts = 1,
        |world, id| world.model.rows.get_mut(&id).unwrap().max_crashes = 1,
        |world, id| world.model.rows.get_mut(&id).unwrap().backoff_ms += 1,
    ];
    let steps = [
        vec![Op::Heartbeat { token: 0, lease_ms: None }],
        vec![Op::Fail { token: 0, retry_in_ms: None }],
        vec![Op::Crash],
        vec![Op::Fail { token: 0, retry_in_ms: None }],
    ];
    for (other_rule, steps) in other_rules.iter().zip(&steps) {
        let mut world = world();
        // The one that executes: its row is the one that is held.
        let held = world.model.rows.iter().find(|(_, row)| row.held.is_some()).map_or(id(&world), |(id, _)| *id);
        other_rule(&mut world, held);
        let outcome = steps.iter().try_for_each(|step| world.checked_step(step));
        assert!(outcome.is_err(), "{steps:?}");
    }
}
