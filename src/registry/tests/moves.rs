//! Renames and deletes of whole models.

use super::*;
use crate::engine::Tree;
use crate::engine::wrap::{CountEngine, EngineCall, FaultEngine, Mishap, Times};
use crate::record::{Entity as _, quarantine};

/// A model with everything that has to come along: versions with holes in their numbers, an archived one, labels,
/// external ids, stages, shared artifacts, aliases, pointer moves.
fn furnish(room: &Room, name: &str) {
    room.registry.create_model(name, NewModel::new().external_id(format!("model {name}")).tag("t", "1")).unwrap();
    for number in 1..=12 {
        let new = NewVersion::new()
            .label(format!("label-{number}"))
            .external_id(format!("{name} {number}"))
            .stage(if number % 2 == 0 { "even" } else { "odd" })
            .artifact(if number % 3 == 0 { vec![3u8; 40_000] } else { vec![number as u8] })
            .tag("n", number.to_string());
        room.registry.register_version(name, new).unwrap();
    }
    room.registry.delete_version(name, 5, &any()).unwrap();
    room.registry.archive(name, 7, &any()).unwrap();
    room.registry.set_alias(name, "prod", 9, &any().by("ann")).unwrap();
    room.registry.update_version(name, 9, VersionUpdate::new().description("nine")).unwrap();
}

/// Everything that readers can see of a model, without its name, its revision and who touched it when.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    model: Option<Model>,
    listed: Vec<Version>,
    one_by_one: Vec<Version>,
    latest: Option<u32>,
    latest_even: Option<u32>,
    by_alias: Option<u32>,
    by_label: Option<u32>,
    artifacts: Vec<ArtifactContent>,
    moves: Vec<PointerMove>,
}

/// What readers see under `name`; nothing at all when the model is not there.
fn seen(registry: &Registry, name: &str) -> Option<Seen> {
    let mut model = registry.get_model(name).unwrap();
    let number = |version: Option<Version>| version.map(|version| version.version);
    let one_by_one: Vec<Version> = (1..=13)
        .filter_map(|number| registry.get(name, number).unwrap())
        .map(|version| nameless(version, name))
        .collect();
    let by_label = number(registry.get(name, VersionRef::Label("label-9".to_owned())).unwrap());
    let latest = number(registry.get(name, VersionRef::latest()).unwrap());
    let latest_even = number(registry.latest_in_stage(name, "even").unwrap());
    let by_alias = number(registry.get(name, "prod").unwrap());
    let of_all = registry.list_all_versions(&PageRequest::new().size(1000)).unwrap();
    let of_all: Vec<Version> = of_all.versions.into_iter().filter(|version| version.model == name).collect();
    let Some(model) = &mut model else {
        assert_eq!((one_by_one.len(), of_all.len()), (0, 0), "{name}");
        assert_eq!((latest, latest_even, by_alias, by_label), (None, None, None, None), "{name}");
        assert_eq!(kind(registry.list_versions(name, &PageRequest::new())), ErrorKind::NotFound);
        assert_eq!(kind(registry.alias_history(name, &MoveFilter::new())), ErrorKind::NotFound);
        assert_eq!(kind(registry.version_counts(name)), ErrorKind::NotFound);
        return None;
    };
    let listed = registry.list_versions(name, &PageRequest::new().size(1000)).unwrap();
    assert_eq!((listed.damaged.len(), &listed.versions), (0, &of_all));
    let listed: Vec<Version> = listed.versions.into_iter().map(|version| nameless(version, name)).collect();
    assert_eq!(registry.version_counts(name).unwrap().total, listed.len() as u64);
    let artifacts =
        one_by_one.iter().map(|version| registry.artifact(name, version.version).unwrap().unwrap()).collect();
    for version in &listed {
        let Some(id) = &version.external_id else { continue };
        let by_id = registry.version_by_external_id(id).unwrap().unwrap();
        assert_eq!((by_id.model.as_str(), by_id.version), (name, version.version), "{id}");
    }
    (model.name, model.revision, model.updated_at, model.changed_by) = (String::new(), 0, 0, None);
    let moves = registry.alias_history(name, &MoveFilter::new()).unwrap();
    let model = Some(model.clone());
    Some(Seen { model, listed, one_by_one, latest, latest_even, by_alias, by_label, artifacts, moves })
}

