//! What one request may take and what one reply may carry.
//!
//! A valid request must not fail, nor a reply grow without end, because of what jobs and versions happen to carry: a
//! claim of 1,000 jobs with checkpoints of 64 KiB was refused by the engine as too large a transaction, so the queue
//! stood still for whoever asked that way; and a list of 1,000 jobs of 1 MiB was one reply of a gigabyte.

use serde_json::{Value, json};

use crate::harness::Exec;

/// What a page ends after.
const PAGE_BYTES: usize = 32 << 20;

fn buffered() -> Exec {
    Exec::in_memory(&["--durability", "buffered"])
}

fn length(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

#[test]
fn a_claim_of_jobs_with_large_checkpoints_hands_out_as_many_as_one_commit_takes() {
    let mut exec = buffered();
    let jobs: Vec<_> = (0..450).map(|_| json!({"queue": "q", "kind": "k"})).collect();
    exec.ok(json!({"op": "job.enqueue_batch", "jobs": jobs}));
    let claim = json!({"op": "job.claim", "queues": ["q"], "worker": "w", "limit": 1_000});
    let checkpoint = "c".repeat(65_000);
    for claim in exec.ok(claim.clone()).as_array().unwrap() {
        exec.ok(json!({"op": "job.progress", "token": claim["token"], "checkpoint": checkpoint}));
        exec.ok(json!({"op": "job.release", "token": claim["token"]}));
    }
    let mut claimed = 0;
    while claimed < 450 {
        let some = length(&exec.ok(claim.clone()));
        assert!(some > 0, "no job after {claimed}");
        claimed += some;
    }
    assert_eq!(exec.ok(claim), json!([]));
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

#[test]
fn a_claim_and_a_page_of_large_jobs_end_early_and_the_next_ones_go_on() {
    let mut exec = buffered();
    let payload = "p".repeat(1_000_000);
    for _ in 0..50 {
        exec.ok(json!({"op": "job.enqueue", "queue": "q", "kind": "k", "payload": payload}));
    }
    let (mut listed, mut after) = (Vec::new(), Value::Null);
    loop {
        let line = exec.say(&json!({"op": "job.list", "limit": 1_000, "after": after}).to_string());
        assert!(line.len() < PAGE_BYTES + 2_000_000, "{} bytes", line.len());
        let page: Value = serde_json::from_str(&line).unwrap();
        listed.extend(page["ok"]["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()));
        after = page["ok"]["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(listed.len(), 50);
    let mut claimed = Vec::new();
    while claimed.len() < 50 {
        let some = exec.ok(json!({"op": "job.claim", "queues": ["q"], "worker": "w", "limit": 1_000}));
        assert!((1..=34).contains(&length(&some)), "{} jobs", length(&some));
        claimed.extend(some.as_array().unwrap().iter().map(|claim| claim["job"]["id"].clone()));
    }
    assert_eq!(claimed, listed);
}

#[test]
fn a_page_of_heavy_versions_ends_early_and_the_next_one_goes_on() {
    let mut exec = buffered();
    for _ in 0..40 {
        exec.ok(json!({"op": "version.register", "model": "m", "properties": {"p": "y".repeat(1_000_000)}}));
    }
    let (mut numbers, mut token, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = exec.ok(json!({"op": "version.list", "model": "m", "page_size": 1_000, "page_token": token}));
        numbers.extend(page["versions"].as_array().unwrap().iter().map(|version| version["version"].as_u64().unwrap()));
        pages += 1;
        token = page["next_page_token"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((numbers, pages), ((1..=40).collect(), 2));
}

#[test]
fn a_batch_beyond_one_commit_is_invalid_as_jobs_and_leaves_none() {
    let mut exec = buffered();
    let jobs: Vec<_> = (0..30).map(|_| json!({"queue": "q", "kind": "k", "payload": "p".repeat(1_000_000)})).collect();
    let (kind, message) = exec.refused(&json!({"op": "job.enqueue_batch", "jobs": jobs}).to_string());
    assert_eq!(kind, "invalid");
    assert!(message.starts_with("jobs: too large together"), "{message}");
    assert_eq!(exec.ok(json!({"op": "job.counts"})), json!({}));
}

#[test]
fn the_longest_names_fit_and_those_of_too_many_zero_bytes_are_refused_by_name() {
    let mut exec = buffered();
    let (long, zeros) = ("\u{1}".repeat(256), "\0".repeat(256));
    exec.ok(json!({
        "op": "job.enqueue", "queue": long, "kind": long, "target": zeros, "unique_key": long
    }));
    exec.ok(json!({"op": "job.enqueue", "queue": zeros, "kind": long}));
    exec.ok(json!({"op": "job.enqueue", "queue": "q", "kind": zeros, "unique_key": zeros}));
    assert_eq!(
        length(&exec.ok(json!({"op": "job.claim", "queues": [long, zeros, "q"], "worker": zeros, "limit": 9}))),
        3
    );
    for (job, field) in [
        (json!({"op": "job.enqueue", "queue": zeros, "kind": zeros}), "kind:"),
        (json!({"op": "job.enqueue", "queue": zeros, "kind": "k", "unique_key": zeros}), "unique_key:"),
    ] {
        let (kind, message) = exec.refused(&job.to_string());
        assert_eq!(kind, "invalid");
        assert!(message.starts_with(field), "{message}");
    }
    assert_eq!(exec.ok(json!({"op": "store.verify"}))["violations"], json!([]));
}

#[test]
fn a_refusal_quotes_the_beginning_of_what_was_wrong_and_not_all_of_it() {
    let mut exec = buffered();
    let long = "é".repeat(1 << 20);
    for request in [json!({"op": long}), json!({"op": "store.cursor", &long: 1}), json!({"op": "job.get", "job": long})]
    {
        let (kind, message) = exec.refused(&request.to_string());
        assert_eq!(kind, "invalid");
        assert!(message.len() < 5_000 && message.contains("éé"), "{} bytes", message.len());
    }
}
