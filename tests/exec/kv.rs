//! The plain contract through exec.

use serde_json::{Value, json};

use crate::harness::{Exec, folder};

#[test]
fn values_come_back_as_they_were_written() {
    let mut exec = Exec::in_memory(&[]);
    for value in ["7", "7.0", "-9223372036854775808", "18446744073709551616", "1e2", r#"{"b":[1.50,"\u00e9"],"a":{}}"#]
    {
        exec.say(&format!(r#"{{"op":"kv.put","namespace":"n","key":"k","value":{value}}}"#));
        let reply = exec.say(r#"{"op":"kv.get","namespace":"n","key":"k"}"#);
        assert_eq!(reply, format!(r#"{{"id":null,"ok":{{"value":{value}}}}}"#));
    }
}

#[test]
fn lists_walk_every_key_once_in_order_and_stay_in_their_namespace() {
    let mut exec = Exec::in_memory(&[]);
    let put = |key: &str| json!({"op": "put", "namespace": "a", "key": key, "value": key.len()});
    let mut keys: Vec<String> = (0..25).map(|n| format!("k{n}")).chain(["é".to_owned(), "\u{0}".to_owned()]).collect();
    let ops: Vec<Value> = keys.iter().map(|key| put(key)).collect();
    exec.ok(json!({"op": "kv.batch", "ops": ops}));
    exec.ok(json!({"op": "kv.put", "namespace": "a\u{0}", "key": "k", "value": 1}));
    exec.ok(json!({"op": "kv.put", "namespace": "ab", "key": "k", "value": 1}));
    keys.sort();
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = exec.ok(json!({"op": "kv.list", "namespace": "a", "after": after, "limit": 4}));
        let entries = page["entries"].as_array().unwrap();
        seen.extend(entries.iter().map(|entry| entry[0].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
        assert_eq!(entries.len(), 4);
    }
    assert_eq!(seen, keys);
    let page = exec.ok(json!({"op": "kv.list", "namespace": "a", "prefix": "k1", "limit": 1000}));
    assert_eq!(page["entries"].as_array().unwrap().len(), 11);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(exec.refused(r#"{"op":"kv.list","namespace":"a","prefix":"k1","after":"k2"}"#).0, "invalid");
}

#[test]
fn counts_follow_puts_deletes_batches_and_clears() {
    let mut exec = Exec::in_memory(&[]);
    let count = json!({"op": "kv.count", "namespace": "n"});
    let put = |key: &str| json!({"op": "put", "namespace": "n", "key": key, "value": 1});
    let delete = |key: &str| json!({"op": "delete", "namespace": "n", "key": key});
    exec.ok(json!({"op": "kv.batch", "ops": [put("a"), put("a"), delete("a"), put("b"), delete("c"), put("a")]}));
    assert_eq!(exec.ok(count.clone()), 2);
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "a", "value": 2}));
    exec.ok(json!({"op": "kv.delete", "namespace": "n", "key": "b"}));
    exec.ok(json!({"op": "kv.delete", "namespace": "n", "key": "b"}));
    assert_eq!(exec.ok(count.clone()), 1);
    for batch in 0..3 {
        let ops: Vec<Value> = (0..900).map(|n| put(&format!("{batch}-{n}"))).collect();
        exec.ok(json!({"op": "kv.batch", "ops": ops}));
    }
    exec.ok(json!({"op": "kv.put", "namespace": "other", "key": "a", "value": 2}));
    assert_eq!(exec.ok(json!({"op": "kv.clear", "namespace": "n"})), 2701);
    assert_eq!(exec.ok(count), 0);
    assert_eq!(exec.ok(json!({"op": "kv.clear", "namespace": "n"})), 0);
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": "other"})), 1);
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

#[test]
fn a_batch_with_one_bad_write_changes_nothing() {
    let mut exec = Exec::in_memory(&[]);
    let long = "k".repeat(513);
    let ops = json!([
        {"op": "put", "namespace": "n", "key": "good", "value": 1},
        {"op": "put", "namespace": "n", "key": long, "value": 1},
    ]);
    assert_eq!(exec.refused(&json!({"op": "kv.batch", "ops": ops}).to_string()).0, "invalid");
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "good"})), Value::Null);
}

#[test]
fn values_up_to_sixteen_mebibytes_are_kept_and_larger_ones_refused() {
    const MAX: usize = 16 << 20;
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &[]);
    // Two of the bytes are the quotes.
    let largest = "x".repeat(MAX - 2);
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "k", "value": largest}));
    let (kind, message) =
        exec.refused(&json!({"op": "kv.put", "namespace": "n", "key": "k", "value": "y".repeat(MAX - 1)}).to_string());
    assert!(kind == "invalid" && message.starts_with("value"), "{kind}: {message}");
    exec.kill();
    let mut exec = Exec::start(folder.path(), &[]);
    assert!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"}))["value"] == largest.as_str());
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "k", "value": "small"}));
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"})), json!({"value": "small"}));
    assert_eq!(exec.ok(json!({"op": "kv.clear", "namespace": "n"})), 1);
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

#[test]
fn the_longest_names_of_the_hardest_bytes_are_keys() {
    let mut exec = Exec::in_memory(&[]);
    let (namespace, key) = ("\u{0}".repeat(255), "\u{0}".repeat(512));
    exec.ok(json!({"op": "kv.put", "namespace": namespace, "key": key, "value": 1}));
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": namespace, "key": key})), json!({"value": 1}));
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": namespace})), 1);
}