fn nameless(mut version: Version, name: &str) -> Version {
    assert_eq!(std::mem::take(&mut version.model), name);
    version
}

fn no_leftovers(room: &Room) {
    let prefix = crate::keys::content_prefix(crate::record::catalog::LEFTOVERS.tag);
    assert!(room.engine.entries(Tree::Records).iter().all(|(key, _)| !key.starts_with(&prefix)));
    let rows = room.engine.entries(Tree::ModelVersions).len() as u64;
    assert_eq!(room.registry.summary().unwrap().versions.total, rows);
    room.assert_clean();
}

/// What a stop before the `n`-th commit leaves, and a registry over it as an opening would make it.
fn stopped_before(room: &Room, n: u64, work: impl FnOnce(&Registry)) -> Registry {
    let fault = Arc::new(FaultEngine::new(room.engine.clone()));
    fault.plan(EngineCall::Transact, n, Times::Forever, Mishap::FailBefore(Error::closed("stopped")));
    let store = RecordStore::new(fault, Arc::new(room.clock.clone()), Arc::new(Ids::seeded(2)));
    work(&Registry::new(store));
    Registry::new(room.store.clone())
}

#[test]
fn a_renamed_model_takes_everything_along_and_leaves_nothing_behind() {
    let room = Room::new();
    furnish(&room, "a");
    furnish(&room, "a@v1");
    let (before, neighbour) = (seen(&room.registry, "a").unwrap(), seen(&room.registry, "a@v1"));
    let revision = room.model("a").revision;
    room.clock.advance(10);
    let model = room.registry.rename_model("a", "b", &any().by("bob").expected_revision(revision)).unwrap();
    assert_eq!((model.revision, model.updated_at, model.changed_by.as_deref()), (revision + 1, 1_010, Some("bob")));
    assert_eq!(room.model("b"), model);
    assert_eq!(seen(&room.registry, "b").unwrap(), before);
    assert_eq!(seen(&room.registry, "a"), None);
    assert_eq!(seen(&room.registry, "a@v1"), neighbour);
    assert_eq!(room.registry.model_by_external_id("model a").unwrap().unwrap().name, "b");
    no_leftovers(&room);
    assert_eq!(room.register("b").version, 13);
    assert_eq!(room.register("a").version, 1);
    no_leftovers(&room);
}

#[test]
fn a_model_renamed_there_and_back_is_stored_as_it_was() {
    let room = Room::new();
    furnish(&room, "a");
    room.registry.rename_model("a", "b", &any()).unwrap();
    let once = crate::record::digest(&*room.engine).unwrap();
    room.registry.rename_model("b", "c", &any()).unwrap();
    room.registry.rename_model("c", "b", &any()).unwrap();
    let model = room.store.read(|view| view.get::<super::super::record::ModelRecord>(b"b")).unwrap().unwrap();
    assert_eq!((model.incarnation, &model.moving_to), (0, &None));
    let other = Room::new();
    furnish(&other, "a");
    other.registry.rename_model("a", "b", &any()).unwrap();
    assert_eq!(crate::record::digest(&*other.engine).unwrap(), once);
    assert_eq!(model.revision(), other.model("b").revision + 2);
    assert_eq!(seen(&room.registry, "b"), seen(&other.registry, "b"));
    no_leftovers(&room);
}

