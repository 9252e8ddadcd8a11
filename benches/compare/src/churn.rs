//! Memory, stalls and shutdown of ours under steady rewriting of 10 MB of live data, `Buffered`.
//!
//! Each caller rewrites records of its own share, chosen at random, and moves their index entries. The resident set of
//! the process is sampled; it must stay within the store's cache, the memtable and 60 MB. At the end the engine is
//! closed under the feet of the callers, and opened again: everything that was answered must be there.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::local::{LocalEngine, OpenReport};
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Engine, Tree, TxnOptions};
use ml_persistence::{Config, Durability, ErrorKind, Stopwatch};

use crate::Failure;
use crate::load::Burst;
use crate::options::Options;
use crate::systems::{COUNTER, Item, RECORD_BYTES, ours, scramble};

const LIVE_BYTES: usize = 10 << 20;
/// Beside cache and memtable.
const ALLOWANCE: usize = 60_000_000;
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Runs it for `seconds` with the first number of callers and prints what it saw.
pub fn run(options: &Options, seconds: f64) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(&options.folder)?;
    let config = Config::new()?;
    let callers = options.callers.first().copied().unwrap_or(4);
    let share = (LIVE_BYTES / RECORD_BYTES / callers) as u64;
    let (engine, _) = open(folder.path(), &config)?;
    let before = resident()?;
    let closing = AtomicBool::new(false);
    let (samples_out, samples_in) = mpsc::channel::<()>();
    let (answers, samples, closed) = std::thread::scope(|scope| {
        let sampler = scope.spawn(move || sample(&samples_in));
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let (engine, closing) = (&engine, &closing);
                scope.spawn(move || rewrite(engine, caller as u16, share, closing, seconds * 2.0))
            })
            .collect();
        let running = Stopwatch::start();
        wait(Duration::from_secs_f64(seconds));
        let churned = running.elapsed().as_secs_f64();
        closing.store(true, Ordering::SeqCst);
        let stats = engine.stats();
        let closing = Stopwatch::start();
        let closed = engine.close().map(|()| (closing.elapsed(), stats, churned));
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        drop(samples_out);
        (answers, sampler.join(), closed)
    });
    let (closed_in, stats, churned) = closed?;
    let samples = samples.map_err(|_| "the sampler panicked")??;
    let mut all = Burst { seconds: churned, ..Burst::default() };
    for answer in answers {
        let (commits, latencies) = answer.map_err(|_| "a caller panicked")??;
        all.commits += commits;
        all.latencies_ns.extend(latencies);
    }
    all.latencies_ns.sort_unstable();
    drop(engine);

    let reopening = Stopwatch::start();
    let (engine, report) = open(folder.path(), &config)?;
    let reopened_in = reopening.elapsed();
    let held = ours::held(&engine)?;
    if held.counter != all.commits as i64 || held.records != held.entries {
        return Err(format!("{} commits were answered, and {held:?} is stored", all.commits).into());
    }
    let most = samples.iter().copied().max().unwrap_or(before);
    let budget = config.cache_bytes + config.memtable_bytes + ALLOWANCE;
    println!("Rewriting {} records of {RECORD_BYTES} bytes, Buffered, {callers} callers:\n", held.records);
    println!("| what | measured | at most |");
    println!("|---|--:|--:|");
    println!("| commits/s | {:.0} | |", all.rate());
    println!("| p50, p99, p99.9 ms | {} | |", [0.5, 0.99, 0.999].map(|at| ms(all.latency_us(at))).join(", "));
    println!("| longest call ms | {} | |", ms(all.latency_us(1.0)));
    println!("| resident at open MB | {:.1} | |", before as f64 / 1e6);
    println!("| resident at most MB | {:.1} | {:.1} |", most as f64 / 1e6, budget as f64 / 1e6);
    println!(
        "| held back, share of the callers' time | {:.2} | |",
        stats.stall_us as f64 / 1e6 / churned / callers as f64
    );
    println!("| journal syncs/s | {:.0} | |", stats.journal_syncs as f64 / churned);
    println!(
        "| mean, largest batch in commits | {}, {} | |",
        stats.commits / stats.batches.max(1),
        stats.batch_commits_max
    );
    println!("| store writes a commit | {:.3} | |", stats.store_writes as f64 / stats.commits.max(1) as f64);
    println!("| journal on disk MB | {:.1} | |", stats.journal_bytes as f64 / 1e6);
    println!("| store on disk MB | {:.1} | |", stats.store_bytes as f64 / 1e6);
    println!(
        "| memtable at the end MB | {:.1} | {:.1} |",
        stats.memtable_bytes as f64 / 1e6,
        config.memtable_bytes as f64 / 1e6
    );
    println!("| close() under load ms | {:.0} | 1000 |", closed_in.as_secs_f64() * 1e3);
    println!("| reopen ms | {:.0} | |", reopened_in.as_secs_f64() * 1e3);
    println!("\nReopening: {report:?}");
    if let Some(path) = &options.json {
        let numbers = serde_json::json!({
            "commits_per_second": all.rate(), "resident_bytes": samples, "budget_bytes": budget,
            "close_ms": closed_in.as_secs_f64() * 1e3, "reopen_ms": reopened_in.as_secs_f64() * 1e3, "stats": stats,
        });
        fs::write(path, format!("{numbers:#}\n"))?;
    }
    Ok(engine.close()?)
}

