//! Long random runs, with crashes, closes and both clocks as steps like any other. A failing run is cut down to its
//! shortest form and printed with its seed.

use proptest::prelude::*;

use super::draw::op;
use super::world::World;

proptest! {
    // PROPTEST_CASES asks for more of them.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_store_and_model_agree(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            if let Err(fault) = world.checked_step(op) {
                prop_assert!(false, "{}", fault);
            }
        }
    }
}