#[test]
fn a_rename_is_refused_onto_another_model_and_changes_nothing_onto_itself() {
    let room = Room::new();
    furnish(&room, "a");
    room.register("b");
    let before = crate::record::digest(&*room.engine).unwrap();
    let rename = |from: &str, to: &str| room.registry.rename_model(from, to, &any());
    assert_eq!(kind(rename("a", "b")), ErrorKind::AlreadyExists);
    assert_eq!(kind(rename("none", "c")), ErrorKind::NotFound);
    assert_eq!(kind(rename("none", "none")), ErrorKind::NotFound);
    assert_eq!(kind(rename("a", " c")), ErrorKind::Invalid);
    assert_eq!(rename("a", "a").unwrap(), room.model("a"));
    let stale = any().expected_revision(1);
    assert_eq!(kind(room.registry.rename_model("a", "c", &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.rename_model("a", "a", &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.delete_model("a", &stale)), ErrorKind::Conflict);
    assert_eq!(kind(room.registry.delete_model("none", &any())), ErrorKind::NotFound);
    assert_eq!(crate::record::digest(&*room.engine).unwrap(), before);
    no_leftovers(&room);
}

#[test]
fn a_rename_stopped_before_any_of_its_commits_has_happened_or_has_not() {
    let mut outcomes = Vec::new();
    for step in 1.. {
        let room = Room::new();
        furnish(&room, "a");
        room.register("other");
        let before = seen(&room.registry, "a");
        let mut answer = None;
        let registry = stopped_before(&room, step, |registry| {
            answer = Some(registry.rename_model("a", "b", &any()));
        });
        let answer = answer.unwrap();
        let check = |when: &str| {
            let (a, b) = (seen(&registry, "a"), seen(&registry, "b"));
            let (here, there) = if answer.is_ok() { (&b, &a) } else { (&a, &b) };
            assert_eq!((here, there), (&before, &None), "step {step}, {when}");
            assert_eq!(registry.summary().unwrap().versions.total, 12, "step {step}, {when}");
            assert_eq!(room.report().violations, [], "step {step}, {when}");
        };
        check("as it was left");
        let mut opened = false;
        // Recovery itself is stopped at every step, too.
        for again in 1..4 {
            stopped_before(&room, again, |registry| opened |= registry.recover().is_ok());
            check("while it is recovered");
        }
        registry.recover().unwrap();
        check("recovered");
        no_leftovers(&room);
        outcomes.push(answer.is_ok());
        // The last step is the one that is not met any more.
        if opened && answer.is_ok() && step > 12 {
            break;
        }
        assert!(step < 40);
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] <= pair[1]), "{outcomes:?}");
    assert!(!outcomes[3] && outcomes[outcomes.len() - 1]);
}

#[test]
fn a_delete_stopped_before_any_of_its_commits_has_happened_or_has_not() {
    for step in 1..12 {
        let room = Room::new();
        furnish(&room, "a");
        furnish(&room, "b");
        let (before, other) = (seen(&room.registry, "a"), seen(&room.registry, "b"));
        let mut answer = None;
        let registry = stopped_before(&room, step, |registry| answer = Some(registry.delete_model("a", &any())));
        let deleted = answer.unwrap().is_ok();
        assert_eq!(deleted, step > 1);
        let check = || {
            assert_eq!(seen(&registry, "a"), if deleted { None } else { before.clone() }, "step {step}");
            assert_eq!(seen(&registry, "b"), other);
            assert_eq!(registry.version_by_external_id("a 3").unwrap().is_none(), deleted);
            assert_eq!(room.report().violations, [], "step {step}");
        };
        check();
        if deleted {
            // The name, its labels and its external ids are free at once, whatever still lies about.
            let new = NewVersion::new().label("label-9").external_id("a 4").artifact(vec![3u8; 40_000]);
            assert_eq!(registry.register_version("a", new).unwrap().version, 1);
            assert_eq!(registry.get("a", VersionRef::Label("label-9".to_owned())).unwrap().unwrap().version, 1);
            assert_eq!(registry.version_by_external_id("a 4").unwrap().unwrap().version, 1);
            assert_eq!(registry.list_versions("a", &PageRequest::new()).unwrap().versions.len(), 1);
            assert_eq!(registry.alias_history("a", &MoveFilter::new()).unwrap().len(), 1);
            assert_eq!(room.report().violations, [], "step {step}");
            assert_eq!(registry.delete_model("a", &any()).unwrap(), 1);
        } else {
            check();
            assert_eq!(registry.delete_model("a", &any()).unwrap(), 11);
        }
        registry.recover().unwrap();
        assert_eq!(seen(&registry, "a"), None);
        assert_eq!(seen(&registry, "b"), other);
        registry.delete_model("b", &any()).unwrap();
        no_leftovers(&room);
        for tree in [Tree::ModelVersions, Tree::Models, Tree::Blob, Tree::Records, Tree::Index, Tree::History] {
            assert_eq!(room.engine.entries(tree), [], "step {step}: everything is freed");
        }
    }
}

