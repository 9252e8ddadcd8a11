//! A host with two queues: jobs that tell how far they are, one that is cancelled while it runs, and a shutdown that
//! leaves unfinished work for the next start.
//!
//! ```text
//! cargo run --example worker_pool -- --data pool-data        twice: the second run goes on where the first one stopped
//! ```

use std::path::PathBuf;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use ml_persistence::jobs::State;
use ml_persistence::{Done, Error, Handlers, MlPersistence, NewJob, NewVersion, Result, Run, WorkerPool};
use serde_json::json;

/// Trees in a forest: the steps of one training.
const STEPS: u64 = 10;

fn main() -> Result<()> {
    let folder = folder().ok_or_else(|| Error::invalid("usage: worker_pool --data DIR"))?;
    let db = MlPersistence::open(&folder)?;
    let report = db.recovery();
    println!("opened {}: opening {}, {} jobs taken back", folder.display(), report.epoch, report.jobs_requeued);

    let (said, heard) = unbounded();
    // Scoring waits for this gate to open, so that the shutdown below finds some of it unfinished.
    let (gate, closed) = bounded::<()>(0);
    let pool = WorkerPool::builder(db.jobs(), handlers(said, closed))
        .name("example")
        .queue("train", 2)
        .queue("score", 1)
        .lease_ms(30_000)
        .heartbeat_ms(5_000)
        .start()?;

    // A unique key keeps a second run from training the same depth twice while the first one still waits.
    for depth in 2..=4 {
        let job = NewJob::new("train", "fit").target("forest").payload(json!({"depth": depth}));
        let enqueued = db.jobs().enqueue(job.unique_key(format!("fit {depth}")))?;
        println!("enqueued {}: depth {depth}", enqueued.job);
    }
    let endless = db.jobs().enqueue(NewJob::new("train", "endless"))?.job;
    for batch in 0..5 {
        db.jobs().enqueue(NewJob::new("score", "score").payload(json!({"batch": batch})))?;
    }

    // Whoever has a worker's word can react to it; nobody has to ask again and again.
    let mut trained = 0;
    while trained < 3 {
        match heard.recv_timeout(Duration::from_secs(30)) {
            Ok(Said::Progress { what, percent }) => println!("  {what}: {percent} %"),
            Ok(Said::Trained(depth)) => {
                trained += 1;
                println!("  depth {depth} is trained");
            }
            Ok(Said::Running) => {
                println!("cancelling {endless}, which would never end");
                db.jobs().cancel(endless)?;
            }
            Err(error) => return Err(Error::unavailable(format!("no word from the workers: {error}"))),
        }
    }

    println!("shutting down: what runs is asked to stop, what waits stays");
    let ended = pool.shutdown(2_000)?;
    drop(gate);
    println!("attempts ended: {:?}, leases given back: {}", ended.stats.tally.ended, ended.released);
    let job = db.jobs().get(endless)?;
    println!("the endless job is {}", job.map_or("gone", |job| job.state.name()));
    for (queue, counts) in db.jobs().counts(None)? {
        let states = State::ALL.map(|state| (state, counts.of(state))).into_iter().filter(|(_, count)| *count > 0);
        let states: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
        println!("queue {queue}: {}", states.join(", "));
    }
    db.close()
}

/// What the handlers tell the host.
enum Said {
    Progress { what: String, percent: u8 },
    Trained(u64),
    Running,
}

fn handlers(said: Sender<Said>, gate: Receiver<()>) -> Handlers {
    let (to_host, tells) = (said.clone(), said);
    Handlers::new()
        .on("fit", move |run| {
            let depth = run.job().payload.to_value()["depth"].as_u64().ok_or("depth: a whole number")?;
            for step in 1..=STEPS {
                if run.cancel_requested() {
                    return Ok(Done::release());
                }
                let percent = (step * 100 / STEPS) as u8;
                run.progress(percent)?;
                if step % 5 == 0 {
                    to_host.send(Said::Progress { what: format!("depth {depth}"), percent })?;
                }
            }
            to_host.send(Said::Trained(depth))?;
            // The version and the job's completion are one commit: both, or neither.
            Ok(Done::writing_with(json!({"depth": depth}), move |txn| {
                let version = NewVersion::new().metric("f1", 0.8 + depth as f64 / 100.0);
                txn.registry().register_version("forest", version).map(drop)
            }))
        })
        .on("endless", move |run| {
            tells.send(Said::Running)?;
            wait_until_asked(run);
            Ok(Done::release())
        })
        .on("score", move |run| {
            // Nothing ever comes through the gate: this is work that takes longer than the host has patience.
            while !run.cancel_requested() && gate.recv_timeout(Duration::from_millis(20)).is_err() {
                run.progress(50)?;
            }
            Ok(Done::release())
        })
}

/// Does what a long computation does: something for a while, then a look whether to go on.
fn wait_until_asked(run: &Run<'_>) {
    while !run.cancel_requested() {
        std::thread::yield_now();
    }
}

fn folder() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next()?.to_str(), arguments.next()) {
        (Some("--data"), folder) => folder.map(PathBuf::from),
        _ => None,
    }
}
