//! The active version, aliases, and the history of their moves.

use super::*;

type Step<'a> = (u64, Option<&'a str>, Option<u32>, Option<u32>);

fn steps(moves: &[PointerMove]) -> Vec<Step<'_>> {
    moves.iter().map(|moved| (moved.at, moved.alias.as_deref(), moved.from, moved.to)).collect()
}

#[test]
fn archiving_takes_the_pointer_and_the_aliases_away_and_unarchiving_gives_none_back() {
    let room = Room::new();
    room.register("m");
    room.register("m");
    room.registry.set_alias("m", "prod", 2, &any()).unwrap();
    room.registry.set_alias("m", "canary", 2, &any()).unwrap();
    room.registry.set_alias("m", "old", 1, &any()).unwrap();
    assert_eq!(room.version("m", "prod").aliases, ["canary", "prod"]);
    let archived = room.registry.archive("m", 2, &any().by("ann")).unwrap();
    assert!(archived.archived && archived.aliases.is_empty());
    let model = room.model("m");
    assert_eq!(model.active_version, None);
    assert_eq!(model.aliases.keys().collect::<Vec<_>>(), ["old"]);
    assert_eq!(room.registry.get("m", "prod").unwrap(), None);
    assert_eq!(room.version("m", VersionRef::latest()).version, 1);
    assert_eq!(kind(room.registry.activate("m", 2, &any())), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.set_alias("m", "prod", 2, &any())), ErrorKind::Conflict);
    let again = room.registry.archive("m", 2, &any()).unwrap();
    assert_eq!((again.revision, room.model("m").revision), (archived.revision + 1, model.revision));
    room.registry.unarchive("m", 2, &any()).unwrap();
    assert_eq!((room.model("m").active_version, room.model("m").archived_versions), (None, 0));
    assert_eq!(room.version("m", VersionRef::latest()).version, 2);
    assert_eq!(room.registry.activate("m", 2, &any()).unwrap().active_version, Some(2));
    room.assert_clean();
}

#[test]
fn deleting_a_version_deletes_the_pointers_to_it() {
    let room = Room::new();
    room.register("m");
    room.registry.set_alias("m", "prod", 1, &any()).unwrap();
    room.registry.delete_version("m", 1, &any()).unwrap();
    let model = room.model("m");
    assert_eq!((model.active_version, model.aliases.len()), (None, 0));
    assert_eq!(kind(room.registry.activate("m", 1, &any())), ErrorKind::NotFound);
    assert_eq!(room.registry.get("m", VersionRef::latest()).unwrap(), None);
    room.assert_clean();
}

