//! Damage is noticed, told, and does not spread: each test plants some and looks for it.

use super::*;
use crate::codec;
use crate::engine::Tree;
use crate::keys;
use crate::record::catalog;
use crate::registry::property::Bytes;

fn flip(room: &Room, tree: Tree, key: &[u8], place: usize) {
    let (_, stored) = room.engine.entries(tree).into_iter().find(|(held, _)| held == key).unwrap();
    let mut bytes = stored.to_vec();
    bytes[place] ^= 1;
    room.engine.plant(tree, key, Some(&bytes));
}

#[test]
fn a_flipped_byte_of_an_artifact_is_noticed_when_it_is_read() {
    for size in [100, 100_000] {
        let room = Room::new();
        room.registry.register_version("m", NewVersion::new().artifact(vec![5u8; size])).unwrap();
        let tree = if size == 100 { Tree::Records } else { Tree::Blob };
        let (key, stored) = room.engine.entries(tree).swap_remove(0);
        flip(&room, tree, &key, stored.len() / 2);
        assert_eq!(kind(room.registry.artifact("m", 1)), ErrorKind::Corrupt, "{size} bytes");
        assert_eq!(room.version("m", 1).version, 1);
        assert_ne!(room.report().violations_found, 0);
    }
}

#[test]
fn an_artifact_that_is_whole_but_not_the_one_of_its_hash_is_noticed() {
    let room = Room::new();
    let hash = Sha256::of(b"right");
    room.registry.register_version("m", NewVersion::new().artifact(b"right".to_vec())).unwrap();
    let key = keys::content(catalog::ARTIFACT.tag, &hash.0);
    let wrong = codec::encode(catalog::ARTIFACT, &key, &Bytes(b"wrong")).unwrap();
    room.engine.plant(Tree::Records, &key, Some(&wrong));
    assert_eq!(kind(room.registry.artifact("m", 1)), ErrorKind::Corrupt);
    assert_eq!(room.report().violations_found, 1);
}

