//! `snapshot.*` and `store.changes` over the pipes: copies, deltas, and what changed.

use serde_json::{Value, json};

use crate::harness::{Exec, folder, mlp};

fn put(exec: &mut Exec, key: &str, value: Value) {
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": key, "value": value}));
}

#[test]
fn a_store_goes_to_another_engine_and_back_through_files() {
    let (scratch, data) = (folder(), folder());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let mut sled = Exec::start(data.path(), &[]);
    put(&mut sled, "k", json!({"a": 7.0}));
    sled.ok(json!({"op": "version.register", "model": "spam", "artifact": {"base64": "AAEC"}}));
    sled.ok(json!({"op": "job.enqueue", "queue": "q", "kind": "fit"}));
    let full = sled.ok(json!({"op": "snapshot.export", "path": path("full")}));
    assert_eq!(full["kind"], "full");
    assert_eq!(full["digest"], sled.ok(json!({"op": "store.digest"})));
    assert_eq!(full["cursor"], sled.ok(json!({"op": "store.cursor"})));

    let mut memory = Exec::in_memory(&[]);
    assert_eq!(memory.ok(json!({"op": "snapshot.import", "path": path("full")})), full);
    assert_eq!(memory.ok(json!({"op": "store.digest"})), full["digest"]);
    assert_eq!(memory.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"}))["value"], json!({"a": 7.0}));
    let inspected = memory.ok(json!({"op": "snapshot.inspect", "path": path("full")}));
    assert_eq!((&inspected["cursor"], &inspected["base"]), (&full["cursor"], &Value::Null));

    // A delta brings the untouched copy further; once it has written something of its own, none fits.
    put(&mut sled, "k", json!(2));
    let delta = sled.ok(json!({"op": "snapshot.export", "path": path("delta"), "since": full["cursor"]}));
    assert_eq!((&delta["kind"], &delta["digest"]), (&json!("delta"), &Value::Null));
    assert_eq!(memory.ok(json!({"op": "snapshot.import", "path": path("delta")})), delta);
    assert_eq!(memory.ok(json!({"op": "store.digest"})), sled.ok(json!({"op": "store.digest"})));
    put(&mut memory, "own", json!(1));
    let import = |name: &str| json!({"op": "snapshot.import", "path": path(name)}).to_string();
    put(&mut sled, "k", json!(3));
    sled.ok(json!({"op": "snapshot.export", "path": path("next"), "since": delta["cursor"]}));
    assert_eq!(memory.refused(&import("next")).0, "diverged");
    assert_eq!(memory.refused(&import("full")).0, "conflict");
    assert_eq!(memory.refused(&import("absent")).0, "not_found");
    std::fs::write(path("bad"), b"MLPSNAP1").unwrap();
    assert_eq!(memory.refused(&import("bad")).0, "corrupt");
    memory.ok(json!({"op": "snapshot.import", "path": path("full"), "replace": true}));
    assert_eq!(memory.ok(json!({"op": "store.digest"})), full["digest"]);
    assert_eq!(memory.ok(json!({"op": "store.verify"}))["violations"], json!([]));
    assert_eq!(memory.finish().0, Some(0));
}

#[test]
fn changes_are_told_by_namespace_and_key_and_go_on_from_their_cursor() {
    let mut exec = Exec::in_memory(&[]);
    let start = exec.ok(json!({"op": "store.cursor"}));
    put(&mut exec, "a", json!(1));
    put(&mut exec, "b", json!(2));
    exec.ok(json!({"op": "kv.delete", "namespace": "n", "key": "a"}));
    let mut told = Vec::new();
    let mut after = start;
    loop {
        let page = exec.ok(json!({"op": "store.changes", "after": after, "limit": 1}));
        let changes = page["changes"].as_array().unwrap().clone();
        if changes.is_empty() {
            assert_eq!(page["cursor"], after);
            break;
        }
        after = page["cursor"].clone();
        told.extend(changes.iter().map(|change| (change["key"].clone(), change["deleted"].clone())));
    }
    assert_eq!(told, [(json!("a"), json!(false)), (json!("b"), json!(false)), (json!("a"), json!(true))]);
    assert_eq!(exec.refused(r#"{"op":"store.changes","after":"x"}"#).0, "invalid");
    let foreign = "0".repeat(80);
    assert_eq!(exec.refused(&json!({"op": "store.changes", "after": foreign}).to_string()).0, "invalid");
}

#[test]
fn people_export_inspect_import_and_follow_by_commands() {
    let (scratch, data) = (folder(), folder());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let shipped = path("shipped");
    std::fs::create_dir(&shipped).unwrap();
    let run = |arguments: &[&str]| {
        let output = mlp(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), serde_json::from_str::<Value>(&text).unwrap_or(Value::Null))
    };
    let data = data.path().to_str().unwrap();
    let write = |value: u32| {
        let mut exec = Exec::start(std::path::Path::new(data), &[]);
        put(&mut exec, "k", json!(value));
        assert_eq!(exec.finish().0, Some(0));
    };
    write(1);
    let full = format!("{shipped}/0.mlsnap");
    let (code, exported) = run(&["snapshot", "export", "--data", data, &full, "--json"]);
    assert_eq!((code, &exported["kind"]), (Some(0), &json!("full")));
    assert_eq!(run(&["snapshot", "inspect", &full, "--json"]), (Some(0), exported.clone()));
    assert_eq!(run(&["snapshot", "import", "--data", &path("copy"), &full, "--json"]), (Some(0), exported.clone()));
    assert_eq!(run(&["snapshot", "import", "--data", &path("copy"), &full]).0, Some(1), "it has data");
    assert_eq!(run(&["snapshot", "import", "--data", &path("copy"), &full, "--replace"]).0, Some(0));
    assert_eq!(run(&["snapshot", "import", "--data", &path("never"), "absent"]).0, Some(1));
    assert!(!scratch.path().join("never").exists());
    write(2);
    let delta = format!("{shipped}/1.mlsnap");
    let since = exported["cursor"].as_str().unwrap();
    let (code, second) = run(&["snapshot", "export", "--data", data, &delta, "--since", since, "--json"]);
    assert_eq!((code, &second["base"]), (Some(0), &exported["cursor"]));
    let (code, followed) = run(&["replica", "follow", "--once", "--data", &path("replica"), &shipped, "--json"]);
    assert_eq!((code, &followed["cursor"]), (Some(0), &second["cursor"]));
    assert_eq!(followed["taken"], json!([full, delta]));
    let (_, value) = run(&["kv", "get", "--data", &path("replica"), "n", "k", "--json"]);
    assert_eq!(value["value"], 2);
    std::fs::write(&delta, b"short").unwrap();
    assert_eq!(run(&["snapshot", "verify", &delta]).0, Some(1));
}

#[test]
fn an_import_whose_process_is_killed_leaves_the_old_store_or_the_new_one() {
    let (scratch, data) = (folder(), folder());
    let full = scratch.path().join("full").to_str().unwrap().to_owned();
    let mut source = Exec::in_memory(&[]);
    for batch in 0..40 {
        let ops: Vec<Value> = (0..250)
            .map(|n| json!({"op": "put", "namespace": "n", "key": format!("{batch} {n}"), "value": "v".repeat(500)}))
            .collect();
        source.ok(json!({"op": "kv.batch", "ops": ops}));
    }
    let new = source.ok(json!({"op": "snapshot.export", "path": full}))["digest"].clone();
    let mut target = Exec::start(data.path(), &[]);
    put(&mut target, "old", json!(1));
    let old = target.ok(json!({"op": "store.digest"}));
    let import = json!({"op": "snapshot.import", "path": full, "replace": true});
    // However far it comes before it dies: from not at all to nearly done.
    for round in 0..8u32 {
        target.send(&import.to_string());
        (0..1u64 << (round * 3)).for_each(|_| std::thread::yield_now());
        target.kill();
        target = Exec::start(data.path(), &[]);
        let found = target.ok(json!({"op": "store.digest"}));
        assert!(found == old || found == new, "round {round}");
        assert_eq!(target.ok(json!({"op": "store.verify"}))["violations"], json!([]));
    }
    target.ok(import);
    assert_eq!(target.ok(json!({"op": "store.digest"})), new);
}