#[test]
fn pointers_expect_the_models_revision_and_versions_their_own() {
    let room = Room::new();
    room.register("m");
    room.register("m");
    let stale = any().expected_revision(1);
    assert_eq!(kind(room.registry.activate("m", 1, &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.deactivate("m", &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.set_alias("m", "a", 1, &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.delete_alias("m", "a", &stale)), ErrorKind::Conflict);
    let wrong = any().expected_revision(2);
    assert_eq!(kind(room.registry.archive("m", 1, &wrong)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.unarchive("m", 1, &wrong)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.delete_version("m", 1, &wrong)), ErrorKind::Conflict);
    assert_eq!(room.registry.activate("m", 1, &any().expected_revision(2)).unwrap().revision, 3);
    assert_eq!(room.registry.archive("m", 1, &any().expected_revision(1)).unwrap().revision, 2);
    room.assert_clean();
}

#[test]
fn an_acknowledged_change_raises_the_revision_even_when_nothing_changes() {
    let room = Room::new();
    room.register("m");
    let mut revision = 1;
    let mut grown = |model: Model| {
        revision += 1;
        assert_eq!(model.revision, revision);
    };
    grown(room.registry.activate("m", 1, &any()).unwrap());
    grown(room.registry.set_alias("m", "a", 1, &any()).unwrap());
    grown(room.registry.set_alias("m", "a", 1, &any()).unwrap());
    grown(room.registry.deactivate("m", &any()).unwrap());
    grown(room.registry.deactivate("m", &any()).unwrap());
    grown(room.registry.delete_alias("m", "a", &any()).unwrap());
    assert_eq!(room.registry.delete_alias("m", "a", &any()).unwrap().revision, revision);
    assert_eq!(room.registry.alias_history("m", &MoveFilter::new()).unwrap().len(), 4);
    room.assert_clean();
}

#[test]
fn a_model_takes_256_aliases_and_no_more() {
    let room = Room::new();
    room.register("m");
    room.register("m");
    for n in 0..ALIASES_MAX {
        room.registry.set_alias("m", &format!("a-{n}"), 1, &any()).unwrap();
    }
    assert_eq!(kind(room.registry.set_alias("m", "one-more", 1, &any())), ErrorKind::Invalid);
    room.registry.set_alias("m", "a-7", 2, &any()).unwrap();
    room.registry.delete_alias("m", "a-8", &any()).unwrap();
    room.registry.set_alias("m", "one-more", 1, &any()).unwrap();
    assert_eq!(kind(room.registry.set_alias("m", "latest", 1, &any())), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.set_alias("m", "v1", 1, &any())), ErrorKind::Invalid);
    room.assert_clean();
}

#[test]
fn the_history_tells_where_a_pointer_pointed_at_any_time() {
    let room = Room::new();
    room.register("m");
    room.clock.advance(10);
    room.registry.set_alias("m", "prod", 1, &any().by("ann")).unwrap();
    room.clock.advance(10);
    room.register("m");
    room.registry.set_alias("m", "prod", 2, &any().by("bob")).unwrap();
    room.clock.advance(10);
    room.registry.archive("m", 2, &any()).unwrap();
    let ask = |filter| room.registry.alias_history("m", &filter).unwrap();
    let prod = || MoveFilter::new().pointer(Pointer::Alias("prod".to_owned()));
    assert_eq!(
        steps(&ask(prod())),
        [
            (1_030, Some("prod"), Some(2), None),
            (1_020, Some("prod"), Some(1), Some(2)),
            (1_010, Some("prod"), None, Some(1))
        ]
    );
    assert_eq!(
        ask(prod()).iter().map(|moved| moved.by.as_deref()).collect::<Vec<_>>(),
        [None, Some("bob"), Some("ann")]
    );
    for (at, to) in [(1_010, Some(1)), (1_019, Some(1)), (1_020, Some(2)), (1_029, Some(2)), (9_999, None)] {
        assert_eq!(ask(prod().at(at)).iter().map(|moved| moved.to).collect::<Vec<_>>(), [to], "at {at}");
    }
    assert_eq!(ask(prod().at(1_009)), []);
    let active = MoveFilter::new().pointer(Pointer::Active);
    assert_eq!(
        steps(&ask(active)),
        [(1_030, None, Some(2), None), (1_020, None, Some(1), Some(2)), (1_000, None, None, Some(1))]
    );
    assert_eq!(
        steps(&ask(MoveFilter::new().at(1_015))),
        [(1_010, Some("prod"), None, Some(1)), (1_000, None, None, Some(1))]
    );
    assert_eq!(
        serde_json::to_string(&ask(prod().at(1_020))).unwrap(),
        r#"[{"at":1020,"by":"bob","alias":"prod","from":1,"to":2}]"#
    );
    assert_eq!(kind(room.registry.alias_history("none", &MoveFilter::new())), ErrorKind::NotFound);
    room.assert_clean();
}

#[test]
fn the_history_keeps_the_newest_moves_only() {
    let room = Room::new();
    for _ in 0..MOVES_KEPT + 5 {
        room.register("m");
    }
    let moves = room.registry.alias_history("m", &MoveFilter::new()).unwrap();
    assert_eq!(moves.len() as u64, MOVES_KEPT);
    assert_eq!((moves[0].to, moves.last().unwrap().to), (Some(MOVES_KEPT as u32 + 5), Some(6)));
    assert_eq!(room.engine.entries(crate::engine::Tree::History).len() as u64, MOVES_KEPT);
}

#[test]
fn the_history_of_what_cannot_be_an_alias_is_refused() {
    let room = Room::new();
    room.register("m");
    for alias in ["", "a b", &"x".repeat(256)] {
        let filter = MoveFilter::new().pointer(Pointer::Alias(alias.to_owned()));
        assert_eq!(kind(room.registry.alias_history("m", &filter)), ErrorKind::Invalid, "{alias:?}");
    }
}
