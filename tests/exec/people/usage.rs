//! The command line itself: help, wrong usage, and folders that hold no store.

use serde_json::json;

use super::{Store, told};
use crate::harness::{folder, mlp};

/// Every command that help must mention, with words that make a whole line of it.
const COMMANDS: &[&str] = &[
    "stats",
    "verify",
    "repair",
    "quarantine list",
    "quarantine show 1",
    "quarantine discard 1",
    "kv get n k",
    "kv list n",
    "kv count n",
    "get n k",
    "list n",
    "jobs list",
    "jobs show 00000000000000000000000000000001",
    "jobs counts",
    "jobs cancel 00000000000000000000000000000001",
    "jobs retry 00000000000000000000000000000001",
    "jobs pause q",
    "jobs resume q",
    "jobs prune",
    "models list",
    "models show m",
    "models create m",
    "models update m",
    "models archive m",
    "models unarchive m",
    "models rename m n",
    "models delete m",
    "versions list",
    "versions show m 1",
    "versions update m 1",
    "versions activate m 1",
    "versions deactivate m",
    "versions archive m 1",
    "versions unarchive m 1",
    "versions delete m 1",
    "versions alias list m",
    "versions alias set m a 1",
    "versions alias delete m a",
    "versions alias history m",
    "snapshot export f",
    "snapshot import f",
    "snapshot inspect f",
    "snapshot verify f",
    "snapshot rebuild f",
    "replica follow d",
    "exec",
];

/// A line's own words: those before its operands.
fn words(line: &str) -> String {
    let taken = match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["versions", "alias", ..] => 3,
        ["quarantine" | "kv" | "jobs" | "models" | "versions" | "snapshot" | "replica", ..] => 2,
        _ => 1,
    };
    line.split(' ').take(taken).collect::<Vec<_>>().join(" ")
}

#[test]
fn help_mentions_every_command_and_each_has_a_page_of_its_own() {
    let overview = told(&["--help"]);
    assert_eq!((overview.code, overview.err.as_str()), (Some(0), ""));
    assert_eq!(overview.out, told(&["help"]).out);
    let listed = overview.out.lines().filter(|line| line.starts_with("  mlp ")).count();
    assert_eq!(listed, COMMANDS.len(), "{}", overview.out);
    for line in COMMANDS {
        let words = words(line);
        assert!(overview.out.contains(&format!("  mlp {words} ")), "{words} is missing from {}", overview.out);
        let page = told(&["help"].into_iter().chain(words.split(' ')).collect::<Vec<_>>());
        assert!(page.out.starts_with(&format!("usage: mlp {words} ")), "{words}: {}", page.out);
        let same = told(&line.split(' ').chain(["--help"]).collect::<Vec<_>>());
        assert_eq!((same.code, same.out), (Some(0), page.out), "{line}");
    }
    for noun in ["quarantine", "kv", "jobs", "models", "versions", "versions alias"] {
        let page = told(&noun.split(' ').chain(["--help"]).collect::<Vec<_>>()).out;
        let own = COMMANDS.iter().filter(|line| words(line).starts_with(&format!("{noun} ")));
        assert!(own.clone().count() > 2);
        assert!(own.into_iter().all(|line| page.contains(&format!("usage: mlp {} ", words(line)))), "{page}");
    }
}