#[test]
fn writes_while_rows_are_copied_reach_the_copies() {
    let room = Room::new();
    furnish(&room, "a");
    furnish(&room, "twin");
    let act = |name: &str| {
        let registry = &room.registry;
        registry.update_version(name, 1, VersionUpdate::new().stage("even").set_tag("n", "new")).unwrap();
        registry.archive(name, 2, &any()).unwrap();
        registry.unarchive(name, 7, &any()).unwrap();
        registry.delete_version(name, 3, &any()).unwrap();
        registry.register_version(name, NewVersion::new().label("fresh").artifact(vec![9; 20_000])).unwrap();
        registry.set_alias(name, "prod", 1, &any()).unwrap();
        registry.update_model(name, ModelUpdate::new().set_tag("t", "2")).unwrap();
    };
    let mut acted = false;
    room.registry
        .rename_model_with("a", "b", &any(), |progress| {
            if progress.step == MoveStep::Copying && !std::mem::replace(&mut acted, true) {
                assert_eq!((progress.done, progress.total), (11, 11));
                act("a");
            }
        })
        .unwrap();
    act("twin");
    let (b, mut twin) = (seen(&room.registry, "b").unwrap(), seen(&room.registry, "twin").unwrap());
    let model = twin.model.as_mut().unwrap();
    model.external_id = b.model.as_ref().unwrap().external_id.clone();
    for version in twin.listed.iter_mut().chain(&mut twin.one_by_one) {
        version.external_id = version.external_id.take().map(|id| id.replace("twin", "a"));
    }
    assert_eq!(b, twin);
    no_leftovers(&room);
}

#[test]
fn aliases_that_move_come_and_go_while_their_model_is_copied_bring_their_history_along() {
    let room = Room::new();
    furnish(&room, "a");
    room.registry.set_alias("a", "short", 1, &any()).unwrap();
    let churn = |moves: u32| {
        let churned = room.registry.transact(|registry| {
            (0..moves).try_for_each(|n| registry.set_alias("a", "prod", n % 2 + 1, &any()).map(drop))
        });
        churned.unwrap();
    };
    churn(700);
    let mut told = None;
    room.registry
        .rename_model_with("a", "b", &any(), |progress| {
            if progress.step == MoveStep::Copying && told.is_none() {
                churn(600);
                room.registry.delete_alias("a", "short", &any()).unwrap();
                room.registry.set_alias("a", "fresh", 4, &any()).unwrap();
                told = Some(room.registry.alias_history("a", &MoveFilter::new()).unwrap());
            }
        })
        .unwrap();
    let told = told.unwrap();
    assert!(told.iter().filter(|moved| moved.alias.as_deref() == Some("prod")).count() as u64 == MOVES_KEPT);
    assert_eq!(room.registry.alias_history("b", &MoveFilter::new()).unwrap(), told);
    // One entry for each move, and one that says which they are.
    assert_eq!(room.engine.entries(Tree::History).len(), told.len() + 1);
    no_leftovers(&room);
}

#[test]
fn versions_changed_behind_the_fence_stay_changed_when_the_sweep_comes() {
    let room = Room::new();
    furnish(&room, "a");
    // Commits of a rename: begin, copy, moves, fence; the sweep is stopped.
    let registry = stopped_before(&room, 5, |registry| drop(registry.rename_model("a", "b", &any()).unwrap()));
    registry.update_version("b", 1, VersionUpdate::new().description("since")).unwrap();
    registry.delete_version("b", 3, &any()).unwrap();
    registry.archive("b", 2, &any()).unwrap();
    room.assert_clean();
    let before = seen(&registry, "b");
    registry.sweep_leftovers(usize::MAX).unwrap();
    assert_eq!(seen(&registry, "b"), before);
    assert_eq!(registry.version_by_external_id("a 3").unwrap(), None);
    no_leftovers(&room);
}