fn open(folder: &Path, config: &Config) -> Result<(LocalEngine, OpenReport), Failure> {
    Ok(LocalEngine::open(Arc::new(RealDisk::new()), &folder.join("data"), &SledOpener, config)?)
}

fn ms(us: f64) -> String {
    format!("{:.3}", us / 1e3)
}

/// Lets `time` pass.
fn wait(time: Duration) {
    let waiting = Stopwatch::start();
    while let Some(left) = time.checked_sub(waiting.elapsed()) {
        std::thread::park_timeout(left);
    }
}

/// Commits until the engine closes; answers how many, and how long each took.
fn rewrite(
    engine: &LocalEngine,
    caller: u16,
    share: u64,
    closing: &AtomicBool,
    seconds_max: f64,
) -> Result<(u64, Vec<u64>), Failure> {
    let options = TxnOptions::durability(Durability::Buffered);
    let (mut item, mut commits, mut latencies) = (Item::from(caller), 0, Vec::with_capacity(1 << 20));
    let running = Stopwatch::start();
    let mut last = Duration::ZERO;
    while last.as_secs_f64() < seconds_max {
        let number = scramble(commits ^ u64::from(caller) << 40) % share;
        let item = item.at(number, commits);
        let record = Arc::from(item.record);
        // The entry of a record's term moves with each version; its old place is read from the record's first bytes.
        let outcome = engine.transact(&options, &mut |txn| {
            if let Some(before) = txn.get(Tree::Records, &item.key)? {
                txn.delete(Tree::Index, &term_entry(&before, &item.key))?;
            }
            txn.put(Tree::Index, &term_entry(&item.record, &item.key), Arc::from([]))?;
            txn.put(Tree::Records, &item.key, Arc::clone(&record))?;
            txn.add(Tree::Counter, COUNTER, 1)
        });
        match outcome {
            Ok(_) => commits += 1,
            Err(error) if error.kind() == ErrorKind::Closed && closing.load(Ordering::SeqCst) => break,
            Err(error) => return Err(error.into()),
        }
        let now = running.elapsed();
        // One in sixteen is enough for the distribution, and keeps the samples out of the memory that is measured.
        if commits % 16 == 0 {
            latencies.push((now - last).as_nanos() as u64);
        }
        last = now;
    }
    Ok((commits, latencies))
}

fn term_entry(record: &[u8], key: &[u8]) -> Vec<u8> {
    let term = record.get(..8).unwrap_or(record);
    [b"term", term, key].concat()
}

/// Reads the resident set until the other end is dropped.
fn sample(end: &mpsc::Receiver<()>) -> Result<Vec<usize>, Failure> {
    let mut samples = Vec::new();
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(SAMPLE_EVERY) {
        samples.push(resident()?);
    }
    Ok(samples)
}

/// Memory of this process that is in RAM, in bytes.
fn resident() -> Result<usize, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("/proc/self/status has no VmRSS")?;
    let kib: usize = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}
