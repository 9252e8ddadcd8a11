//! What a definition may become, and what lies in the store for it.

use super::*;
use crate::codec::{self, Bytes};
use crate::record::catalog;
use crate::record::collection::definition::*;

#[test]
fn the_stored_bytes_of_a_definition_and_of_a_build_stay_what_they_are() {
    let definition = Definition {
        version: 2,
        key: "str".into(),
        fields: vec![("kind".into(), "u8".into())],
        total: 65_536,
        items: vec![Item { counter: false, name: "i".into(), signature: "s".into(), number: 65_537, ready: true }],
        build: 3,
        retired: vec![Retired::Index(4), Retired::Counter(5), Retired::Late(6)],
    };
    let golden = b"\x29\x00\x01\x00\x01\x00\x73\x00\x00\x00\
        \x02\x00\x03\x00\x00\x00\x00\x00\x00\x00str\
        \x01\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00kind\x02\x00\x00\x00\x00\x00\x00\x00u8\
        \x00\x00\x01\x00\
        \x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00i\x01\x00\x00\x00\x00\x00\x00\x00s\x01\x00\x01\x00\x01\
        \x03\x00\x00\x00\
        \x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00\x06\x00\x00\x00";
    let key = definition_key("tags");
    assert_eq!(key, b"collection\0\0tags\0\0");
    let stored = codec::encode(catalog::COLLECTION, &key, &definition).unwrap();
    let (body, _checksum) = stored.split_last_chunk::<4>().unwrap();
    assert_eq!(body.escape_ascii().to_string(), golden.escape_ascii().to_string());
    let build = Build { position: Position::At(Bytes(b"k".to_vec())), done: 5, unreadable: 1 };
    let key = build_key("tags");
    assert_eq!(key, b"collection.build\0\0tags\0\0");
    let stored = codec::encode(catalog::COLLECTION_BUILD, &key, &build).unwrap();
    let (body, _checksum) = stored.split_last_chunk::<4>().unwrap();
    let golden = b"\x2a\x00\x01\x00\x01\x00\x1d\x00\x00\x00\
        \x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00k\
        \x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(body.escape_ascii().to_string(), golden.escape_ascii().to_string());
    assert_eq!(late_key("tags", 1, b"k"), b"collection.late\0\0tags\0\0\0\0\0\x01k");
    assert_eq!(numbers_key(), b"collection.numbers\0\0");
}

#[test]
fn a_longest_key_leaves_room_for_its_mark_and_for_some_values() {
    let name = "\0".repeat(declared::NAME_BYTES_MAX);
    let key = vec![0xff; declared::KEY_BYTES_MAX];
    assert!(late_key(&name, u32::MAX, &key).len() <= crate::engine::KEY_BYTES_MAX);
    assert!(crate::keys::collected(&name, &key).len() <= crate::engine::KEY_BYTES_MAX);
}
