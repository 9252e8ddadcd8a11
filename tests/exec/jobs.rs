//! The job queue through exec.

use serde_json::{Value, json};

use crate::harness::{Exec, folder};

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
        (r#"{"op":"job.list","queue":""}"#, "queue"),
        (r#"{"op":"job.list","kind":""}"#, "kind"),
        (r#"{"op":"job.counts","queue":""}"#, "queue"),
        (r#"{"op":"job.prune","queue":""}"#, "queue"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","backoff":[1,2,3,4]}"#, "backoff"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","backoff":{"factor":"2"}}"#, "backoff"),
        (r#"{"op":"job.enqueue","queue":"q","kind":"k","backoff":{"factor":0,"max_ms":null}}"#, "backoff: factor"),
        (r#"{"op":"job.get","job":"ABC"}"#, "job"),
    ] {
        let (kind, message) = exec.refused(line);
        assert!(kind == "invalid" && message.contains(names), "{line}: {kind}: {message}");
    }
    assert_eq!(exec.ok(json!({"op": "job.counts"})), json!({}));
    assert_eq!(exec.refused(&json!({"op": "job.cancel", "job": "0".repeat(31) + "1"}).to_string()).0, "not_found");
}

/// A worker that overran its lease by a moment used to lose its work: the claim half of `complete_and_claim` took the
/// lease back just before the completion half came to it.
#[test]
fn complete_and_claim_finishes_a_claim_whose_lease_has_just_run_out_and_takes_back_the_others() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    exec.ok(json!({"op": "job.enqueue_batch", "jobs": [{"queue": "q", "kind": "k"}, {"queue": "q", "kind": "k"}]}));
    let claims = exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w", "limit": 2, "lease_ms": 50}));
    exec.ok(json!({"op": "clock.advance", "ms": 50}));
    let next = exec.ok(json!({
        "op": "job.complete_and_claim", "token": claims[1]["token"], "result": 7, "queues": ["q"], "worker": "w"
    }));
    let done = exec.ok(json!({"op": "job.get", "job": claims[1]["job"]["id"]}));
    assert_eq!((&done["state"], &done["crash_count"]), (&json!("completed"), &json!(0)));
    assert_eq!((&next[0]["job"]["id"], &next[0]["job"]["crash_count"]), (&claims[0]["job"]["id"], &json!(1)));
    let (kind, _) = exec.refused(&json!({"op": "job.complete", "token": claims[0]["token"]}).to_string());
    assert_eq!(kind, "lease_lost");
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

/// `maintain` used to stop after 1,024 jobs of each kind and to answer as if that were all.
#[test]
fn maintain_promotes_all_that_is_due_and_takes_back_all_that_is_past() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    let jobs: Vec<_> =
        (0..1_000).map(|_| json!({"queue": "q", "kind": "k", "delay_ms": 1, "max_crashes": 9})).collect();
    for _ in 0..2 {
        exec.ok(json!({"op": "job.enqueue_batch", "jobs": jobs}));
    }
    exec.ok(json!({"op": "clock.advance", "ms": 1}));
    assert_eq!(exec.ok(json!({"op": "job.maintain"})), json!({"promoted": 2_000, "taken_back": 0, "pruned": 0}));
    for _ in 0..2 {
        let claims = exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w", "limit": 1_000}));
        assert_eq!(claims.as_array().unwrap().len(), 1_000);
    }
    exec.ok(json!({"op": "clock.advance", "ms": 60_000}));
    assert_eq!(exec.ok(json!({"op": "job.maintain"})), json!({"promoted": 0, "taken_back": 2_000, "pruned": 0}));
    assert_eq!(exec.ok(json!({"op": "job.counts"}))["q"]["available"], 2_000);
}

#[test]
fn attempts_are_the_newest_sixteen_also_while_one_runs() {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000"]);
    let job = exec.ok(json!({"op": "job.enqueue", "queue": "q", "kind": "k", "max_attempts": 100}))["job"].clone();
    for round in 1..=20u64 {
        let claim = exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w"}))[0].clone();
        let running = exec.ok(json!({"op": "job.attempts", "job": job}));
        assert_eq!(running.as_array().unwrap().len() as u64, round.min(16));
        exec.ok(json!({"op": "job.fail", "token": claim["token"], "error": round.to_string(), "retry_in_ms": 0}));
        let ended = exec.ok(json!({"op": "job.attempts", "job": job}));
        assert_eq!(ended.as_array().unwrap().len() as u64, round.min(16));
        assert_eq!((&ended[0]["attempt"], &ended[0]["error"]), (&json!(round), &json!(round.to_string())));
    }
}

/// Every `job.*`, `queue.*` and `clock.*` operation once, in a folder of its own; answers what was printed.
fn whole_surface() -> Vec<String> {
    let folder = folder();
    let mut exec = Exec::start(folder.path(), &["--clock", "manual", "--now", "1000", "--seed", "7"]);
    let mut said = Vec::new();
    let mut tokens = Vec::new();
    let steps = [
        json!({"op": "job.enqueue", "queue": "q", "kind": "fit", "payload": {"depth": 7.0}, "unique_key": "u"}),
        json!({"op": "job.enqueue", "queue": "q", "kind": "fit", "unique_key": "u"}),
        json!({"op": "job.enqueue", "queue": "q", "kind": "fit", "job": "0".repeat(31) + "a", "delay_ms": 500,
               "target": "spam", "timeout_ms": 9_000, "retention_ms": 10}),
        json!({"op": "job.enqueue_batch", "jobs": [{"queue": "q", "kind": "score"}, {"queue": "r", "kind": "score"}]}),
        json!({"op": "queue.pause", "queue": "r"}),
        json!({"op": "job.claim", "queues": ["r", "q"], "worker": "w", "limit": 5, "wait_ms": 60_000}),
        json!({"op": "job.heartbeat", "token": 0, "lease_ms": 5_000}),
        json!({"op": "job.progress", "token": 0, "percent": 40, "checkpoint": {"epoch": 3}}),
        json!({"op": "job.fail", "token": 0, "error": "no luck"}),
        json!({"op": "job.snooze", "token": 1, "delay_ms": 5}),
        json!({"op": "queue.resume", "queue": "r"}),
        json!({"op": "clock.advance", "ms": 2_000}),
        json!({"op": "job.maintain"}),
        json!({"op": "job.claim", "queues": ["q", "r"], "worker": "w", "limit": 4}),
        json!({"op": "job.release", "token": 2}),
        json!({"op": "job.discard", "token": 3, "reason": "useless"}),
        json!({"op": "job.complete_and_claim", "token": 4, "result": null, "queues": ["q"], "worker": "x"}),
        json!({"op": "job.retry", "job": "0".repeat(31) + "a"}),
        json!({"op": "job.cancel", "job": "0".repeat(31) + "a"}),
        json!({"op": "job.get", "job": "0".repeat(31) + "a"}),
        json!({"op": "job.get", "job": "0".repeat(32)}),
        json!({"op": "job.list", "queue": "q", "limit": 2}),
        json!({"op": "job.attempts", "job": "0".repeat(31) + "a"}),
        json!({"op": "job.counts"}),
        json!({"op": "job.complete", "token": 5, "result": {"f1": 0.91}}),
        json!({"op": "job.prune", "older_than_ms": 0}),
        json!({"op": "job.counts", "queue": "q"}),
        json!({"op": "store.digest"}),
    ];
    for mut step in steps {
        if let Some(place) = step["token"].as_u64() {
            step["token"] = Value::clone(&tokens[place as usize]);
        }
        let line = exec.say(&step.to_string());
        let reply: Value = serde_json::from_str(&line).unwrap();
        assert!(reply.get("ok").is_some(), "{step} answered {line}");
        let claims = reply["ok"].as_array().into_iter().flatten();
        tokens.extend(claims.filter_map(|claim| claim.get("token").cloned()));
        said.push(line);
    }
    said
}

#[test]
fn the_same_seed_clock_and_input_give_the_same_bytes_over_the_whole_surface() {
    let said = whole_surface();
    assert_eq!(said, whole_surface());
    let golden = |place: usize, line: &str| assert_eq!(said[place], line, "step {place}");
    let a = "0000000000000000000000000000000a";
    golden(2, &format!(r#"{{"id":null,"ok":{{"job":"{a}","outcome":"inserted"}}}}"#));
    golden(6, r#"{"id":null,"ok":{"cancel_requested":false}}"#);
    golden(7, r#"{"id":null,"ok":null}"#);
    golden(11, r#"{"id":null,"ok":3000}"#);
    golden(20, r#"{"id":null,"ok":null}"#);
    let parse = |place: usize| -> Value { serde_json::from_str(&said[place]).unwrap() };
    assert_eq!(parse(0)["ok"]["job"], parse(1)["ok"]["job"], "the unique key is held");
    assert_eq!(parse(1)["ok"]["outcome"], "existing");
    assert_eq!(parse(5)["ok"].as_array().unwrap().len(), 2, "a paused queue adds nothing");
    let failed = &parse(8)["ok"];
    // Backoff of 1 s, up to a fifth shorter by chance, and the same chance each time.
    let run_at = failed["run_at"].as_u64().unwrap();
    assert!(failed["state"] == "retryable" && (1_800..=2_000).contains(&run_at), "{failed}");
    assert_eq!((&failed["progress"], &failed["checkpoint"]), (&json!(40), &json!({"epoch": 3})));
    assert_eq!(parse(9)["ok"]["state"], "scheduled");
    assert_eq!(parse(12)["ok"], json!({"promoted": 3, "taken_back": 0, "pruned": 0}));
    assert_eq!(parse(13)["ok"].as_array().unwrap().len(), 4);
    assert_eq!(parse(19)["ok"]["target"], "spam");
    assert!(
        said[24].contains(r#""result":{"f1":0.910}"#) || said[24].contains(r#""result":{"f1":0.91}"#),
        "{}",
        said[24]
    );
}
