//! `mlp jobs`: tables, JSON, and what changes.

use serde_json::{Value, json};

use super::{Store, with};

const A: &str = "0000000000000000000000000000000a";
const B: &str = "0000000000000000000000000000000b";
const C: &str = "0000000000000000000000000000000c";
const D: &str = "0000000000000000000000000000000d";

/// `a` failed and waits, `b` is completed, `c` is ready, `d` is scheduled in a queue of its own.
fn store() -> Store {
    let store = Store(crate::harness::folder());
    let mut exec = store.exec();
    let enqueue =
        |job: &str, rest: Value| with(json!({"op": "job.enqueue", "queue": "train", "kind": "fit", "job": job}), rest);
    let claim = json!({"op": "job.claim", "queues": ["train"], "worker": "w1"});
    exec.ok(enqueue(A, json!({"payload": {"depth": 6}, "max_attempts": 3})));
    let token = exec.ok(claim.clone())[0]["token"].clone();
    exec.ok(json!({"op": "job.fail", "token": token, "error": "no\nmemory", "retry_in_ms": 90_000}));
    exec.ok(enqueue(B, json!({})));
    let token = exec.ok(claim)[0]["token"].clone();
    exec.ok(json!({"op": "job.complete", "token": token, "result": {"f1": 0.5}}));
    exec.ok(enqueue(C, json!({"target": "spam"})));
    exec.ok(enqueue(D, json!({"queue": "score", "kind": "batch", "delay_ms": 60_000})));
    assert_eq!(exec.finish().0, Some(0));
    store
}

#[test]
fn jobs_are_listed_by_queue_state_and_kind() {
    let store = store();
    assert_eq!(
        store.shown("jobs list"),
        "\
job                               state      queue  kind   attempt  run at                    note
0000000000000000000000000000000a  retryable  train  fit    1/3      2023-11-14T22:14:50.000Z  failed, no\u{fffd}memory
0000000000000000000000000000000b  completed  train  fit    1/5      2023-11-14T22:13:20.000Z  -
0000000000000000000000000000000c  available  train  fit    0/5      2023-11-14T22:13:20.000Z  -
0000000000000000000000000000000d  scheduled  score  batch  0/5      2023-11-14T22:14:20.000Z  -
"
    );
    let ids = |command: &str| -> Vec<String> {
        let page = store.json(command);
        let jobs = page["jobs"].as_array().expect("a list").iter();
        jobs.map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids("jobs list --queue score"), [D]);
    assert_eq!(ids("jobs list --state completed"), [B]);
    assert_eq!(ids("jobs list --kind fit --queue train --state available"), [C]);
    assert_eq!(store.shown("jobs list --queue none"), "no such jobs\n");
    assert_eq!(store.json("jobs list --limit 1")["jobs"][0]["run_at"], 1_700_000_090_000_u64);

    let first = store.json("jobs list --limit 3");
    let next = first["next"].as_str().expect("there is a fourth");
    assert_eq!(ids(&format!("jobs list --after {next}")), [D]);
    assert!(store.refused(&format!("jobs list --queue train --after {next}")).starts_with("mlp: after: "));
    assert_eq!(store.shown("jobs list --all --limit 3 --json").lines().count(), 2);
}

