//! Lines, ids, fields, limits and order of replies: what holds for every operation.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::{Exec, folder};

#[test]
fn the_first_line_has_exactly_the_fields_of_the_page() {
    let mut exec = Exec::in_memory(&[]);
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&exec.ready), ["ready"]);
    assert_eq!(fields(&exec.ready["ready"]), ["engine", "format_version", "recovery"]);
    assert_eq!(
        fields(&exec.ready["ready"]["recovery"]),
        [
            "epoch",
            "jobs_cancelled",
            "jobs_discarded",
            "jobs_requeued",
            "ms",
            "quarantined",
            "rebuilt",
            "repaired",
            "replayed",
        ]
    );
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": "n"})), 0);
}

#[test]
fn the_id_comes_back_as_it_was_written_whatever_became_of_the_request() {
    let mut exec = Exec::in_memory(&[]);
    for id in ["7.0", "1e3", r#"{"b": 1, "a": [null]}"#, "\"x\\u0041\"", "123456789012345678901234567890"] {
        let reply = exec.say(&format!(r#"{{"id":{id},"op":"kv.count","namespace":"n"}}"#));
        assert_eq!(reply, format!(r#"{{"id":{id},"ok":0}}"#));
        let reply = exec.say(&format!(r#"{{"op":"kv.none","id":{id}}}"#));
        assert!(reply.starts_with(&format!(r#"{{"id":{id},"error":{{"kind":"invalid","#)), "{reply}");
    }
}

#[test]
fn bad_requests_are_invalid_name_the_field_and_the_run_goes_on() {
    let mut exec = Exec::in_memory(&[]);
    let long_key = format!(r#"{{"op":"kv.get","namespace":"n","key":"{}"}}"#, "k".repeat(513));
    for (line, names) in [
        ("", "request"),
        ("nonsense", "request"),
        ("[1]", "request"),
        ("{}", "op"),
        (r#"{"op":"kv.get","namespace":"n","key":"k"} {}"#, "request"),
        (r#"{"op":7}"#, "op"),
        (r#"{"op":"kv.steal"}"#, "kv.steal"),
        (r#"{"op":"kv.get","namespace":"n"}"#, "key"),
        (r#"{"op":"kv.get","namespace":"n","key":null}"#, "key"),
        (r#"{"op":"kv.get","namespace":"n","key":3}"#, "key"),
        (r#"{"op":"kv.get","namespace":"n","key":"k","colour":1}"#, "colour"),
        (r#"{"op":"kv.get","namespace":"n","key":"k","key":"k"}"#, "key"),
        (r#"{"op":"kv.get","namespace":"","key":"k"}"#, "namespace"),
        (r#"{"op":"kv.put","namespace":"n","key":"k"}"#, "value"),
        (r#"{"op":"kv.put","namespace":"n","key":"k","value":1,"durability":"soon"}"#, "durability"),
        (r#"{"op":"kv.list","namespace":"n","limit":0}"#, "limit"),
        (r#"{"op":"kv.list","namespace":"n","limit":1001}"#, "limit"),
        (r#"{"op":"kv.list","namespace":"n","limit":1.0}"#, "limit"),
        (r#"{"op":"kv.list","namespace":"n","after":""}"#, "after"),
        (r#"{"op":"kv.batch","ops":[]}"#, "ops"),
        (r#"{"op":"model.create","name":""}"#, "name: 1..=256"),
        (r#"{"op":"model.get","name":" a"}"#, "name:"),
        (r#"{"op":"model.update","name":"a\u0007"}"#, "name:"),
        (r#"{"op":"version.register","model":""}"#, "model:"),
        (r#"{"op":"version.register","model":"m","artifact":{"base64":"AQI"}}"#, "artifact.base64:"),
        (r#"{"op":"version.register","model":"m","artifact":{"uri":"u","sha256":"A","bytes":1}}"#, "artifact.sha256:"),
        (r#"{"op":"kv.batch","ops":[{"op":"put","namespace":"n","key":"k","value":1},{"op":"add"}]}"#, "ops[1]."),
        (r#"{"op":"kv.batch","ops":[{"op":"put","namespace":"n","key":"k","valeu":1}]}"#, "ops[0].valeu"),
        (long_key.as_str(), "key"),
    ] {
        let (kind, message) = exec.refused(line);
        assert_eq!(kind, "invalid", "{line}: {message}");
        assert!(message.contains(names), "{line}: {message}");
    }
    exec.input.as_mut().unwrap().write_all(b"\"\xff\"\n").unwrap();
    assert_eq!(exec.read()["error"]["kind"], "invalid");
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": "n"})), 0);
    assert_eq!(exec.finish(), (Some(0), String::new()));
}

#[test]
fn null_counts_as_left_out_except_where_it_is_a_value() {
    let mut exec = Exec::in_memory(&[]);
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "k", "value": null, "durability": null}));
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"})), json!({"value": null}));
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "other"})), Value::Null);
    let page = exec.ok(json!({"op": "kv.list", "namespace": "n", "prefix": null, "after": null, "limit": null}));
    assert_eq!(page, json!({"entries": [["k", null]], "next": null}));
}

#[test]
fn a_line_over_the_bound_is_one_invalid_reply_and_the_next_line_is_read() {
    let mut exec = Exec::in_memory(&[]);
    let line = format!(r#"{{"id":1,"op":"kv.put","namespace":"n","key":"k","value":"{}"}}"#, "x".repeat(40 << 20));
    let (kind, message) = exec.refused(&line);
    assert!(kind == "invalid" && message.contains("33554432"), "{message}");
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": "n"})), 0);
}

#[test]
fn the_last_line_needs_no_line_feed() {
    let mut exec = Exec::in_memory(&[]);
    exec.input.as_mut().unwrap().write_all(br#"{"op":"kv.count","namespace":"n"}"#).unwrap();
    assert_eq!(exec.finish(), (Some(0), "{\"id\":null,\"ok\":0}\n".to_owned()));
}

#[test]
fn requests_worked_on_at_once_are_each_answered_once_also_at_the_end_of_input() {
    const REQUESTS: usize = 500;
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &["--parallel", "8"]);
    let mut input = exec.input.take().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 0..REQUESTS {
            let request = json!({"id": id, "op": "kv.put", "namespace": "n", "key": format!("k{id}"), "value": id});
            writeln!(input, "{request}").unwrap();
        }
    });
    let mut replies = Vec::new();
    exec.output.read_to_end(&mut replies).unwrap();
    sender.join().unwrap();
    let mut ids: Vec<u64> = String::from_utf8(replies)
        .unwrap()
        .lines()
        .map(|line| {
            let reply: Value = serde_json::from_str(line).unwrap();
            assert_eq!(reply["ok"], Value::Null, "{reply}");
            assert!(reply.get("error").is_none(), "{reply}");
            reply["id"].as_u64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..REQUESTS as u64).collect::<Vec<_>>());
    assert_eq!(exec.child.wait().unwrap().code(), Some(0));
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ok(json!({"op": "kv.count", "namespace": "n"})), REQUESTS);
}

#[test]
fn the_manual_clock_moves_only_when_told_and_the_systems_not_at_all() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    assert_eq!(exec.ok(json!({"op": "clock.advance", "ms": 5})), 1005);
    assert_eq!(exec.ok(json!({"op": "clock.advance", "ms": 0})), 1005);
    assert_eq!(exec.refused(r#"{"op":"clock.advance","ms":-1}"#).0, "invalid");
    let mut exec = Exec::in_memory(&[]);
    assert_eq!(exec.refused(r#"{"op":"clock.advance","ms":1}"#).0, "unsupported");
}
