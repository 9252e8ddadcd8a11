//! A real process that imports a snapshot and is killed with SIGKILL at a moment nobody chose: what it leaves is the old state
//! or the new one, and trying again finishes.
//!
//! The child is this test binary again, running one of the ignored tests below with a folder in its environment. It writes a
//! line for each step that it is told of, and waits for a line before it goes on; the parent lets it go on for some steps and
//! some turns of a loop, and kills it. The numbers are drawn from a seed.

#![cfg(feature = "sled")]
// A panic here is a failed test; clippy sees that only for functions marked as such.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ml_persistence::snapshot::Progress;
use ml_persistence::{Durability, Ids, MlPersistence, SnapshotInfo};
use tempfile::TempDir;

const FOLDER: &str = "MLP_SNAPSHOT_KILL_FOLDER";
const ROUNDS: u64 = 9;

fn tell(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more once the parent has decided.
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    drop(out);
    // And where nobody writes, this is the end of the input at once.
    let mut answer = String::new();
    drop(std::io::stdin().read_line(&mut answer));
}

fn watch(progress: Progress) {
    tell(&format!("at {}", progress.bytes));
}

fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

#[test]
#[ignore = "the child process of a test below"]
fn child_that_imports() {
    let Some(folder) = folder() else { return };
    let db = MlPersistence::open(folder.join("target")).unwrap();
    tell("open");
    db.import_snapshot_with(folder.join("full"), true, &mut watch).unwrap();
    tell("imported");
    db.close().unwrap();
}

#[test]
#[ignore = "the child process of a test below"]
fn child_that_applies() {
    let Some(folder) = folder() else { return };
    let replica = MlPersistence::builder(folder.join("target")).open_replica().unwrap();
    tell("open");
    replica.apply_with(folder.join("delta"), &mut watch).unwrap();
    tell("imported");
    replica.close().unwrap();
}

fn is_step(line: &str) -> bool {
    line.starts_with("open") || line.starts_with("at ") || line.starts_with("imported")
}

/// Runs a child, lets it go on `lines` times, and kills it some turns later. Answers whether it had finished.
fn killed(child: &str, folder: &Path, lines: u64, turns: u64) -> bool {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut go_on = process.stdin.take().unwrap();
    let mut told = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut finished = false;
    for line in told.by_ref().filter(|line| is_step(line)).take(lines as usize) {
        finished = line == "imported";
        go_on.write_all(b"\n").unwrap();
    }
    (0..turns).for_each(|_| std::thread::yield_now());
    process.kill().unwrap();
    process.wait().unwrap();
    finished || told.any(|line| line == "imported")
}

struct Case {
    files: TempDir,
    /// Digests of before and after.
    old: String,
    new: SnapshotInfo,
    lines: u64,
}

impl Case {
    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

fn write(db: &MlPersistence, seed: u64, count: u64, words: u32) {
    let ids = Ids::seeded(seed);
    let values = db.namespace("n").unwrap();
    for number in 0..count {
        let noise: String = (0..words).map(|_| format!("{:016x}", ids.next_u64())).collect();
        values.put(&format!("k{number}"), &noise).unwrap();
    }
}

#[test]
fn an_import_killed_at_any_moment_leaves_the_old_state_or_the_new_one_and_trying_again_finishes() {
    let files = tempfile::tempdir().unwrap();
    let source = MlPersistence::in_memory().durability(Durability::Buffered).open().unwrap();
    write(&source, 1, 1_500, 40);
    let new = source.export_snapshot(files.path().join("full"), None).unwrap();
    let target = MlPersistence::open(files.path().join("target")).unwrap();
    write(&target, 2, 100, 40);
    let old = target.digest().unwrap();
    target.close().unwrap();
    let mut case = Case { files, old, new, lines: 0 };
    case.lines = lines_of("child_that_imports", &case);
    let dice = Ids::seeded(20_251);
    let (mut olds, mut news) = (0, 0);
    for round in 0..ROUNDS {
        restore_old(&case);
        // Every third one behind the last step of reading: that is where the new state takes its place.
        let lines = if round % 3 == 0 { case.lines - 1 } else { dice.next_u64() % case.lines };
        let finished = killed("child_that_imports", case.files.path(), lines, dice.next_u64() % 500);
        let db = MlPersistence::open(case.path("target")).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let digest = db.digest().unwrap();
        let is_new = Some(&digest) == case.new.digest.as_ref();
        assert!(is_new || digest == case.old, "round {round}: neither the old state nor the new one");
        assert!(is_new || !finished, "round {round}: it was said to be imported");
        assert!(db.verify().unwrap().violations.is_empty(), "round {round}");
        (olds, news) = (olds + u32::from(!is_new), news + u32::from(is_new));
        db.import_snapshot(case.path("full"), true).unwrap();
        assert_eq!(Some(db.digest().unwrap()), case.new.digest, "round {round}");
        db.close().unwrap();
        let generations = std::fs::read_dir(case.path("target")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(generations.filter(|name| name.to_string_lossy().starts_with("gen-")).count() <= 2, "round {round}");
    }
    println!("{olds} kills left the old state, {news} the new one");
    assert!(olds > 2);
}

/// How many lines a child tells that is left alone.
fn lines_of(child: &str, case: &Case) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, case.files.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| is_step(line)).count() as u64
}

