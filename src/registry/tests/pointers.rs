//! The active version, aliases, and the history of their moves.

use super::*;
use crate::keys;

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

fn alias(name: &str) -> Pointer {
    Pointer::Alias(name.to_owned())
}

/// The history of a model once kept the newest moves of all its pointers together: registering a thousand versions,
/// each of which becomes the active one, made it forget where `prod` was set, though nobody had touched `prod`.
#[test]
fn no_number_of_registrations_makes_it_forgotten_where_an_alias_pointed_on_some_day() {
    let room = Room::new();
    room.register("m");
    room.clock.advance(10);
    room.registry.set_alias("m", "prod", 1, &any().by("ann")).unwrap();
    room.clock.advance(10);
    for _ in 0..MOVES_KEPT + 5 {
        room.register("m");
    }
    let ask = |filter: MoveFilter| room.registry.alias_history("m", &filter);
    for at in [1_010, 1_015, 9_999] {
        let moves = ask(MoveFilter::new().pointer(alias("prod")).at(at)).unwrap();
        assert_eq!(steps(&moves), [(1_010, Some("prod"), None, Some(1))], "at {at}");
    }
    assert_eq!(ask(MoveFilter::new().pointer(alias("prod")).at(1_009)).unwrap(), [], "it was not set yet");
    assert_eq!(ask(MoveFilter::new().pointer(alias("other")).at(1_015)).unwrap(), [], "it never was");
    // The first moves of the active pointer are given up, and nobody is told that there was none.
    for filter in [MoveFilter::new().pointer(Pointer::Active), MoveFilter::new()] {
        assert_eq!(kind(ask(filter.clone().at(1_015))), ErrorKind::NotFound);
        assert_eq!(ask(filter.at(1_020)).unwrap()[0].to, Some(MOVES_KEPT as u32 + 6));
    }
    room.assert_clean();
}

/// What a history that forgets nothing would say: every move, oldest first.
#[derive(Default)]
struct Everything(Vec<PointerMove>);

impl Everything {
    fn of(&self, pointer: &Pointer) -> impl DoubleEndedIterator<Item = &PointerMove> {
        self.0.iter().filter(move |moved| moved.pointer() == *pointer)
    }

    fn at(&self, pointer: &Pointer, at: u64) -> Option<&PointerMove> {
        self.of(pointer).rfind(|moved| moved.at <= at)
    }
}

#[test]
fn a_history_under_churn_is_bounded_and_says_what_was_or_that_it_is_not_kept_any_more() {
    let room = Room::new();
    for _ in 0..3 {
        room.register("m");
    }
    let (mut all, mut dice) = (Everything::default(), 20_261_121_u64);
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    room.registry.alias_history("m", &MoveFilter::new()).unwrap().into_iter().rev().for_each(|moved| all.0.push(moved));
    let mut name = "m".to_owned();
    let mut days = 0;
    while days < 20 {
        days += 1;
        // `prod` moves now and then, `canary` with nearly every write, and names of one day come and go.
        let at = room.clock.advance(1_000);
        room.store
            .transact(Durability::PowerLoss, |txn| {
                let mut registry = txn.registry();
                registry.set_alias(&name, "prod", days as u32 % 3 + 1, &any())?;
                for n in 0..56_u32 {
                    registry.set_alias(&name, "canary", n % 2 + 1, &any())?;
                    if n < 4 {
                        registry.activate(&name, n % 3 + 1, &any())?;
                    }
                    if n < 28 {
                        registry.set_alias(&name, &format!("day-{days}-{n}"), 1, &any())?;
                    }
                }
                (0..28).try_for_each(|n| registry.delete_alias(&name, &format!("day-{days}-{n}"), &any()).map(drop))
            })
            .unwrap();
        let newest = room.registry.alias_history(&name, &MoveFilter::new()).unwrap();
        let of_today: Vec<PointerMove> = newest.into_iter().take_while(|moved| moved.at == at).collect();
        all.0.extend(of_today.into_iter().rev());
        if days % 13 == 0 {
            let new_name = format!("m{days}");
            name = room.registry.rename_model(&name, &new_name, &any()).unwrap().name;
        }
    }
    let first_day = all.0.last().unwrap().at - 19_000;
    let standing: Vec<Pointer> = vec![Pointer::Active, alias("prod"), alias("canary")];
    let gone: Vec<Pointer> = (1..=days).step_by(6).map(|day| alias(&format!("day-{day}-{}", roll(28)))).collect();
    let (mut told, mut not_kept) = (0, 0);
    for pointer in standing.iter().cloned().chain(gone) {
        let kept = room.registry.alias_history(&name, &MoveFilter::new().pointer(pointer.clone())).unwrap();
        assert!(kept.iter().eq(all.of(&pointer).rev().take(kept.len())), "{pointer:?}: the newest, in order");
        if standing.contains(&pointer) {
            assert_eq!(kept.len(), all.of(&pointer).count().min(MOVES_KEPT as usize), "{pointer:?}");
        }
        for at in (0..22).step_by(5).map(|day| first_day - 1_000 + day * 1_000 + roll(1_000)) {
            let asked = room.registry.alias_history(&name, &MoveFilter::new().pointer(pointer.clone()).at(at));
            match asked {
                Ok(moves) => {
                    told += 1;
                    // Of an alias that is forgotten it is still known that it points nowhere since it was deleted.
                    let truth = all.at(&pointer, at).filter(|moved| moved.to.is_some() || !kept.is_empty());
                    assert_eq!(moves.first(), truth, "{pointer:?} at {at}");
                }
                Err(error) => {
                    not_kept += 1;
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    assert!(error.to_string().contains("not kept any more"), "{error}");
                    assert_ne!(pointer, alias("prod"), "at {at}");
                }
            }
        }
    }
    assert!(told > 15 && not_kept > 0, "{told} told, {not_kept} not kept");
    let history = room.engine.entries(crate::engine::Tree::History).len() as u64;
    assert!(history <= 3 * MOVES_KEPT + MOVES_KEPT + 1, "{history} entries");
    room.assert_clean();
    room.registry.delete_model(&name, &any()).unwrap();
    assert_eq!(room.engine.entries(crate::engine::Tree::History), []);
}