#[test]
fn help_says_what_an_opening_for_writing_does_and_what_cannot_be_taken_back() {
    for (line, writes, destroys) in [
        ("jobs list", false, false),
        ("jobs pause", true, false),
        ("jobs prune", true, true),
        ("models create", true, false),
        ("versions delete", true, true),
        ("models delete", true, true),
        ("versions", true, true),
        ("verify", false, false),
    ] {
        let page = told(&line.split(' ').chain(["--help"]).collect::<Vec<_>>()).out;
        assert_eq!(page.contains("it counts an epoch"), writes, "{page}");
        assert_eq!(page.contains("it takes --yes"), destroys, "{page}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_opens_nothing() {
    let store = Store(folder());
    for (line, message) in [
        ("jobs", "jobs: no such command; there is jobs list, "),
        ("frobnicate", "frobnicate: no such command"),
        ("jobs list --frob 1", "--frob: no command has such an option"),
        ("jobs list --tag a=b", "--tag: no option of `mlp jobs list`"),
        ("jobs list --state running", "--state running: available, scheduled, "),
        ("jobs list --limit 1001", "--limit: 1..=1000, got \"1001\""),
        ("jobs list --limit 5 --limit 6", "--limit: given twice"),
        ("jobs list train", "train: one word too many for `mlp jobs list`"),
        ("jobs show", "jobs show: which JOB?"),
        ("jobs show 7", "job: 32 lower-case hex digits, got \"7\""),
        ("jobs prune --older-than 7", "--older-than 7: an age such as 90s, 12h or 7d"),
        ("models create", "models create: which MODEL?"),
        ("models create m --tag a", "--tag a: KEY=VALUE"),
        ("models create m --property a=b", "--property a: not JSON"),
        ("models create m --property a=99999999999999999999", "--property a: "),
        ("versions show m", "versions show: which VERSION?"),
        ("versions show m 4294967296", "4294967296: versions are numbered up to 4294967295"),
        ("versions update m 1 --stage a --clear-stage", "--stage and --clear-stage: either, not both"),
        ("versions alias history m --at today", "--at today: a time such as "),
    ] {
        let told = store.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{line}");
        assert!(told.err.starts_with(&format!("mlp: {message}")), "{line}: {}", told.err);
    }
    assert!(std::fs::read_dir(store.path()).expect("the folder is there").next().is_none());
    let out = mlp(&["exec"]).output().expect("the program starts");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--data DIR is required"));
}

#[test]
fn what_holds_no_store_is_a_plain_reason_and_no_folder_is_created() {
    let store = Store(folder());
    let missing = store.path().join("missing");
    for command in ["stats", "jobs pause q", "models create m", "jobs prune --yes"] {
        let words: Vec<&str> = command.split(' ').collect();
        let lacking = told(&[words.as_slice(), &["--data", missing.to_str().expect("a plain path")]].concat());
        assert_eq!(lacking.code, Some(1), "{command}");
        assert!(lacking.err.contains("no such folder") && !missing.exists(), "{command}: {}", lacking.err);
        assert!(store.refused(command).contains("holds no store"), "{command}");
    }
    let store = Store::of(&[]);
    assert!(store.refused("stats --engine memory").contains("holds a store of engine `sled`"));
    assert!(store.refused("stats --engine tape").contains("this build has sled and memory"));
}

#[test]
fn an_error_says_what_can_be_done_and_is_an_object_with_json() {
    let store = Store::of(&[json!({"op": "model.create", "name": "m"})]);
    assert_eq!(
        store.refused("models update m --expected-revision 7"),
        "mlp: model \"m\": expected revision 7, found 1\n     look at how it stands now, then decide again\n"
    );
    assert_eq!(
        store.refused("models create m --json"),
        "{\"error\":{\"kind\":\"already_exists\",\"message\":\"model `m` exists\"}}\n"
    );
}

#[test]
fn another_process_with_the_folder_open_refuses_readers_and_writers() {
    let store = Store::of(&[]);
    let exec = store.exec();
    for command in ["jobs counts", "jobs pause q", "jobs prune --yes"] {
        let refusal = store.refused(command);
        assert!(refusal.contains("locked by another opener"), "{command}: {refusal}");
        assert!(refusal.contains("a program that has the store open must let it go first"), "{refusal}");
    }
    assert_eq!(exec.finish().0, Some(0));
    store.shown("jobs counts");
}

#[test]
fn reading_counts_no_epoch_and_each_writing_one() {
    let store = Store::of(&[]);
    let epoch = |store: &Store| store.json("stats")["epoch"].as_u64();
    let before = epoch(&store).expect("a number");
    store.shown("jobs counts");
    store.shown("verify");
    store.refused("jobs prune");
    assert_eq!(epoch(&store), Some(before));
    store.shown("jobs pause q");
    store.shown("jobs prune --yes");
    assert_eq!(epoch(&store), Some(before + 2));
}
