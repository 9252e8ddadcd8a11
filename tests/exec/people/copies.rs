//! `mlp snapshot` and `mlp replica`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Store, told};
use crate::harness::{folder, mlp};

fn store_of_two() -> Store {
    let put = |key: &str| json!({"op": "kv.put", "namespace": "n", "key": key, "value": 1});
    Store::of(&[put("a"), put("b")])
}

fn digest(told: &Value) -> String {
    told["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn what_was_exported_is_verified_inspected_imported_and_told_in_tables_and_json() {
    let (store, copies) = (store_of_two(), folder());
    let file = copies.path().join("full.mlsnap").display().to_string();
    let exported = store.json(&format!("snapshot export {file}"));
    assert_eq!((&exported["kind"], exported["records"].as_u64() > Some(0)), (&json!("full"), true));
    for command in ["inspect", "verify"] {
        let json = told(&["snapshot", command, &file, "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&json.out).expect("JSON"), exported);
        let table = told(&["snapshot", command, &file]);
        assert!(table.out.contains("cursor") && table.out.contains(&digest(&exported)), "{}", table.out);
        assert_eq!(table.err, "", "no bar where nobody looks");
    }
    let target = Store(folder());
    assert_eq!(digest(&target.json(&format!("snapshot import {file}"))), digest(&exported));
    let refused = target.refused(&format!("snapshot import {file}"));
    assert!(refused.contains("the store has data") && refused.contains("replace"), "{refused}");
    target.shown(&format!("snapshot import {file} --replace"));
    let missing = told(&["snapshot", "verify", "/none/such"]);
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""));
    assert!(missing.err.contains("/none/such"), "{}", missing.err);
    std::fs::write(&file, "no snapshot at all").expect("written");
    let wrong = told(&["snapshot", "verify", &file]);
    assert!(wrong.code == Some(1) && wrong.err.contains("snapshot"), "{}", wrong.err);
    // Only commands that open a store ask for one.
    assert!(!told(&["help", "snapshot", "inspect"]).out.contains("--data DIR"));
    assert!(told(&["help", "snapshot", "import"]).out.contains("--data DIR"));
}

#[test]
fn a_store_is_rebuilt_from_a_snapshot_and_the_one_before_is_kept() {
    let (store, copies) = (store_of_two(), folder());
    let file = copies.path().join("full.mlsnap").display().to_string();
    let exported = store.json(&format!("snapshot export {file}"));
    assert_eq!(store.json("stats")["rebuildable"], json!(true));
    assert!(store.shown("stats").contains("rebuildable") && store.shown("stats").contains("yes"));
    let damaged = store.path().join("gen-00000001/store/db");
    std::fs::write(&damaged, "what the disk made of it").expect("damaged");
    let rebuilt = store.json(&format!("snapshot rebuild {file}"));
    assert_eq!(digest(&rebuilt), digest(&exported));
    let kept = rebuilt["damaged_store"].as_str().expect("where it lies");
    assert_eq!(std::fs::read(format!("{kept}/db")).expect("kept"), b"what the disk made of it");
    // Without a file: here the journal reaches back to the start.
    assert!(store.shown("snapshot rebuild").contains("store.damaged-2"));
    std::fs::write(&damaged, "again").expect("damaged");
    let opened = store.run(&["models", "create", "m"]);
    // sled takes this for an empty database, and the journal makes up for it; had it refused, the store were moved aside.
    assert_eq!(opened.code, Some(0), "{}", opened.err);
    assert!(told(&["snapshot", "rebuild", "--data", "/none/such"]).err.contains("no store"));
}

#[test]
fn a_replica_follows_once_or_until_it_is_told_to_stop() {
    let (mut store, shipped, replica) = (store_of_two(), folder(), Store(folder()));
    let path = |name: &str| shipped.path().join(name).display().to_string();
    let ship = |store: &mut Store, name: &str, since: Option<&str>| -> String {
        let since = since.map(|since| format!(" --since {since}")).unwrap_or_default();
        let exported = store.json(&format!("snapshot export {}{since}", path(name)));
        exported["cursor"].as_str().expect("a cursor").to_owned()
    };
    let folder = shipped.path().display().to_string();
    assert!(replica.shown(&format!("replica follow {folder} --once")).contains("nothing was applied yet"));
    let first = ship(&mut store, "0.mlsnap", None);
    let once = replica.json(&format!("replica follow {folder} --once"));
    assert_eq!(once, json!({"taken": [path("0.mlsnap")], "cursor": first}));

    let data = replica.path().display().to_string();
    let mut child = mlp(&["replica", "follow", &folder, "--json", "--data", &data])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next(), json!({"taken": [], "cursor": first}));
    let exec = store.exec();
    assert_eq!(exec.finish().0, Some(0));
    let second = ship(&mut store, "1.mlsnap", Some(&first));
    assert_eq!(next(), json!({"taken": [path("1.mlsnap")], "cursor": second}));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    // In good order: it can be opened at once, and stands where it stood.
    assert_eq!(replica.json(&format!("replica follow {folder} --once")), json!({"taken": [], "cursor": second}));
}
