//! Models, versions and aliases through exec.

use serde_json::{Value, json};

use crate::harness::Exec;

#[test]
fn versions_pointers_and_artifacts_are_answered_with_every_field() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "5"]);
    let register = r#"{"op":"version.register","model":"m","metrics":{"f1":0.910},"hyperparams":{"d":[7.0]},"tags":{"a":"b"},"properties":{"p":7.0,"raw":{"base64":"AAE="}},"artifact":{"base64":"AAEC"}}"#;
    let reply = exec.say(register);
    for written in [r#""metrics":{"f1":0.910}"#, r#""hyperparams":{"d":[7.0]}"#, r#""p":7.0"#, r#"{"base64":"AAE="}"#] {
        assert!(reply.contains(written), "{written}: {reply}");
    }
    let version = serde_json::from_str::<Value>(&reply).unwrap()["ok"].clone();
    let fields: Vec<&String> = version.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "aliases",
            "archived",
            "artifact",
            "created_at",
            "created_by",
            "description",
            "hyperparams",
            "last_used_at",
            "metrics",
            "model",
            "parent_version",
            "properties",
            "revision",
            "run_id",
            "source",
            "stage",
            "tags",
            "training_data_hash",
            "updated_at",
            "version",
        ]
    );
    assert_eq!(exec.ok(json!({"op": "version.artifact", "model": "m", "version": 1})), json!({"base64": "AAEC"}));
    exec.ok(json!({"op": "version.register", "model": "m", "make_active": false}));
    let model = exec.ok(json!({"op": "alias.set", "model": "m", "alias": "prod", "version": 2}));
    assert_eq!((&model["aliases"], &model["active_version"]), (&json!({"prod": 2}), &json!(1)));
    let fields: Vec<&String> = model.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "active_version",
            "aliases",
            "archived",
            "archived_versions",
            "created_at",
            "description",
            "last_version",
            "name",
            "properties",
            "revision",
            "tags",
            "updated_at",
            "versions",
        ]
    );
    assert_eq!(exec.ok(json!({"op": "version.get", "model": "m", "alias": "prod"}))["version"], 2);
    assert_eq!(exec.ok(json!({"op": "version.get", "model": "m", "version": 9})), Value::Null);
    assert_eq!(exec.refused(r#"{"op":"version.get","model":"m","version":1,"alias":"prod"}"#).0, "invalid");
    let stale = json!({"op": "version.activate", "model": "m", "version": 2, "expected_revision": 1});
    assert_eq!(exec.refused(&stale.to_string()).0, "conflict");
    exec.ok(json!({"op": "version.archive", "model": "m", "version": 2}));
    assert_eq!(exec.refused(r#"{"op":"version.activate","model":"m","version":2}"#).0, "conflict");
    let page = exec.ok(json!({"op": "version.list", "model": "m", "page_size": 1}));
    assert_eq!(page["versions"][0]["version"], 1);
    let page =
        exec.ok(json!({"op": "version.list", "model": "m", "page_size": 1, "page_token": page["next_page_token"]}));
    assert_eq!((&page["versions"][0]["version"], &page["next_page_token"]), (&json!(2), &Value::Null));
    assert_eq!(exec.refused(r#"{"op":"version.list","model":"none"}"#).0, "not_found");
    let found = json!({"op": "version.list", "model": "m", "filter": "version > 1", "order_by": ["version desc"],
        "explain": true});
    let found = exec.ok(found);
    assert_eq!((&found["versions"][0]["version"], &found["next_page_token"]), (&json!(2), &Value::Null));
    assert_eq!(found["plan"]["by_index"], json!(["version > 1"]));
    let (kind, message) = exec.refused(r#"{"op":"version.list","filter":"nmae = 'm'"}"#);
    assert_eq!(kind, "invalid");
    assert!(message.starts_with("filter: unknown field `nmae` at column 1"), "{message}");
    assert_eq!(exec.refused(r#"{"op":"model.list","order_by":["description"]}"#).0, "invalid");
    assert_eq!(exec.refused(r#"{"op":"model.create","name":"m"}"#).0, "already_exists");
    assert_eq!(exec.ok(json!({"op": "model.list"}))["models"][0]["name"], "m");
    assert_eq!(exec.ok(json!({"op": "model.summary"}))["versions"], json!({"total": 2, "live": 1, "archived": 1}));
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}
