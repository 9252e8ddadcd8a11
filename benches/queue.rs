//! What the job queue costs, on sled and this machine's disk: rates, syncs a job, claim latency over finished and ready
//! jobs, wake-up latency, memory.
//!
//! `cargo bench --bench queue` prints one table a part; `-- --json` adds one JSON line, `-- --quick` takes smaller sizes
//! and shorter runs, `-- --only rates` (or `latency`, `wake`, `memory`) one part. A run beside other work says little
//! about rates and latencies; syncs a job, the ratio of latencies and memory hardly suffer from it.
//!
//! Rates are durable (every call waits for its sync). Latencies and wake-ups are measured with `Buffered` claims: they are
//! about the queue, and a device wait would hide it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Cursor, Engine, Observer, Told, Tree};
use ml_persistence::jobs::{Jobs, JobsOptions};
use ml_persistence::{ClaimRequest, Config, Durability, NewJob, RecordStore, Stopwatch, Token};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;
type Part = fn(Scale) -> Outcome<Value>;

const CALLERS: [usize; 4] = [1, 4, 16, 64];
const BATCHES: [usize; 3] = [1, 10, 100];
const STEP: usize = 1_000;
const WORKERS: usize = 64;
/// Claims of one house before it is the other one's turn.
const BLOCK: usize = 500;
const SETTLE_LOOK: Duration = Duration::from_millis(100);
/// At most 20 s.
const SETTLE_LOOKS: usize = 200;
const MEMORY_CLAIMS: usize = 20_000;
/// Jobs of each of many queues.
const JOBS_EACH: usize = 20;
/// Jobs that a caller of any number and batch handles in a second, at most.
const RATE_MAX: f64 = 30_000.0;

#[derive(Clone, Copy)]
struct Scale {
    run: Duration,
    /// Finished and ready jobs that latencies are measured over.
    backlogs: [usize; 3],
    samples: usize,
    wakes: usize,
    queues: usize,
}

const FULL: Scale = Scale {
    run: Duration::from_secs(2),
    backlogs: [0, 100_000, 1_000_000],
    samples: 10_000,
    wakes: 3_000,
    queues: 10_000,
};
const QUICK: Scale =
    Scale { run: Duration::from_millis(500), backlogs: [0, 10_000, 50_000], samples: 4_000, wakes: 500, queues: 2_000 };

struct House {
    engine: Arc<LocalEngine>,
    store: RecordStore,
    jobs: Jobs,
}

fn open(folder: &Path) -> Outcome<House> {
    let config = Config::new()?;
    let (engine, _) = LocalEngine::open(Arc::new(RealDisk::new()), folder, &SledOpener, &config)?;
    let engine = Arc::new(engine);
    let shared: Arc<dyn Engine> = Arc::<LocalEngine>::clone(&engine);
    let store = RecordStore::new(shared, Arc::clone(&config.clock), Arc::clone(&config.ids));
    let jobs = Jobs::new(store.clone(), JobsOptions::default());
    Ok(House { engine, store, jobs })
}

fn batch(queue: &str, count: usize) -> Vec<NewJob> {
    (0..count).map(|number| NewJob::new(queue, "fit").payload(json!({ "number": number }))).collect()
}

/// Enqueues `count` jobs, not durable yet.
fn fill(house: &House, queue: &str, count: usize) -> Outcome<()> {
    let jobs = house.jobs.with_durability(Durability::Buffered);
    for step in (0..count).step_by(STEP) {
        jobs.enqueue_batch(&batch(queue, STEP.min(count - step)))?;
    }
    Ok(())
}

fn tokens(leases: Vec<ml_persistence::Lease>) -> Vec<Token> {
    leases.into_iter().map(|lease| lease.into_parts().1).collect()
}

fn complete_all(house: &House, durability: Durability, tokens: &[Token]) -> Outcome<()> {
    house
        .store
        .transact(durability, |txn| tokens.iter().try_for_each(|token| txn.jobs().complete(token, None).map(drop)))?;
    Ok(())
}

/// Leaves `count` finished jobs behind.
fn finish(house: &House, queue: &str, count: usize) -> Outcome<()> {
    let jobs = house.jobs.with_durability(Durability::Buffered);
    for step in (0..count).step_by(STEP) {
        let some = STEP.min(count - step);
        jobs.enqueue_batch(&batch(queue, some))?;
        for tokens in tokens(jobs.claim(&[queue], some)?).chunks(250) {
            complete_all(house, Durability::Buffered, tokens)?;
        }
    }
    Ok(())
}

