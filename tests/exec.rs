//! `mlp exec` as its callers meet it: the real program, its standard input and output.
#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A running `mlp exec`.
struct Exec {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    ready: Value,
}

fn mlp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlp"));
    command.args(arguments);
    command
}

fn exec_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = mlp(&["exec", "--data"]);
    command.arg(folder).args(arguments);
    command
}

impl Exec {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::run(exec_command(folder, arguments))
    }

    fn in_memory(arguments: &[&str]) -> Self {
        let mut command = mlp(&["exec", "--engine", "memory"]);
        command.args(arguments);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut exec = Exec { child, input, output, ready: Value::Null };
        exec.ready = exec.read();
        exec
    }

    fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    fn read(&mut self) -> Value {
        let line = self.read_line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The reply to one request as it was printed.
    fn say(&mut self, line: &str) -> String {
        self.send(line);
        self.read_line()
    }

    fn ask(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        self.read()
    }

    /// What the request answers behind `ok`.
    fn ok(&mut self, request: Value) -> Value {
        let reply = self.ask(request.clone());
        reply.get("ok").unwrap_or_else(|| panic!("{request} answered {reply}")).clone()
    }

    /// The kind and message of the error that the line answers.
    fn refused(&mut self, line: &str) -> (String, String) {
        let reply: Value = serde_json::from_str(&self.say(line)).unwrap();
        let text = |field: &str| {
            reply["error"][field].as_str().unwrap_or_else(|| panic!("{line} answered {reply}")).to_owned()
        };
        (text("kind"), text("message"))
    }

    /// Ends the input; answers the exit code and what was still printed.
    fn finish(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    /// Ends the process as a crash would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // A failing test must not leave a process behind; one that has ended is no news.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

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
        (r#"{"op":"kv.batch","ops":[]}"#, "ops"),
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
fn what_the_page_names_and_no_issue_has_brought_is_unsupported() {
    let mut exec = Exec::in_memory(&[]);
    assert_eq!(exec.refused(r#"{"op":"snapshot.export","path":"x"}"#).0, "unsupported");
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

#[test]
fn the_manual_clock_moves_only_when_told_and_the_systems_not_at_all() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    assert_eq!(exec.ok(json!({"op": "clock.advance", "ms": 5})), 1005);
    assert_eq!(exec.ok(json!({"op": "clock.advance", "ms": 0})), 1005);
    assert_eq!(exec.refused(r#"{"op":"clock.advance","ms":-1}"#).0, "invalid");
    let mut exec = Exec::in_memory(&[]);
    assert_eq!(exec.refused(r#"{"op":"clock.advance","ms":1}"#).0, "unsupported");
}

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
    let out = mlp(&["get", "n", "none", "--data", data]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no key \"none\""));
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
fn a_job_runs_from_enqueue_to_completion_and_its_token_is_over() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    let enqueued = exec.ok(json!({"op": "job.enqueue", "queue": "q", "kind": "fit", "payload": null, "priority": 3}));
    assert_eq!(enqueued["outcome"], "inserted");
    let claims = exec.ok(json!({"op": "job.claim", "queues": ["other", "q"], "worker": "w", "lease_ms": 500}));
    let (job, token) = (&claims[0]["job"], &claims[0]["token"]);
    assert_eq!(claims.as_array().unwrap().len(), 1);
    assert_eq!((&job["id"], &job["state"], &job["attempt"]), (&enqueued["job"], &json!("executing"), &json!(1)));
    assert_eq!((&job["priority"], &job["lease_expires_at"], &job["worker"]), (&json!(3), &json!(1500), &json!("w")));
    assert_eq!(exec.ok(json!({"op": "job.heartbeat", "token": token})), json!({"cancel_requested": false}));
    assert_eq!(exec.ok(json!({"op": "job.progress", "token": token, "percent": 50, "checkpoint": [1]})), Value::Null);
    let line = format!(r#"{{"op":"job.complete","token":{token},"result":{{"f1":0.910}}}}"#);
    assert!(exec.say(&line).contains(r#""result":{"f1":0.910}"#));
    assert_eq!(exec.refused(&line).0, "lease_lost");
    assert_eq!(exec.refused(r#"{"op":"job.complete","token":"abc"}"#).0, "invalid");
    let counts = exec.ok(json!({"op": "job.counts", "queue": "q"}));
    assert_eq!((&counts["q"]["completed"], &counts["q"]["available"]), (&json!(1), &json!(0)));
    assert_eq!(exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w", "wait_ms": 60000})), json!([]));
    let attempts = exec.ok(json!({"op": "job.attempts", "job": enqueued["job"]}));
    assert_eq!(attempts[0]["reason"], "completed");
    let fields: Vec<&String> = job.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "attempt",
            "cancel_requested",
            "checkpoint",
            "crash_count",
            "enqueued_at",
            "error",
            "finished_at",
            "id",
            "kind",
            "lease_expires_at",
            "max_attempts",
            "max_crashes",
            "payload",
            "priority",
            "progress",
            "queue",
            "reason",
            "result",
            "revision",
            "run_at",
            "started_at",
            "state",
            "target",
            "unique_key",
            "worker",
        ]
    );
}

#[test]
fn a_job_claimed_before_a_kill_is_taken_back_with_a_crash_and_one_before_a_clean_end_without() {
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &[]);
    let job = exec.ok(json!({"op": "job.enqueue", "queue": "q", "kind": "fit"}))["job"].clone();
    exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w"}));
    exec.kill();
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ready["ready"]["recovery"]["jobs_requeued"], 1);
    let taken_back = exec.ok(json!({"op": "job.get", "job": job}));
    assert_eq!((&taken_back["state"], &taken_back["crash_count"]), (&json!("available"), &json!(1)));
    exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w"}));
    assert_eq!(exec.finish(), (Some(0), String::new()));
    let mut exec = Exec::start(folder.path(), &[]);
    assert_eq!(exec.ready["ready"]["recovery"]["jobs_requeued"], 0);
    let released = exec.ok(json!({"op": "job.get", "job": job}));
    assert_eq!((&released["state"], &released["crash_count"]), (&json!("available"), &json!(1)));
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

#[test]
fn a_claim_that_waits_is_answered_by_an_enqueue_of_another_request() {
    let mut exec = Exec::in_memory(&["--parallel", "2"]);
    exec.send(r#"{"id":"claim","op":"job.claim","queues":["q"],"worker":"w","wait_ms":60000}"#);
    exec.send(r#"{"id":"enqueue","op":"job.enqueue","queue":"q","kind":"fit"}"#);
    let replies = [exec.read(), exec.read()];
    let of = |id: &str| &replies.iter().find(|reply| reply["id"] == id).unwrap()["ok"];
    assert_eq!(of("claim")[0]["job"]["id"], of("enqueue")["job"]);
}

#[test]
fn bad_job_requests_are_invalid_and_name_the_field() {
    let mut exec = Exec::in_memory(&[]);
    for (line, names) in [
        (r#"{"op":"job.enqueue","queue":"q"}"#, "kind"),
        (r#"{"op":"job.enqueue","queue":"","kind":"k"}"#, "queue"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","priority":256}"#, "priority"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","run_at":1,"delay_ms":1}"#, "run_at"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","backoff":{"base":1}}"#, "backoff"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","job":"xyz"}"#, "job"),
        (
            r#"{"op":"job.enqueue_batch","jobs":[{"queue":"q","kind":"k"},{"queue":"q","kind":"k","id":1}]}"#,
            "jobs[1].id",
        ),
        (r#"{"op":"job.enqueue_batch","jobs":[{"queue":"q","kind":"k"},{"queue":"q","kind":7}]}"#, "jobs[1].kind"),
        (r#"{"op":"job.claim","queues":"q","worker":"w"}"#, "queues"),
        (r#"{"op":"job.claim","queues":[],"worker":"w"}"#, "queues"),
        (r#"{"op":"job.claim","queues":["q"],"worker":"w","wait_ms":60001}"#, "wait_ms"),
        (r#"{"op":"job.claim","queues":["q"],"worker":"w","lease_ms":0}"#, "lease_ms"),
        (r#"{"op":"job.list","state":"running"}"#, "state"),
        (r#"{"op":"job.get","job":"ABC"}"#, "job"),
    ] {
        let (kind, message) = exec.refused(line);
        assert!(kind == "invalid" && message.contains(names), "{line}: {kind}: {message}");
    }
    assert_eq!(exec.ok(json!({"op": "job.counts"})), json!({}));
    assert_eq!(exec.refused(&json!({"op": "job.cancel", "job": "0".repeat(31) + "1"}).to_string()).0, "not_found");
}

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
    assert_eq!(exec.refused(r#"{"op":"version.list","model":"m","filter":"version > 1"}"#).0, "unsupported");
    assert_eq!(exec.refused(r#"{"op":"model.create","name":"m"}"#).0, "already_exists");
    assert_eq!(exec.ok(json!({"op": "model.list"}))["models"][0]["name"], "m");
    assert_eq!(exec.ok(json!({"op": "model.summary"}))["versions"], json!({"total": 2, "live": 1, "archived": 1}));
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}