#[test]
fn models_move_on_and_go_before_their_leftovers_are_swept() {
    let room = Room::new();
    furnish(&room, "a");
    let before = seen(&room.registry, "a");
    stopped_before(&room, 5, |registry| drop(registry.rename_model("a", "b", &any()).unwrap()));
    stopped_before(&room, 5, |registry| drop(registry.rename_model("b", "c", &any()).unwrap()));
    assert_eq!(seen(&room.registry, "c"), before);
    room.assert_clean();
    // What is left at `a` goes first: the active pointer's moves in four pages, its alias's move, its tracks, its mark.
    let registry = stopped_before(&room, 12, |registry| drop(registry.rename_model("c", "a", &any()).unwrap()));
    assert_eq!(seen(&registry, "a"), before);
    room.assert_clean();
    stopped_before(&room, 2, |registry| assert_eq!(registry.delete_model("a", &any()).unwrap(), 11));
    room.assert_clean();
    registry.register_version("a", NewVersion::new().external_id("a 9").label("label-9")).unwrap();
    registry.register_version("b", NewVersion::new().external_id("a 8")).unwrap();
    room.assert_clean();
    registry.sweep_leftovers(usize::MAX).unwrap();
    assert_eq!(registry.summary().unwrap().versions.total, 2);
    assert_eq!(room.engine.entries(Tree::Blob), []);
    no_leftovers(&room);
}

#[test]
fn whoever_takes_the_new_name_first_has_it() {
    let room = Room::new();
    furnish(&room, "a");
    let before = seen(&room.registry, "a");
    let mut taken = false;
    let outcome = room.registry.rename_model_with("a", "b", &any(), |_| {
        if !std::mem::replace(&mut taken, true) {
            assert_eq!(room.register("b").version, 1);
            room.assert_clean();
        }
    });
    assert_eq!(kind(outcome), ErrorKind::AlreadyExists);
    assert_eq!(seen(&room.registry, "a"), before);
    assert_eq!(room.model("b").versions, 1);
    no_leftovers(&room);
}

/// A rename once lost every copy that had made way meanwhile, and the sweep then freed the versions for good.
#[test]
fn a_model_that_takes_the_new_name_and_goes_again_ends_the_rename_and_loses_no_version() {
    for label in [None, Some("label-9")] {
        let room = Room::new();
        furnish(&room, "a");
        let before = seen(&room.registry, "a");
        let mut taken = false;
        let outcome = room.registry.rename_model_with("a", "b", &any(), |_| {
            if !std::mem::replace(&mut taken, true) {
                let new = label.map_or_else(NewVersion::new, |label| NewVersion::new().label(label));
                assert_eq!(room.registry.register_version("b", new).unwrap().version, 1);
                assert_eq!(room.registry.delete_model("b", &any()).unwrap(), 1);
                room.assert_clean();
            }
        });
        assert_eq!(kind(outcome), ErrorKind::Conflict);
        assert_eq!(seen(&room.registry, "a"), before);
        no_leftovers(&room);
        // Nothing stands in the way of another try.
        room.registry.rename_model("a", "b", &any()).unwrap();
        assert_eq!(seen(&room.registry, "b"), before);
        no_leftovers(&room);
    }
}

#[test]
fn of_two_renames_to_one_name_the_first_goes_on_and_of_one_model_the_last() {
    let room = Room::new();
    furnish(&room, "a");
    room.register("other");
    let mut nested = Vec::new();
    let outcome = room.registry.rename_model_with("a", "b", &any(), |_| {
        if nested.is_empty() {
            nested.push(room.registry.rename_model("other", "b", &any()).map_err(|error| error.kind()));
            nested.push(room.registry.rename_model("a", "c", &any()).map_err(|error| error.kind()));
        }
    });
    assert_eq!(nested[0], Err(ErrorKind::AlreadyExists));
    assert!(nested[1].is_ok());
    assert_eq!(kind(outcome), ErrorKind::NotFound);
    assert_eq!(room.model("c").versions, 11);
    no_leftovers(&room);
}

