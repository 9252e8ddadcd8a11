//! Inline artifacts: stored once, shared, freed with the last holder.

use super::*;
use crate::engine::Tree;

fn content(room: &Room, model: &str, number: u32) -> Vec<u8> {
    match room.registry.artifact(model, number).unwrap().unwrap() {
        ArtifactContent::Inline { content, .. } => content.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn equal_bytes_are_stored_once_and_freed_with_the_last_version_that_holds_them() {
    let room = Room::new();
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7) as u8).collect();
    let register =
        |model: &str, bytes: &[u8]| room.registry.register_version(model, NewVersion::new().artifact(bytes)).unwrap();
    let first = register("a", &bytes);
    let pieces = room.engine.entries(Tree::Blob).len();
    assert!(pieces > 5);
    assert_eq!(first.artifact.unwrap().bytes, 100_000);
    register("a", &bytes);
    register("b", &bytes);
    assert!(room.engine.last_writes().keys().all(|(tree, _)| *tree != Tree::Blob), "held bytes are not written again");
    assert_eq!(room.engine.entries(Tree::Blob).len(), pieces);
    register("b", b"small");
    assert_eq!(room.engine.entries(Tree::Records).len(), 4);
    room.registry.delete_version("a", 1, &any()).unwrap();
    room.registry.delete_version("a", 2, &any()).unwrap();
    assert_eq!(content(&room, "b", 1), bytes);
    assert_eq!(content(&room, "b", 2), b"small");
    room.assert_clean();
    room.registry.delete_version("b", 1, &any()).unwrap();
    assert_eq!(room.engine.entries(Tree::Blob).len(), 0);
    assert_eq!(room.engine.entries(Tree::Records).len(), 2);
    register("a", &bytes);
    assert_eq!(content(&room, "a", 3), bytes);
    room.assert_clean();
}

#[test]
fn the_largest_artifact_is_accepted_and_one_byte_more_is_not() {
    let room = Room::new();
    room.registry.register_version("m", NewVersion::new().artifact(vec![1; ARTIFACT_BYTES_MAX])).unwrap();
    assert_eq!(content(&room, "m", 1).len(), ARTIFACT_BYTES_MAX);
    let larger = NewVersion::new().artifact(vec![1; ARTIFACT_BYTES_MAX + 1]);
    assert_eq!(kind(room.registry.register_version("m", larger)), ErrorKind::Invalid);
    room.registry.register_version("m", NewVersion::new().artifact(Vec::new())).unwrap();
    assert_eq!(content(&room, "m", 2), b"");
    room.assert_clean();
}

#[test]
fn a_reference_is_answered_as_given_and_takes_no_room() {
    let room = Room::new();
    let hash = Sha256::of(b"x");
    room.registry.register_version("m", NewVersion::new().artifact_uri("s3://b/k", hash, 1)).unwrap();
    let found = room.registry.artifact("m", VersionRef::latest()).unwrap().unwrap();
    assert_eq!(found, ArtifactContent::reference("s3://b/k", hash, 1).unwrap());
    assert_eq!(room.engine.entries(Tree::Records).len(), 0);
    room.register("m");
    assert_eq!(room.registry.artifact("m", 2).unwrap(), None);
    assert_eq!(kind(room.registry.artifact("m", 3)), ErrorKind::NotFound);
    room.registry.delete_version("m", 1, &any()).unwrap();
    room.assert_clean();
}