/// Runs `call` (which answers how many jobs it handled) on so many threads for a while: jobs, seconds, journal syncs.
fn rate(
    house: &House,
    callers: usize,
    run: Duration,
    call: impl Fn(usize) -> Outcome<usize> + Sync,
) -> Outcome<(usize, f64, u64)> {
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let before = house.engine.stats().journal_syncs;
    let took = Stopwatch::start();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let (done, over, call) = (&done, &over, &call);
                scope.spawn(move || -> Outcome<()> {
                    while !over.load(Ordering::Relaxed) {
                        match call(caller)? {
                            0 => break,
                            jobs => done.fetch_add(jobs, Ordering::Relaxed),
                        };
                    }
                    Ok(())
                })
            })
            .collect();
        while took.elapsed() < run && threads.iter().any(|thread| !thread.is_finished()) {
            thread::park_timeout(Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().expect("a caller does not panic"))
    })?;
    let seconds = took.elapsed().as_secs_f64();
    Ok((done.into_inner(), seconds, house.engine.stats().journal_syncs - before))
}

fn rates(scale: Scale) -> Outcome<Value> {
    println!(
        "\n## Rates, durable\n\n| operation | batch | callers | jobs/s | journal syncs/job |\n|---|---|---|---|---|"
    );
    let mut rows = Vec::new();
    let mut row = |name: &str, batch: usize, callers: usize, (jobs, seconds, syncs): (usize, f64, u64)| {
        let (rate, per_job) = (jobs as f64 / seconds, syncs as f64 / jobs.max(1) as f64);
        println!("| {name} | {batch} | {callers} | {rate:.0} | {per_job:.3} |");
        rows.push(
            json!({ "op": name, "batch": batch, "callers": callers, "jobs_per_s": rate, "syncs_per_job": per_job }),
        );
    };
    for size in BATCHES {
        for callers in CALLERS {
            let scratch = tempfile::tempdir()?;
            let house = open(scratch.path())?;
            let queue = |caller: usize| format!("q{}", caller % 4);
            let names: Vec<String> = (0..4).map(queue).collect();
            let queues: Vec<&str> = names.iter().map(String::as_str).collect();
            let enqueued = rate(&house, callers, scale.run, |caller| {
                house.jobs.enqueue_batch(&batch(&queue(caller), size))?;
                Ok(size)
            })?;
            row("enqueue", size, callers, enqueued);
            // Enough for both of the others, however fast they are.
            fill(&house, "q0", (RATE_MAX * scale.run.as_secs_f64()) as usize)?;
            house.engine.checkpoint()?;
            let claimed = rate(&house, callers, scale.run, |_| {
                let tokens = tokens(house.jobs.claim(&queues, size)?);
                complete_all(&house, Durability::PowerLoss, &tokens)?;
                Ok(tokens.len())
            })?;
            row("claim + complete", size, callers, claimed);
            if size == 1 {
                let hands: Vec<Mutex<Option<Token>>> = (0..callers).map(|_| Mutex::default()).collect();
                let chained = rate(&house, callers, scale.run, |caller| {
                    let mut hand = hands.get(caller).ok_or("a hand for each caller")?.lock().expect("no panic");
                    let request = ClaimRequest::new(queues.iter().copied());
                    let next = match hand.take() {
                        Some(token) => house.jobs.complete_and_claim(&token, None, &request)?,
                        None => house.jobs.claim_with(&request)?,
                    };
                    *hand = tokens(next).pop();
                    Ok(usize::from(hand.is_some()))
                })?;
                row("complete_and_claim", 1, callers, chained);
            }
            house.engine.close()?;
        }
    }
    Ok(Value::from(rows))
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted.get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Claims one job at a time and completes it: microseconds of each claim.
fn claim_times(house: &House, count: usize) -> Outcome<Vec<f64>> {
    let jobs = house.jobs.with_durability(Durability::Buffered);
    // Past half a memtable callers are slowed to the store's pace, which is not what is measured here.
    house.engine.checkpoint()?;
    settle()?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let took = Stopwatch::start();
        let leases = jobs.claim(&["work"], 1)?;
        times.push(took.elapsed().as_secs_f64() * 1e6);
        assert_eq!(leases.len(), 1, "there is a job to claim");
        complete_all(house, Durability::Buffered, &tokens(leases))?;
    }
    Ok(times)
}

/// CPU time of this process, in ticks of 10 ms.
fn cpu_ticks() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit_once(')').ok_or("a name in brackets")?.1;
    let times = behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().sum())
}