#[test]
fn small_models_are_renamed_and_any_is_deleted_inside_a_transaction() {
    let room = Room::new();
    furnish(&room, "a");
    furnish(&room, "gone");
    let before = seen(&room.registry, "a");
    let undone: Result<()> = room.store.transact(Durability::PowerLoss, |txn| {
        txn.registry().rename_model("a", "b", &any())?;
        txn.registry().delete_model("gone", &any())?;
        Err(Error::conflict("changed my mind"))
    });
    assert_eq!(kind(undone), ErrorKind::Conflict);
    assert_eq!(seen(&room.registry, "a"), before);
    let model = room.store.transact(Durability::PowerLoss, |txn| {
        let mut registry = txn.registry();
        assert_eq!(registry.delete_model("gone", &any())?, 11);
        registry.rename_model("a", "b", &any())?;
        assert_eq!(registry.get("b", 9)?.unwrap().aliases, ["prod"]);
        assert_eq!(registry.register_version("gone", NewVersion::new())?.version, 1);
        registry.rename_model("b", "d", &any())
    });
    assert_eq!(model.unwrap(), room.model("d"));
    assert_eq!(seen(&room.registry, "d"), before);
    assert_eq!(seen(&room.registry, "b"), None);
    room.assert_clean();
    room.registry.sweep_leftovers(usize::MAX).unwrap();
    no_leftovers(&room);
}

#[test]
fn leftovers_of_transactions_go_with_later_writes() {
    let room = Room::new();
    furnish(&room, "a");
    room.store.transact(Durability::PowerLoss, |txn| txn.registry().delete_model("a", &any())).unwrap();
    for _ in 0..64 {
        room.register("m");
    }
    no_leftovers(&room);
}

#[test]
fn a_damaged_leftover_of_a_deleted_model_goes_to_quarantine_and_stops_no_sweep() {
    let room = Room::new();
    furnish(&room, "a");
    let registry = stopped_before(&room, 2, |registry| assert_eq!(registry.delete_model("a", &any()).unwrap(), 11));
    room.engine.plant(Tree::ModelVersions, b"a@v4", Some(b"damage"));
    let swept = registry.sweep_leftovers(usize::MAX).unwrap();
    assert_eq!((swept.rows, swept.damaged, swept.quarantined, swept.done), (11, 0, 1, true));
    assert_eq!(quarantined(&room), ["a@v4"]);
    assert_eq!((room.engine.entries(Tree::ModelVersions), room.engine.entries(Tree::History)), (vec![], vec![]));
    assert_eq!(registry.recover().unwrap(), Swept { done: true, ..Swept::default() });
}

fn quarantined(room: &Room) -> Vec<String> {
    let page = room.store.read(|view| quarantine::list(view, None, 10)).unwrap();
    let mut keys: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
    keys.sort();
    keys
}

/// A row that could not be read outlived its model, and kept the next model of the name from that row's number for ever.
#[test]
fn a_damaged_leftover_keeps_no_new_model_from_its_number() {
    let room = Room::new();
    furnish(&room, "a");
    let registry = stopped_before(&room, 2, |registry| assert_eq!(registry.delete_model("a", &any()).unwrap(), 11));
    for key in [b"a@v1", b"a@v2"] {
        room.engine.plant(Tree::ModelVersions, key, Some(b"damage"));
    }
    let taken = stopped_before(&room, 2, |registry| assert_eq!(room_register(registry, "a"), 1));
    assert_eq!(quarantined(&room), ["a@v1"]);
    assert_eq!(room_register(&taken, "a"), 2);
    assert_eq!(quarantined(&room), ["a@v1", "a@v2"]);
    // What the rows were in indexes by is not known any more; it leads nobody to the versions that took their numbers.
    assert_eq!(registry.get("a", VersionRef::Label("label-1".to_owned())).unwrap(), None);
    assert_eq!(registry.version_by_external_id("a 2").unwrap(), None);
    assert_eq!(registry.latest_in_stage("a", "even").unwrap(), None);
    let in_transaction = room
        .store
        .transact(Durability::PowerLoss, |txn| txn.registry().get("a", VersionRef::Label("label-1".to_owned())));
    assert_eq!(in_transaction.unwrap(), None);
    registry.sweep_leftovers(usize::MAX).unwrap();
    let mut watch = |_: &crate::record::RepairProgress| std::ops::ControlFlow::Continue(());
    crate::record::repair::repair(&room.store, &mut watch, super::super::repair).unwrap();
    room.assert_clean();
    assert_eq!((room.model("a").versions, room.model("a").last_version), (2, 2));
}

