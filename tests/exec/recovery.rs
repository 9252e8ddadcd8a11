//! Kills, reopenings, locks and repeatability.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Exec, folder};

#[test]
fn a_put_is_answered_and_still_there_after_a_kill() {
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ready["ready"]["engine"], "sled");
    assert_eq!(exec.ready["ready"]["recovery"]["epoch"], 1);
    assert_eq!(
        exec.say(r#"{"op":"kv.put","namespace":"models","key":"a","value":{"x":1}}"#),
        r#"{"id":null,"ok":null}"#
    );
    assert_eq!(exec.say(r#"{"op":"kv.get","namespace":"models","key":"a"}"#), r#"{"id":null,"ok":{"value":{"x":1}}}"#);
    exec.kill();
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ready["ready"]["recovery"]["epoch"], 2);
    assert_eq!(exec.say(r#"{"op":"kv.get","namespace":"models","key":"a"}"#), r#"{"id":null,"ok":{"value":{"x":1}}}"#);
    assert_eq!(exec.finish(), (Some(0), String::new()));
}

#[test]
fn the_memory_engine_keeps_its_folder_and_each_engine_refuses_that_of_the_other() {
    let folder = folder();
    let memory = ["--engine", "memory"];
    let put = r#"{"op":"kv.put","namespace":"n","key":"k","value":[1]}"#;
    let get = r#"{"op":"kv.get","namespace":"n","key":"k"}"#;
    let mut exec = Exec::start(folder.path(), &memory);
    assert_eq!(exec.ready["ready"]["engine"], "memory");
    assert_eq!(exec.say(put), r#"{"id":null,"ok":null}"#);
    exec.kill();
    let mut exec = Exec::start(folder.path(), &memory);
    assert_eq!(exec.ready["ready"]["recovery"]["epoch"], 2);
    assert_eq!(exec.say(get), r#"{"id":null,"ok":{"value":[1]}}"#);
    assert_eq!(exec.finish(), (Some(0), String::new()));

    let refused = Exec::start(folder.path(), &[]);
    assert_eq!(refused.ready["error"]["kind"], "unsupported");
    let message = refused.ready["error"]["message"].as_str().unwrap();
    assert!(message.contains("engine `memory`") && message.contains("open it with that one"), "{message}");
    let sled_folder = crate::harness::folder();
    Exec::start(sled_folder.path(), &[]).kill();
    let refused = Exec::start(sled_folder.path(), &memory);
    assert_eq!(refused.ready["error"]["kind"], "unsupported");
}

#[test]
fn a_power_loss_reply_shows_no_buffered_write_that_a_kill_takes_back() {
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &[]);
    exec.ok(json!({"op": "kv.put", "namespace": "n", "key": "k", "value": 1, "durability": "buffered"}));
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"})), json!({"value": 1}));
    exec.kill();
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ok(json!({"op": "kv.get", "namespace": "n", "key": "k"})), json!({"value": 1}));
}

#[test]
fn a_folder_that_is_open_elsewhere_is_one_error_line_and_exit_code_1() {
    let folder = folder();
    let _first = Exec::start(folder.path(), &[]);
    let mut second = Exec::start(folder.path(), &[]);
    assert_eq!(second.ready["id"], Value::Null);
    assert_eq!(second.ready["error"]["kind"], "unavailable");
    let message = second.ready["error"]["message"].as_str().unwrap();
    assert!(message.contains(folder.path().to_str().unwrap()), "{message}");
    drop(second.input.take());
    assert_eq!(second.finish(), (Some(1), String::new()));
}

/// A run over jobs, models and plain values: everything that ids, time and jitter have a part in.
const SCRIPT: &[&str] = &[
    r#"{"id":1,"op":"job.enqueue","queue":"q","kind":"fit","payload":{"depth":7.0}}"#,
    r#"{"id":2,"op":"job.enqueue_batch","jobs":[{"queue":"q","kind":"a"},{"queue":"q","kind":"b","delay_ms":50}]}"#,
    r#"{"id":3,"op":"job.claim","queues":["q"],"worker":"w","limit":1}"#,
    r#"{"id":4,"op":"clock.advance","ms":70000}"#,
    r#"{"id":5,"op":"job.claim","queues":["q"],"worker":"w","limit":10}"#,
    r#"{"id":6,"op":"job.list"}"#,
    r#"{"id":7,"op":"version.register","model":"m","metrics":{"f1":0.910},"artifact":{"base64":"AAEC"},"by":"ann"}"#,
    r#"{"id":8,"op":"alias.set","model":"m","alias":"prod","version":1}"#,
    r#"{"id":9,"op":"alias.history","model":"m"}"#,
    r#"{"id":10,"op":"kv.put","namespace":"n","key":"k","value":[1.0]}"#,
    r#"{"id":11,"op":"store.cursor"}"#,
    r#"{"id":12,"op":"store.digest"}"#,
    r#"{"id":13,"op":"store.verify"}"#,
];

#[test]
fn the_same_input_under_seed_and_manual_clock_gives_the_same_bytes_and_ids_do_not_repeat_after_reopening() {
    let arguments = ["--seed", "7", "--clock", "manual", "--now", "1000000"];
    let run = |folder: &Path| {
        let mut exec = Exec::start(folder, &arguments);
        let mut said = vec![exec.ready.to_string()];
        said.extend(SCRIPT.iter().map(|line| exec.say(line)));
        assert_eq!(exec.finish(), (Some(0), String::new()));
        said
    };
    let (one, other) = (folder(), folder());
    let first = run(one.path());
    let second_opening = run(one.path());
    assert_eq!(first, run(other.path()));
    assert_eq!(second_opening, run(other.path()));
    let enqueued = |said: &[String]| serde_json::from_str::<Value>(&said[1]).unwrap()["ok"]["job"].clone();
    assert!(enqueued(&first).is_string());
    assert_ne!(enqueued(&first), enqueued(&second_opening));
    assert!(first[13].contains(r#""violations":[]"#), "{}", first[13]);
}

#[test]
fn whatever_was_answered_before_a_kill_under_load_is_there_after_it() {
    kill_under_load(&[]);
}

#[test]
fn the_memory_engine_with_a_folder_loses_nothing_to_a_kill_under_load() {
    kill_under_load(&["--engine", "memory"]);
}

fn kill_under_load(engine: &[&str]) {
    const SENT: u64 = 600;
    let folder = folder();
    let (mut acknowledged, mut versions) = (Vec::new(), 0);
    for round in 0..4u64 {
        let mut exec = Exec::start(folder.path(), &[&["--parallel", "8"], engine].concat());
        let mut input = exec.input.take().unwrap();
        let sender = std::thread::spawn(move || {
            for number in 0..SENT {
                let request = match number % 3 {
                    0 => {
                        json!({"id": "version", "op": "version.register", "model": "m", "artifact": {"base64": "AAEC"}})
                    }
                    // One value in so many lies in pieces.
                    step => {
                        let (key, bytes) = (format!("{round}-{number}"), if number % 50 == step { 40_000 } else { 5 });
                        let value = "x".repeat(bytes);
                        json!({"id": key, "op": "kv.put", "namespace": "n", "key": key, "value": value})
                    }
                };
                if writeln!(input, "{request}").is_err() {
                    // The program was killed, as it was meant to be.
                    return;
                }
            }
        });
        for _ in 0..SENT / 4 + round * 50 {
            let reply = exec.read();
            assert!(reply.get("error").is_none(), "{reply}");
            match reply["id"].as_str().unwrap() {
                "version" => versions = versions.max(reply["ok"]["version"].as_u64().unwrap()),
                key => acknowledged.push(key.to_owned()),
            }
        }
        exec.kill();
        sender.join().unwrap();
        let mut exec = Exec::start(folder.path(), engine);
        for key in &acknowledged {
            assert!(!exec.ok(json!({"op": "kv.get", "namespace": "n", "key": key})).is_null(), "{key} is gone");
        }
        let model = exec.ok(json!({"op": "model.get", "name": "m"}));
        assert!(model["last_version"].as_u64().unwrap() >= versions, "{model}");
        assert_eq!(model["last_version"], model["versions"]);
        assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
        exec.kill();
    }
}
