//! `mlp stats`, `mlp verify` and `mlp kv`.

use std::process::Stdio;
use std::sync::Arc;

use ml_persistence::Config;
use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Engine, Tree, TxnOptions};
use serde_json::json;

use super::Store;
use crate::harness::mlp;

/// Puts bytes that no record begins with where records stand.
fn damage(store: &Store) {
    let config = Config::new().expect("the defaults");
    let (engine, _) = LocalEngine::open(Arc::new(RealDisk::new()), store.path(), &SledOpener, &config).expect("opens");
    engine
        .transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Models, b"zz", Arc::from(&b"?"[..])))
        .expect("commits");
    engine.close().expect("closes");
}

#[test]
fn values_are_shown_one_by_one_and_in_pages() {
    let put = |key: &str, value| json!({"op": "kv.put", "namespace": "n", "key": key, "value": value});
    let store = Store::of(&[put("a", json!({"x": 1.5})), put("b", json!(null)), put("c", json!("long ".repeat(50)))]);
    for short in ["", "kv "] {
        let command = |rest: &str| format!("{short}{rest}");
        assert_eq!(store.shown(&command("get n a")), "{\"x\":1.5}\n");
        assert_eq!(store.shown(&command("get n a --json")), "{\"value\":{\"x\":1.5}}\n");
        assert!(store.refused(&command("get n none")).contains("no key \"none\""));
        assert_eq!(store.shown(&command("list n b")), "key  value\nb    null\n");
        assert_eq!(store.shown(&command("list n z")), "nothing in namespace \"n\" begins with \"z\"\n");
    }
    assert_eq!(store.shown("kv count n"), "3\n");
    assert_eq!(store.json("kv count n"), json!({"keys": 3}));
    let all = store.shown("kv list n");
    let last = all.lines().last().expect("three rows");
    assert!(last.starts_with("c    \"long long ") && last.ends_with('…') && last.len() < 120, "{last}");

    let first = store.json("kv list n --limit 2");
    assert_eq!(first["entries"], json!([["a", {"x": 1.5}], ["b", null]]));
    let next = first["next"].as_str().expect("there is a third");
    let shown = store.shown("kv list n --limit 2");
    assert!(shown.ends_with(&format!("\nmore with --after {next}, or --all\n")), "{shown}");
    assert_eq!(store.json(&format!("kv list n --limit 2 --after {next}"))["entries"][0][0], "c");
    // With --all: a page a line.
    let pages = store.shown("kv list n --all --limit 2 --json");
    assert_eq!(pages.lines().count(), 2);
    assert!(pages.ends_with("\"next\":null}\n"), "{pages}");
    assert_eq!(store.shown("kv list n --all --limit 2").matches("key  value").count(), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_success_and_no_news() {
    let long = json!({"op": "kv.put", "namespace": "n", "key": "k", "value": "x".repeat(1 << 20)});
    let store = Store::of(&[long]);
    let mut command = mlp(&["kv", "get", "n", "k", "--data"]);
    command.arg(store.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // More than a pipe holds, so the program is still writing.
    drop(child.stdout.take());
    let out = child.wait_with_output().expect("it ends");
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(1), ""));
}

#[test]
fn stats_are_dotted_names_or_one_object() {
    let store = Store::of(&[json!({"op": "kv.put", "namespace": "n", "key": "k", "value": 1})]);
    assert_eq!(store.json("stats")["records"]["kv"], 1);
    let shown = store.shown("stats");
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["records.kv", "1"])), "{shown}");
    assert!(store.json("stats")["storage"]["batch_commits"].is_array() && !shown.contains("batch_commits "), "{shown}");
}

#[test]
fn verify_says_that_all_is_sound_or_counts_and_describes_what_is_not() {
    let store = Store::of(&[json!({"op": "model.create", "name": "m"})]);
    assert!(store.shown("verify").starts_with("sound: "));
    assert_eq!(store.json("verify")["violations_found"], 0);
    damage(&store);

    let told = store.run(&["verify"]);
    assert_eq!((told.code, told.err.as_str()), (Some(1), "`mlp repair` puts right what it can\n"));
    assert!(told.out.contains("violation   tree    count\nunreadable  models  1\n"), "{}", told.out);
    assert!(told.out.lines().any(|line| line.starts_with("unreadable  models  zz   ")), "{}", told.out);
    let told = store.run(&["verify", "--json"]);
    assert_eq!(told.code, Some(1));
    assert!(told.out.contains("\"key\":\"zz\""), "{}", told.out);
    // A damaged row is in the list, beside its neighbours.
    let shown = store.shown("models list");
    assert!(shown.contains("\nm  "), "{shown}");
}

#[test]
fn what_cannot_be_read_is_repaired_into_quarantine_and_discarded_from_there() {
    let store = Store::of(&[json!({"op": "model.create", "name": "m"})]);
    assert!(store.shown("repair").starts_with("nothing to repair: "));
    assert_eq!(store.shown("quarantine list"), "nothing is in quarantine\n");
    damage(&store);
    let repaired = store.shown("repair");
    assert!(repaired.starts_with("repaired             count\nmoved to quarantine  1\n"), "{repaired}");
    assert!(repaired.contains("\nmodels  zz   1      "), "{repaired}");
    assert_eq!(store.json("repair")["quarantined_found"], 0);
    let told = store.run(&["verify"]);
    assert!(told.code == Some(0) && told.out.starts_with("sound: "), "{}", told.out);
    assert_eq!(told.err, "in quarantine: 1 values; see `mlp quarantine list`\n");

    let kept = store.json("quarantine list")["entries"][0].clone();
    let id = kept["id"].as_str().expect("an id");
    assert!(store.shown("quarantine list").contains(id));
    assert!(store.shown(&format!("quarantine show {id}")).contains("\nbegins        3f\n"));
    assert_eq!(store.json(&format!("quarantine show {id}"))["stored"], "3f");
    assert!(store.refused(&format!("quarantine discard {id}")).starts_with("the 1 bytes that lay at zz in models, "));
    assert_eq!(store.shown(&format!("quarantine discard {id} --yes")), format!("{id}: discarded\n"));
    assert!(store.refused(&format!("quarantine show {id}")).contains("there is no"));
    assert_eq!(store.shown("quarantine list"), "nothing is in quarantine\n");
}