/// A life whose aliases, all of them full, were deleted by archiving one version: a surplus that only later moves give up.
fn with_a_surplus(room: &Room, aliases: u64) -> super::super::leftovers::Life {
    let life = super::super::leftovers::Life { model: "m".to_owned(), incarnation: 0 };
    room.register("m");
    let names: Vec<String> = (0..aliases).map(|n| format!("old-{n}")).collect();
    for name in &names {
        room.registry.set_alias("m", name, 1, &any()).unwrap();
    }
    room.store
        .transact(Durability::PowerLoss, |txn| {
            let mut tracks = tracks::of(txn, &life)?;
            for name in &names {
                let track = tracks.of.get_mut(name).unwrap();
                let moved = tracks::get_move(txn, &life, name, track.first)?;
                let full = track.first..track.first + MOVES_KEPT;
                full.clone().try_for_each(|number| tracks::put_move(txn, &life, name, number, &moved))?;
                (track.next, track.cut) = (full.end, true);
            }
            tracks.moves += aliases * MOVES_KEPT;
            tracks::put(txn, &life, &tracks)
        })
        .unwrap();
    room.registry.archive("m", 1, &any()).unwrap();
    room.register("m");
    life
}

#[test]
fn names_of_a_day_do_not_pile_up_in_the_tracks_while_a_surplus_of_full_ones_goes() {
    let room = Room::new();
    let life = with_a_surplus(&room, 3);
    let kept = || {
        let tracks = room.store.transact(Durability::PowerLoss, |txn| tracks::of(txn, &life)).unwrap();
        let moves: u64 = tracks.of.values().map(|track| track.kept().count() as u64).sum();
        (tracks.of.len(), moves)
    };
    assert!(kept().1 > 2 * MOVES_KEPT, "{:?}", kept());
    // Two moves for each name: two given up for each move would let five hundred names in before the surplus is gone.
    for n in 0..20 {
        room.registry.set_alias("m", &format!("day-{n}"), 2, &any()).unwrap();
        room.registry.delete_alias("m", &format!("day-{n}"), &any()).unwrap();
    }
    assert_eq!(kept(), (21, MOVES_KEPT), "the newest of the full ones, and twenty of a day");
    room.assert_clean();
}

#[test]
fn a_move_that_cannot_be_read_keeps_no_other_alias_from_being_moved_when_its_turn_comes_to_go() {
    let room = Room::new();
    let life = with_a_surplus(&room, 2);
    let tracks = room.store.transact(Durability::PowerLoss, |txn| tracks::of(txn, &life)).unwrap();
    for number in tracks.of["old-0"].kept() {
        let key = tracks::move_key(&life, "old-0", number);
        room.engine.plant(crate::engine::Tree::History, &key, Some(b"damaged"));
    }
    let at = room.clock.advance(10);
    for _ in 0..16 {
        room.registry.set_alias("m", "prod", 2, &any()).unwrap();
        room.registry.delete_alias("m", "prod", &any()).unwrap();
    }
    let ask = |at| room.registry.alias_history("m", &MoveFilter::new().pointer(alias("old-0")).at(at));
    assert_eq!(kind(ask(at - 1)), ErrorKind::NotFound, "when it went can't be read any more");
    assert_eq!(ask(at).unwrap(), [], "by now it has");
    room.assert_clean();
}

#[test]
fn a_move_that_repair_could_not_keep_is_a_day_that_is_not_kept() {
    let room = Room::new();
    room.register("m");
    room.register("m");
    for number in [1, 2, 1] {
        room.clock.advance(10);
        room.registry.set_alias("m", "prod", number, &any()).unwrap();
    }
    let key = keys::alias_move(crate::record::catalog::ALIAS_HISTORY.tag, "m", 0, "prod", 1);
    room.engine.plant(crate::engine::Tree::History, &key, None);
    assert_ne!(room.report().violations_found, 0);
    crate::record::repair::repair(&room.store, &mut |_| std::ops::ControlFlow::Continue(()), repair).unwrap();
    room.assert_clean();
    let ask = |at| room.registry.alias_history("m", &MoveFilter::new().pointer(alias("prod")).at(at));
    assert_eq!(kind(ask(1_025)), ErrorKind::NotFound, "it was set to 2 at 1020");
    assert_eq!(kind(ask(1_015)), ErrorKind::NotFound, "until when it pointed at 1 is lost");
    assert_eq!(steps(&ask(1_030).unwrap()), [(1_030, Some("prod"), Some(2), Some(1))]);
    room.registry.set_alias("m", "prod", 2, &any()).unwrap();
    assert_eq!(room.registry.alias_history("m", &MoveFilter::new().pointer(alias("prod"))).unwrap().len(), 3);
    room.assert_clean();
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
