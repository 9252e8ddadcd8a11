//! Long random runs of whole stores.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::op::{Op, copied, everyday, registered, troubled};
use super::world::World;

/// Cases of all runs together, unless PROPTEST_CASES asks for others (of each run).
const CASES: u32 = 510;

/// Prints the seed that replays the run: `PROPTEST_RNG_SEED=… cargo test --test model name-of-the-test`.
fn config(percent: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let seed = match default.rng_seed {
        RngSeed::Random => ml_persistence::Ids::random().unwrap().next_u64(),
        RngSeed::Fixed(seed) => seed,
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if asked { default.cases } else { CASES * percent / 100 },
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        // Milliseconds: a case that can't be cut down further in this time is still a case.
        max_shrink_time: 20_000,
        ..default
    }
}

fn agrees(ops: &[Op]) -> std::result::Result<(), TestCaseError> {
    World::new().run(ops).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config(30))]

    #[test]
    fn a_store_at_work_is_what_its_model_says(ops in prop::collection::vec(everyday(), 1..40)) {
        agrees(&ops)?;
    }
}

proptest! {
    #![proptest_config(config(30))]

    #[test]
    fn a_power_cut_takes_nothing_that_was_durable_and_leaves_a_state_that_there_was(
        ops in prop::collection::vec(troubled(), 1..30)
    ) {
        agrees(&ops)?;
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn copies_and_replicas_are_what_their_source_was(ops in prop::collection::vec(copied(), 1..30)) {
        agrees(&ops)?;
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn every_pointer_number_and_count_follows_its_versions(ops in prop::collection::vec(registered(), 1..40)) {
        agrees(&ops)?;
    }
}