fn restore_old(case: &Case) {
    std::fs::remove_dir_all(case.path("target")).unwrap();
    let target = MlPersistence::open(case.path("target")).unwrap();
    write(&target, 2, 100, 40);
    assert_eq!(target.digest().unwrap(), case.old);
    target.close().unwrap();
}

#[test]
fn a_delta_killed_at_any_moment_says_that_it_is_not_done_and_is_finished_by_trying_again() {
    let files = tempfile::tempdir().unwrap();
    // The journal of a store in memory keeps nothing to make a delta from.
    let source = MlPersistence::builder(files.path().join("source")).durability(Durability::Buffered).open().unwrap();
    write(&source, 1, 50, 40);
    let full = source.export_snapshot(files.path().join("full"), None).unwrap();
    // More than one transaction takes: 8 MiB.
    write(&source, 3, 4_000, 160);
    let new = source.export_snapshot(files.path().join("delta"), Some(full.cursor)).unwrap();
    let expected = source.digest().unwrap();
    let case = Case { files, old: full.digest.clone().unwrap(), new, lines: 0 };
    let fresh = || {
        if case.path("target").exists() {
            std::fs::remove_dir_all(case.path("target")).unwrap();
        }
        let replica = MlPersistence::builder(case.path("target")).open_replica().unwrap();
        replica.apply(case.path("full")).unwrap();
        replica.close().unwrap();
    };
    fresh();
    let lines = lines_of("child_that_applies", &case);
    let dice = Ids::seeded(20_252);
    let mut partly = 0;
    for round in 0..6 {
        fresh();
        // The first half reads and writes nothing; some steps from the end the first transaction is in.
        let lines = if round % 2 == 0 { lines - 2 - round } else { lines / 2 + dice.next_u64() % (lines / 2) };
        let finished = killed("child_that_applies", case.files.path(), lines, dice.next_u64() % 100);
        let replica = MlPersistence::builder(case.path("target")).open_replica().unwrap();
        let status = replica.status().unwrap();
        match (status.applying, status.cursor) {
            (Some(end), cursor) => {
                partly += 1;
                assert_eq!((end, cursor), (case.new.cursor, Some(full.cursor)), "round {round}");
            }
            (None, cursor) if cursor == Some(case.new.cursor) => assert_eq!(replica.digest().unwrap(), expected),
            (None, cursor) => {
                assert!(!finished && cursor == Some(full.cursor), "round {round}");
                assert_eq!(replica.digest().unwrap(), case.old, "round {round}");
            }
        }
        replica.apply(case.path("delta")).unwrap();
        assert_eq!(replica.digest().unwrap(), expected, "round {round}");
        assert_eq!(replica.status().unwrap().applying, None);
        replica.close().unwrap();
    }
    println!("{partly} kills met a delta applied in part");
    assert!(partly > 0);
}