fn room_register(registry: &Registry, model: &str) -> u32 {
    registry.register_version(model, NewVersion::new()).unwrap().version
}

/// A damaged leftover may be the only row of a version when its model was renamed, so it stays for repair; and with it
/// the mark of its name, for which every 64th write looked through all rows of that name again.
#[test]
fn a_damaged_leftover_that_may_be_somebodys_stays_and_is_not_looked_for_with_every_write() {
    let room = Room::new();
    furnish(&room, "a");
    stopped_before(&room, 5, |registry| drop(registry.rename_model("a", "b", &any()).unwrap()));
    room.engine.plant(Tree::ModelVersions, b"a@v4", Some(b"damage"));
    let swept = room.registry.sweep_leftovers(usize::MAX).unwrap();
    assert_eq!((swept.rows, swept.damaged, swept.quarantined, swept.done), (10, 1, 0, true));
    assert_eq!(room.version("b", 4).label.as_deref(), Some("label-4"));
    let count = Arc::new(CountEngine::new(room.engine.clone()));
    let store = RecordStore::new(count.clone(), Arc::new(room.clock.clone()), Arc::new(Ids::seeded(3)));
    let registry = Registry::new(store);
    let bodies = |writes: u32| {
        let before = count.counts().bodies;
        (0..writes).for_each(|_| assert_ne!(room_register(&registry, "m"), 0));
        count.counts().bodies - before
    };
    // The first look finds it, with a transaction of its own; the second and later ones pass it by.
    bodies(64);
    assert_eq!(bodies(256), 2 * 256, "each body runs twice here");
    // Once its mark says something else, it is looked at again.
    registry.register_version("a", NewVersion::new()).unwrap();
    registry.delete_model("a", &any()).unwrap();
    assert!(bodies(64) > 2 * 64);
    assert_eq!(registry.sweep_leftovers(usize::MAX).unwrap().damaged, 1, "whoever asks is told");
}

/// Repair once took leftovers for versions of a lost model and wrote that model anew.
#[test]
fn repair_finds_nothing_to_do_in_what_a_stopped_rename_or_delete_left() {
    let entries = |room: &Room| Tree::ALL.iter().map(|tree| room.engine.entries(*tree)).collect::<Vec<_>>();
    for step in 1..24 {
        let room = Room::new();
        furnish(&room, "a");
        let registry = stopped_before(&room, step, |registry| {
            let outcome = if step % 2 == 0 {
                registry.rename_model("a", "b", &any()).map(drop)
            } else {
                registry.delete_model("a", &any()).map(drop)
            };
            drop(outcome);
        });
        let before = (entries(&room), seen(&registry, "a"), seen(&registry, "b"));
        let mut watch = |_: &crate::record::RepairProgress| std::ops::ControlFlow::Continue(());
        let report = crate::record::repair::repair(&room.store, &mut watch, super::super::repair).unwrap();
        assert_eq!((report.mended(), report.quarantined_found), (0, 0), "step {step}: {report:?}");
        assert_eq!((entries(&room), seen(&registry, "a"), seen(&registry, "b")), before, "step {step}");
        registry.recover().unwrap();
        no_leftovers(&room);
    }
}
