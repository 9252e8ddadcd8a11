//! The commands for people, and the command line itself.

use serde_json::{Value, json};

use crate::harness::{Exec, folder, mlp};

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_printed() {
    let out = mlp(&["exec"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--data DIR is required"));
    let out = mlp(&["--help"]).output().unwrap();
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("mlp exec"));
}

#[test]
fn people_get_answers_or_a_plain_reason_and_no_folder_is_created() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let out = mlp(&["stats", "--data", missing.to_str().unwrap()]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no such folder"));
    assert!(!missing.exists());
    let data = folder.path().to_str().unwrap();
    let out = mlp(&["list", "--data", data, "n"]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("holds no store"));

    let mut exec = Exec::start(folder.path(), &[]);
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "k", "value": {"x": 1.50}}));
    assert_eq!(exec.finish().0, Some(0));
    let shown = |arguments: &[&str]| {
        let out = mlp(arguments).args(["--data", data]).output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    // The number as it was sent: through `json!` 1.50 is 1.5.
    assert_eq!(shown(&["get", "n", "k"]), "{\"x\":1.5}\n");
    assert_eq!(shown(&["get", "n", "k", "--json"]), "{\"value\":{\"x\":1.5}}\n");
    assert_eq!(shown(&["list", "n", "--json"]), "{\"entries\":[[\"k\",{\"x\":1.5}]],\"next\":null}\n");
    assert!(shown(&["list", "n"]).contains("{\"x\":1.5}"));
    assert!(shown(&["verify"]).starts_with("sound"));
    let stats: Value = serde_json::from_str(&shown(&["stats", "--json"])).unwrap();
    assert_eq!(stats["records"]["kv"], 1);
    assert!(shown(&["stats"]).contains("records.kv"));
    let out = mlp(&["stats", "--engine", "memory", "--data", data]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("holds a store of engine `sled`"));
    let out = mlp(&["get", "n", "none", "--data", data]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no key \"none\""));
}
