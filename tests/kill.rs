//! A real process that commits from 64 threads and is killed with SIGKILL: whatever it acknowledged is there afterwards.
//!
//! The child is this test binary again, running the ignored test below with a folder in its environment. It writes a
//! line to its output for each acknowledged commit, and now and then what the counting disk saw.

#![cfg(feature = "sled")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ml_persistence::Config;
use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::{Disk, RealDisk};
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::wrap::CountDisk;
use ml_persistence::engine::{Engine, Reader, Tree, TxnOptions, Value, read_counter};

const FOLDER: &str = "MLP_KILL_FOLDER";
const THREADS: u64 = 64;
const ACKNOWLEDGED_MIN: usize = 4_000;

fn open(disk: Arc<dyn Disk>, folder: &Path) -> LocalEngine {
    let mut config = Config::new().expect("the machine has randomness");
    // Small, so that the applier is at work too when the process dies.
    config.memtable_bytes = 1 << 20;
    LocalEngine::open(disk, folder, &SledOpener, &config).expect("the folder opens").0
}

fn key(thread: u64, number: u64) -> Vec<u8> {
    format!("{thread:02} {number:06}").into_bytes()
}

#[test]
#[ignore = "the child process of the test below"]
fn child_that_commits_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let disk = Arc::new(CountDisk::new(Arc::new(RealDisk::new())));
    let engine = open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new(&folder));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, disk) = (&engine, &disk);
            scope.spawn(move || {
                for number in 0.. {
                    let value = Value::from(vec![thread as u8; 300]);
                    let key = key(thread, number);
                    engine
                        .transact(&TxnOptions::default(), &mut |txn| {
                            txn.put(Tree::Kv, &key, value.clone())?;
                            txn.add(Tree::Counter, b"commits", 1)
                        })
                        .unwrap();
                    let mut line = format!("ack {thread} {number}\n");
                    if number % 50 == 49 {
                        line += &format!("counts {} {}\n", engine.stats().commits, disk.counts().syncs_of(".seg"));
                    }
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_64_threads_were_told_is_durable_is_there_after_a_kill() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_commits_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, &folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    let mut counts = None;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // After the kill the rest of the pipe is read too: those acknowledgements were given as well.
    while let Some(Ok(line)) = lines.next() {
        let numbers: Vec<u64> = line.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
        match (line.split(' ').next(), numbers.as_slice()) {
            (Some("ack"), &[thread, number]) => acknowledged.push((thread, number)),
            (Some("counts"), &[commits, syncs]) => counts = Some((commits, syncs)),
            _ => {}
        }
        if acknowledged.len() == ACKNOWLEDGED_MIN {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(acknowledged.len() >= ACKNOWLEDGED_MIN, "the child ended after {}", acknowledged.len());

    let engine = open(Arc::new(RealDisk::new()), &folder);
    for (thread, number) in &acknowledged {
        let value = engine.get(Tree::Kv, &key(*thread, *number)).unwrap();
        assert_eq!(value.as_deref(), Some([*thread as u8; 300].as_slice()), "thread {thread}, commit {number}");
    }
    // All or nothing: the counter moved with each key, acknowledged or not.
    let present: usize = (0..THREADS).map(|thread| (0..).take_while(|n| has(&engine, thread, *n)).count()).sum();
    let sum = engine.get(Tree::Counter, b"commits").unwrap();
    assert_eq!(read_counter(Tree::Counter, b"commits", sum.as_deref()).unwrap(), present as i64);
    let (commits, syncs) = counts.expect("the child reported its counts");
    println!(
        "{} acknowledged, {present} present; {commits} commits in {syncs} syncs of journal files",
        acknowledged.len()
    );
    assert!(syncs < commits, "{syncs} syncs for {commits} commits");
}

fn has(engine: &LocalEngine, thread: u64, number: u64) -> bool {
    engine.get(Tree::Kv, &key(thread, number)).expect("the engine answers").is_some()
}