#[test]
fn a_damaged_version_is_told_in_its_page_hides_no_neighbour_and_frees_no_number() {
    let room = Room::new();
    for _ in 0..5 {
        room.register("m");
    }
    flip(&room, Tree::ModelVersions, b"m@v3", 20);
    for page in
        [room.registry.list_versions("m", &PageRequest::new()), room.registry.list_all_versions(&PageRequest::new())]
    {
        let page = page.unwrap();
        assert_eq!(page.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(page.damaged.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["m@v3"]);
    }
    assert_eq!(kind(room.registry.get("m", 3)), ErrorKind::Corrupt);
    assert_eq!(room.register("m").version, 6);
    room.engine.plant(Tree::ModelVersions, b"m@v6", None);
    let page = room.registry.list_versions("m", &PageRequest::new()).unwrap();
    assert_eq!(page.damaged.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["m@v3", "m@v6"]);
    assert_eq!(room.register("m").version, 7);
    assert_ne!(room.report().violations_found, 0);
}

#[test]
fn latest_is_the_highest_version_that_can_be_read_and_a_damaged_one_above_it_hides_it_from_nobody() {
    let room = Room::new();
    for _ in 0..3 {
        room.registry.register_version("m", NewVersion::new().stage("prod")).unwrap();
    }
    flip(&room, Tree::ModelVersions, b"m@v3", 20);
    let latest = |room: &Room| {
        let inside = room.store.transact(Durability::PowerLoss, |txn| txn.registry().get("m", VersionRef::latest()));
        let found = room.version("m", VersionRef::latest()).version;
        assert_eq!(inside.unwrap().map(|version| version.version), Some(found));
        assert_eq!(room.registry.latest_in_stage("m", "prod").unwrap().map(|version| version.version), Some(found));
        found
    };
    assert_eq!(latest(&room), 2);
    assert_eq!(kind(room.registry.get("m", 3)), ErrorKind::Corrupt);
    // What repair makes of it is the same.
    let mut watch = |_: &crate::record::RepairProgress| std::ops::ControlFlow::Continue(());
    crate::record::repair::repair(&room.store, &mut watch, repair).unwrap();
    assert_eq!(latest(&room), 2);
    room.assert_clean();
}

/// A page that was put in order by reading everything ended with a row that could not be read; once there was too much
/// for that, the next page was read from the index by time, which could make nothing of where that page had ended.
#[test]
fn a_page_goes_on_behind_a_damaged_row_also_when_it_is_found_another_way_than_the_last_one() {
    let room = Room::new();
    for name in ["m-1", "m-2", "m-3"] {
        room.registry.create_model(name, NewModel::new()).unwrap();
        room.clock.advance(1);
    }
    flip(&room, Tree::Models, b"m-1", 20);
    flip(&room, Tree::Models, b"m-2", 20);
    let request = SearchRequest::new().filter("name like 'm-%'").order_by("created_at desc").explain(true);
    let first = room.registry.search_models(&request.clone().page_size(2)).unwrap();
    let keys = |page: &ModelPage| page.damaged.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
    assert_eq!((first.models[0].name.as_str(), keys(&first)), ("m-3", vec!["m-1".to_owned()]));
    for some in 0..21 {
        let created = room.registry.transact(|registry| {
            (0..50).try_for_each(|n| registry.create_model(&format!("m-x{some}-{n}"), NewModel::new()).map(drop))
        });
        created.unwrap();
    }
    let next = request.page_token(first.next_page_token.unwrap());
    let next = room.registry.search_models(&next).unwrap();
    assert_ne!(next.plan.unwrap().index, first.plan.unwrap().index, "it is found another way");
    assert_eq!((next.models.len(), next.damaged[0].key.as_str(), next.next_page_token), (0, "m-2", None));
}

#[test]
fn a_damaged_model_is_told_and_its_neighbours_are_listed() {
    let room = Room::new();
    for name in ["a", "b", "c"] {
        room.register(name);
    }
    flip(&room, Tree::Models, b"b", 20);
    let page = room.registry.list_models(&PageRequest::new()).unwrap();
    assert_eq!(page.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(page.damaged[0].key, "b");
    let page = room.registry.list_all_versions(&PageRequest::new()).unwrap();
    assert_eq!(page.versions.iter().map(|version| version.model.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(page.damaged[0].key, "b@v1");
    assert_eq!(kind(room.registry.register_version("b", NewVersion::new())), ErrorKind::Corrupt);
}

#[test]
fn verify_finds_every_kind_of_broken_reference() {
    use super::super::record::{ModelRecord, VersionRecord};
    let broken = |spoil: &dyn Fn(&mut Transaction<'_>, ModelRecord, VersionRecord) -> Result<()>| {
        let room = Room::new();
        room.registry.register_version("m", NewVersion::new().artifact(vec![1])).unwrap();
        room.assert_clean();
        let spoilt = room.store.transact(Durability::PowerLoss, |txn| {
            let model = txn.get(b"m")?.unwrap();
            let version = txn.get(b"m@v1")?.unwrap();
            spoil(txn, model, version)
        });
        spoilt.unwrap();
        assert_ne!(room.report().violations_found, 0);
    };
    let model = |change: fn(&mut ModelRecord)| {
        broken(&move |txn, old, _| {
            let mut new = old.clone();
            change(&mut new);
            txn.update(&old, new).map(drop)
        });
    };
    model(|model| model.active_version = Some(2));
    model(|model| model.aliases.extend([("prod".to_owned(), 9)]));
    model(|model| model.last_version = 0);
    model(|model| model.versions = 2);
    model(|model| model.archived_versions = 1);
    model(|model| model.incarnation = 1);
    broken(&|txn, _, old| txn.update(&old, VersionRecord { archived: true, ..old.clone() }).map(drop));
    broken(&|txn, model, _| txn.delete(&model));
    let hash = Sha256::of(&[1]).0;
    let counts = catalog::ARTIFACT_REFERENCES;
    broken(&|txn, _, _| txn.put_part(counts, &keys::content(counts.tag, &hash), &2u64));
    broken(&|txn, _, _| txn.delete_part(counts, &keys::content(counts.tag, &hash)));
    broken(&|txn, _, _| txn.delete_part(catalog::ARTIFACT, &keys::content(catalog::ARTIFACT.tag, &hash)));
    broken(&|txn, _, old| txn.delete(&old));
}