/// Waits until the store's own threads have come to rest. Where two processors share a core, a claim beside a busy
/// thread takes half as long again as one alone, and a store that has just taken in a million jobs is busy for a while.
fn settle() -> Outcome<()> {
    let mut before = cpu_ticks()?;
    for _ in 0..SETTLE_LOOKS {
        let waited = Stopwatch::start();
        while waited.elapsed() < SETTLE_LOOK {
            thread::park_timeout(SETTLE_LOOK);
        }
        let after = cpu_ticks()?;
        if after <= before + 1 {
            return Ok(());
        }
        before = after;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// One house grows; a second one, nearly empty, is measured in turns with it. So the ratio of the two says how flat a
/// claim is even where the machine's speed changes meanwhile.
fn latency(scale: Scale) -> Outcome<Value> {
    println!("\n## Latency of a claim of one job, buffered\n");
    println!(
        "| finished | ready | p50 us | p99 us | mean us | p50 beside it, empty | ratio |\n|---|---|---|---|---|---|---|"
    );
    let (scratch, reference) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (house, empty) = (open(scratch.path())?, open(reference.path())?);
    let mut rows = Vec::new();
    let mut row = |finished: usize, ready: usize| -> Outcome<()> {
        fill(&empty, "work", scale.samples)?;
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..scale.samples / BLOCK {
            let (beside, block) = (claim_times(&empty, BLOCK)?, claim_times(&house, BLOCK)?);
            ratios.push(median(block.clone()) / median(beside.clone()));
            ours.extend(block);
            theirs.extend(beside);
        }
        ours.sort_by(f64::total_cmp);
        let mean = ours.iter().sum::<f64>() / ours.len() as f64;
        let (p50, p99, beside, ratio) =
            (percentile(&ours, 0.5), percentile(&ours, 0.99), median(theirs), median(ratios));
        println!("| {finished} | {ready} | {p50:.1} | {p99:.1} | {mean:.1} | {beside:.1} | {ratio:.2} |");
        rows.push(json!({
            "finished": finished, "ready": ready, "p50_us": p50, "p99_us": p99, "mean_us": mean,
            "p50_us_empty": beside, "ratio": ratio,
        }));
        Ok(())
    };
    let mut finished = 0;
    for count in scale.backlogs {
        finish(&house, "work", count.saturating_sub(finished))?;
        finished = finished.max(count);
        fill(&house, "work", scale.samples)?;
        row(finished, scale.samples)?;
        finished += scale.samples;
    }
    let ready = scale.backlogs.last().copied().unwrap_or_default().max(scale.samples);
    fill(&house, "work", ready)?;
    row(finished, ready)?;
    let memory = workers_memory(&house, &["work".to_owned()], ready - scale.samples)?;
    empty.engine.close()?;
    house.engine.close()?;
    Ok(json!({ "claims": rows, "memory": memory }))
}

/// Notes when a ready job became visible.
#[derive(Debug)]
struct Visible {
    since: Stopwatch,
    at_ns: AtomicU64,
}

impl Observer for Visible {
    fn watches(&self) -> Vec<(Tree, Vec<u8>)> {
        vec![(Tree::Jobs, Vec::new())]
    }

    fn published(&self, _cursor: Cursor, told: &[Told<'_>]) {
        // A new job is its own key; whatever else happens to one is written beside it.
        if told.iter().all(|told| told.key.len() == 32) {
            self.at_ns.store(self.since.elapsed().as_nanos() as u64, Ordering::Release);
        }
    }
}

fn wake(scale: Scale) -> Outcome<Value> {
    println!("\n## From visible to claimed, by a worker that waits (durable enqueue, buffered claim)\n");
    println!("| waiting workers | p50 us | p99 us |\n|---|---|---|");
    let mut rows = Vec::new();
    for workers in [1, WORKERS] {
        let scratch = tempfile::tempdir()?;
        let house = open(scratch.path())?;
        let visible = Arc::new(Visible { since: Stopwatch::start(), at_ns: AtomicU64::new(0) });
        let observer: Arc<dyn Observer> = Arc::<Visible>::clone(&visible);
        house.engine.observe(Arc::downgrade(&observer));
        let jobs = house.jobs.with_durability(Durability::Buffered);
        let (report, reports) = mpsc::channel();
        let over = AtomicBool::new(false);
        let times = thread::scope(|scope| -> Outcome<Vec<f64>> {
            for _ in 0..workers {
                let (jobs, visible, over, report) = (&jobs, &visible, &over, report.clone());
                scope.spawn(move || {
                    let request = ClaimRequest::new(["work"]);
                    while !over.load(Ordering::Relaxed) {
                        for lease in jobs.claim_wait(&request, 200).expect("a claim") {
                            let claimed = visible.since.elapsed().as_nanos() as u64;
                            report.send((claimed, lease)).expect("the bench listens");
                        }
                    }
                });
            }
            let mut times = Vec::with_capacity(scale.wakes);
            for _ in 0..scale.wakes {
                // Until every worker sleeps: what is measured is a wake-up and not a worker that is on its way anyway.
                while house.jobs.memory().sleepers < workers {
                    thread::yield_now();
                }
                thread::park_timeout(Duration::from_micros(300));
                house.jobs.enqueue(NewJob::new("work", "fit"))?;
                let (claimed, lease) = reports.recv()?;
                times.push(claimed.saturating_sub(visible.at_ns.load(Ordering::Acquire)) as f64 / 1e3);
                lease.complete(Value::Null)?;
            }
            over.store(true, Ordering::Relaxed);
            Ok(times)
        });
        let mut times = times?;
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
        println!("| {workers} | {p50:.1} | {p99:.1} |");
        rows.push(json!({ "workers": workers, "p50_us": p50, "p99_us": p99 }));
        house.engine.close()?;
    }
    Ok(Value::from(rows))
}

/// What the queue holds in memory while 64 workers claim `queues` in turn: its own account, which the package's
/// `tests/queue_memory.rs` holds against a counting allocator.
fn workers_memory(house: &House, queues: &[String], ready: usize) -> Outcome<Value> {
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let claims = (MEMORY_CLAIMS.max(queues.len())).min(ready);
    let mut most = house.jobs.memory();
    thread::scope(|scope| -> Outcome<()> {
        let threads: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| -> Outcome<()> {
                    let jobs = house.jobs.with_durability(Durability::Buffered);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= claims {
                            return Ok(());
                        }
                        let queue = queues.get(number % queues.len()).ok_or("a queue")?;
                        complete_all(house, Durability::Buffered, &tokens(jobs.claim(&[queue.as_str()], 1)?))?;
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            let mut most = house.jobs.memory();
            while !over.load(Ordering::Relaxed) {
                let now = house.jobs.memory();
                if now.bytes > most.bytes {
                    most = now;
                }
                thread::park_timeout(Duration::from_millis(5));
            }
            most
        });
        let outcome = threads.into_iter().try_for_each(|thread| thread.join().expect("a worker does not panic"));
        over.store(true, Ordering::Relaxed);
        let seen = watch.join().expect("a watcher does not panic");
        if seen.bytes > most.bytes {
            most = seen;
        }
        outcome
    })?;
    let (count, limit) = (queues.len(), 16 << 20);
    println!("\n## Memory of the queue\n\n| ready jobs | queues | workers | jobs in windows | bytes | limit |");
    println!(
        "|---|---|---|---|---|---|\n| {ready} | {count} | {WORKERS} | {} | {} | {limit} |",
        most.window_jobs, most.bytes
    );
    assert!(most.bytes <= limit, "the queue keeps to its limit");
    Ok(json!({
        "ready": ready, "queues": count, "workers": WORKERS, "queue_bytes": most.bytes, "window_jobs": most.window_jobs,
    }))
}

/// Many queues with the longest names, each with more jobs than its window holds. One with a long line is measured
/// with the latencies.
fn memory(scale: Scale) -> Outcome<Value> {
    let scratch = tempfile::tempdir()?;
    let house = open(scratch.path())?;
    let jobs = house.jobs.with_durability(Durability::Buffered);
    let names: Vec<String> = (0..scale.queues).map(|number| format!("{number:0>256}")).collect();
    for some in names.chunks(STEP / JOBS_EACH) {
        let new: Vec<NewJob> = some.iter().flat_map(|queue| batch(queue, JOBS_EACH)).collect();
        jobs.enqueue_batch(&new)?;
    }
    house.engine.checkpoint()?;
    let report = workers_memory(&house, &names, scale.queues * JOBS_EACH)?;
    house.engine.close()?;
    Ok(report)
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let scale = if arguments.iter().any(|word| word == "--quick") { QUICK } else { FULL };
    let only = arguments.iter().position(|word| word == "--only").and_then(|at| arguments.get(at + 1));
    let parts: [(&str, Part); 4] = [("rates", rates), ("latency", latency), ("wake", wake), ("memory", memory)];
    let mut report = serde_json::Map::new();
    for (name, part) in parts {
        if only.is_none_or(|only| only == name) {
            report.insert(name.to_owned(), part(scale)?);
        }
    }
    if arguments.iter().any(|word| word == "--json") {
        println!("\n{}", json!({ "queue": report }));
    }
    Ok(())
}
