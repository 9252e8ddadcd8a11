//! Use and eviction.

use super::*;

fn order(room: &Room, limit: usize) -> Vec<(String, u32)> {
    let found = room.registry.least_recently_used(limit).unwrap();
    found.into_iter().map(|version| (version.model, version.version)).collect()
}

#[test]
fn a_touch_moves_the_last_use_and_nothing_else() {
    let room = Room::new();
    room.register("m");
    let (model, version) = (room.model("m"), room.version("m", 1));
    assert_eq!(version.last_used_at, None);
    room.clock.advance(10);
    room.registry.touch("m", 1).unwrap();
    assert_eq!(room.version("m", 1), Version { last_used_at: Some(1_010), ..version.clone() });
    assert_eq!(room.model("m"), model);
    room.clock.set_wall(5);
    room.registry.touch("m", 1).unwrap();
    assert_eq!(room.version("m", 1).last_used_at, Some(1_010), "time does not go back");
    assert_eq!(kind(room.registry.touch("m", 2)), ErrorKind::NotFound);
    assert_eq!(kind(room.registry.touch("none", 1)), ErrorKind::NotFound);
    assert_eq!(kind(room.registry.touch_all(&[("m", 1), ("m", 9)])), ErrorKind::NotFound);
    room.assert_clean();
}

#[test]
fn the_least_recently_used_come_first_and_never_used_ones_count_from_their_registration() {
    let room = Room::new();
    for name in ["a", "b", "a@v1"] {
        for _ in 0..3 {
            room.register(name);
            room.clock.advance(1);
        }
    }
    room.registry.touch_all(&[("a", 1), ("b", 2)]).unwrap();
    room.clock.advance(1);
    room.registry.touch("a", 3).unwrap();
    let expected = [("a", 2), ("b", 1), ("b", 3), ("a@v1", 1), ("a@v1", 2), ("a@v1", 3), ("a", 1), ("b", 2), ("a", 3)];
    let expected = expected.map(|(name, number)| (name.to_owned(), number));
    for limit in 1..=10 {
        assert_eq!(order(&room, limit), expected[..limit.min(9)]);
    }
    // What is left of a model that is gone is not shown, and takes nobody's place.
    room.store.transact(Durability::PowerLoss, |txn| txn.registry().delete_model("b", &any())).unwrap();
    assert_eq!(order(&room, 3), [expected[0].clone(), expected[3].clone(), expected[4].clone()]);
    for limit in [0, 1001] {
        assert_eq!(kind(room.registry.least_recently_used(limit)), ErrorKind::Invalid);
    }
    room.assert_clean();
}

#[test]
fn only_a_version_that_was_not_used_since_is_evicted() {
    let room = Room::new();
    for _ in 0..2 {
        room.register("m");
    }
    room.registry.set_alias("m", "prod", 2, &any()).unwrap();
    room.clock.advance(10);
    let evict = |number, since| room.registry.evict_if_idle_since("m", number, since);
    room.registry.touch("m", 1).unwrap();
    assert!(!evict(1, 1_009).unwrap());
    assert!(!evict(2, 999).unwrap());
    assert!(evict(2, 1_000).unwrap());
    assert_eq!((room.model("m").active_version, room.model("m").aliases.len()), (None, 0));
    assert!(evict(1, 1_010).unwrap());
    assert_eq!(kind(evict(1, 2_000)), ErrorKind::NotFound);
    assert_eq!(room.register("m").version, 3);
    room.assert_clean();
}

#[test]
fn a_touch_that_races_with_an_eviction_keeps_the_version_or_finds_it_gone() {
    let room = Room::new();
    for round in 0..20 {
        let number = room.register("m").version;
        let since = room.clock.advance(1);
        room.clock.advance(1);
        let (touched, evicted) = std::thread::scope(|scope| {
            let touch = scope.spawn(|| room.registry.touch("m", number).is_ok());
            let evict = scope.spawn(|| room.registry.evict_if_idle_since("m", number, since).unwrap());
            (touch.join().unwrap(), evict.join().unwrap())
        });
        assert!(touched != evicted, "round {round}");
        assert_eq!(room.registry.get("m", number).unwrap().is_some(), touched);
    }
    room.assert_clean();
}

#[test]
fn a_list_of_unused_versions_ends_where_it_gets_heavy() {
    let room = Room::new();
    let most = crate::record::PAGE_BYTES / 1_000_000 + 1;
    for _ in 0..most + 2 {
        let heavy = NewVersion::new().tag("text", "x".repeat(1_000_000));
        room.registry.register_version("m", heavy).unwrap();
    }
    let numbers = |limit| -> Vec<u32> {
        room.registry.least_recently_used(limit).unwrap().iter().map(|version| version.version).collect()
    };
    assert_eq!(numbers(2), [1, 2]);
    assert_eq!(numbers(1000), (1..=most as u32).collect::<Vec<_>>());
}