#[test]
fn one_job_is_shown_with_its_attempts() {
    let store = store();
    assert_eq!(
        store.shown(&format!("jobs show {A}")),
        "\
job          0000000000000000000000000000000a
queue        train
kind         fit
target       -
state        retryable
note         failed, no\u{fffd}memory
priority     100
attempt      1 of 3
crashes      0 of 5
enqueued at  2023-11-14T22:13:20.000Z
run at       2023-11-14T22:14:50.000Z
started at   2023-11-14T22:13:20.000Z
lease until  -
finished at  -
worker       w1
progress     -
unique key   -
payload      {\"depth\":6}
checkpoint   -
result       -
revision     3

attempt  started at                ended at                  worker  ended   error
1        2023-11-14T22:13:20.000Z  2023-11-14T22:13:20.000Z  w1      failed  no\u{fffd}memory
"
    );
    let shown = store.json(&format!("jobs show {B}"));
    assert_eq!((&shown["job"]["result"], &shown["attempts"][0]["reason"]), (&json!({"f1": 0.5}), &json!("completed")));
    let missing = "0".repeat(32);
    assert_eq!(store.refused(&format!("jobs show {missing}")), format!("mlp: job {missing}: there is no such job\n"));
}

#[test]
fn counts_are_by_queue_and_state_and_tell_what_is_paused() {
    let store = store();
    assert_eq!(
        store.shown("jobs pause train"),
        "queue train: paused; executing jobs go on, and jobs can be enqueued\n"
    );
    assert_eq!(
        store.shown("jobs counts"),
        "\
queue  available  scheduled  executing  retryable  completed  discarded  cancelled  note
score  0          1          0          0          0          0          0          -
train  1          0          0          1          1          0          0          paused
"
    );
    assert_eq!(store.json("jobs resume train"), json!({"queue": "train", "paused": false}));
    let counts = store.json("jobs counts train");
    assert_eq!((&counts["train"]["available"], &counts["train"]["paused"]), (&json!(1), &json!(false)));
    assert_eq!(counts.as_object().map(|queues| queues.len()), Some(1));
    assert_eq!(Store::of(&[]).shown("jobs counts"), "no queue has a job\n");
}

#[test]
fn a_job_is_cancelled_and_brought_back() {
    let store = store();
    assert_eq!(store.shown(&format!("jobs cancel {D}")), format!("job {D}: cancelled\n"));
    assert_eq!(store.json(&format!("jobs show {D}"))["job"]["state"], "cancelled");
    assert_eq!(store.shown(&format!("jobs retry {D}")), format!("job {D}: available again in queue score\n"));
    assert_eq!(store.json(&format!("jobs retry {B}"))["state"], "available");
    assert!(store.refused(&format!("jobs retry {C}")).contains("decide again"));
    assert!(store.shown("verify").starts_with("sound"));
}

#[test]
fn a_writing_command_says_what_its_opening_took_back() {
    let store = store();
    let mut exec = store.exec();
    exec.ok(json!({"op": "job.claim", "queues": ["train"], "worker": "w2"}));
    exec.kill();
    let reading = store.run(&["jobs", "show", C]);
    assert!(reading.out.contains("state        executing") && reading.err.is_empty(), "{}", reading.out);
    let writing = store.run(&["jobs", "cancel", C]);
    assert_eq!(writing.out, format!("job {C}: cancelled\n"));
    assert_eq!(
        writing.err,
        "opened: jobs taken back from a process that ended: 1 available again, 0 discarded, 0 cancelled\n"
    );
}

#[test]
fn prune_shows_what_will_go_and_wants_a_yes() {
    let store = store();
    let told = store.run(&["jobs", "prune", "--older-than", "1h"]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    let lines: Vec<&str> = told.err.lines().collect();
    assert!(lines[0].starts_with("queue train: 1 jobs that finished by 2") && lines[0].ends_with("Z will go"));
    assert_eq!(lines[1..], ["mlp: nothing was changed: nobody said yes; --yes says it"]);
    assert_eq!(store.json("jobs counts")["train"]["completed"], 1);

    assert_eq!(store.json("jobs prune --queue score --older-than 1h --yes"), json!({"pruned": 0}));
    let told = store.run(&["jobs", "prune", "--yes", "--json"]);
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (
            Some(0),
            "{\"pruned\":1}\n",
            "{\"note\":\"queue train: of 1 finished jobs, those whose own retention has passed, will go\"}\n"
        )
    );
    assert_eq!(store.shown("jobs prune --yes --older-than 0s"), "0 finished jobs removed\n");
    assert_eq!(store.json("jobs counts")["train"]["completed"], 0);
}
