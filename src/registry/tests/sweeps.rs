//! Two sweeps of one name at a time: what one of them has seen may be over when it comes to act on it.

use super::*;

/// Deletes `m` of two versions; while its sweep is between two steps, `meanwhile` happens.
fn delete_with(room: &Room, meanwhile: impl Fn(&Registry)) {
    room.register("m");
    room.register("m");
    let mut once = Some(meanwhile);
    let versions = room.registry.delete_model_with("m", &any(), |_| {
        let Some(meanwhile) = once.take() else { return };
        assert!(room.registry.sweep_leftovers(1_000).unwrap().done, "somebody else comes to the end of it");
        meanwhile(&room.registry);
    });
    assert_eq!(versions.unwrap(), 2);
}

#[test]
fn a_sweep_that_was_overtaken_takes_no_moves_from_the_names_next_life() {
    let room = Room::new();
    delete_with(&room, |registry| {
        registry.register_version("m", NewVersion::new()).unwrap();
        registry.set_alias("m", "prod", 1, &any()).unwrap();
    });
    let moves = room.registry.alias_history("m", &MoveFilter::new()).unwrap();
    assert_eq!(moves.len(), 2);
    room.assert_clean();
}

#[test]
fn a_sweep_that_was_overtaken_does_not_forget_what_the_names_next_life_left_behind() {
    let room = Room::new();
    delete_with(&room, |registry| {
        for tag in ["one", "two"] {
            registry.register_version("m", NewVersion::new().tag("of", tag)).unwrap();
        }
        registry.transact(|registry| registry.delete_model("m", &any()).map(drop)).unwrap();
    });
    room.assert_clean();
    assert_eq!(room.register("m").version, 1);
    assert_eq!(room.registry.get("m", 2).unwrap(), None, "of the life before");
    room.assert_clean();
    room.registry.sweep_leftovers(1_000).unwrap();
    room.assert_clean();
    assert_eq!(room.engine.entries(crate::engine::Tree::ModelVersions).len(), 1);
}

#[test]
fn a_sweep_that_was_overtaken_takes_no_copies_from_a_rename_that_is_under_way() {
    let room = Room::new();
    room.register("from");
    room.registry.set_alias("from", "prod", 1, &any()).unwrap();
    delete_with(&room, |registry| {
        registry.rename_model("from", "m", &any()).unwrap();
    });
    assert_eq!(room.registry.alias_history("m", &MoveFilter::new()).unwrap().len(), 2);
    room.assert_clean();
}
