//! One workload over ml-persistence and what a user would pick instead, every system at the same stated durability.
//!
//! The workload is the smallest thing a metadata store does: a record of 300 bytes, an index entry that points at it
//! and a counter of all records, in one transaction. Systems take turns inside one process run, burst by burst, each
//! burst on a fresh folder, so that a slow minute of the machine hits all of them alike; what counts are the ratios.
//!
//! ```text
//! cargo run --release -- [--rounds N] [--burst SECONDS] [--callers 1,4,16,64] [--only NAME,…] [--json FILE] [--folder DIR]
//! cargo run --release -- --sustained SECONDS       one long run each instead of bursts
//! cargo run --release -- --churn SECONDS           ours alone: memory and stalls under rewriting of 10 MB of live data
//! cargo run --release -- --collection SECONDS      typed records with 0, 1, 3 and 6 indexes: save, list, count
//! cargo run --release -- --registry SECONDS        versions of a model: register, get, list, search by tag
//! ```
//!
//! Markdown goes to standard output, progress to standard error. Every burst ends with a count of what is stored; a
//! system that lost or doubled anything stops the run.

#![forbid(unsafe_code)]

mod churn;
mod collection;
mod load;
mod options;
mod registry;
mod report;
mod systems;

use std::error::Error;

use load::Burst;
use options::{Mode, Options};
use report::Table;
use systems::Contender;

/// Whatever went wrong; it ends the run.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let Some(options) = Options::parse()? else { return Ok(()) };
    report::machine(&options);
    if let Mode::Churn(seconds) = options.mode {
        return churn::run(&options, seconds);
    }
    if let Mode::Collection(_) = options.mode {
        return collection::run(&options);
    }
    if let Mode::Registry(_) = options.mode {
        return registry::run(&options);
    }
    let contenders: Vec<&Contender> = systems::ALL.iter().filter(|contender| options.wants(contender)).collect();
    let mut table = Table::default();
    for round in 0..options.rounds {
        for callers in &options.callers {
            // A burst's leftovers (write-back, garbage) are paid by whoever comes next, so nobody is always next.
            for turn in 0..contenders.len() {
                let Some(contender) = contenders.get((turn + round) % contenders.len()) else { continue };
                if !contender.callers.runs(*callers) {
                    continue;
                }
                let burst = one_burst(contender, *callers, &options)?;
                eprintln!("round {} {callers:>2} callers {:<28} {burst}", round + 1, contender.name);
                table.add(contender, *callers, burst);
            }
        }
    }
    table.print(&options);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", table.json(&options)))?;
    }
    Ok(())
}

/// Opens the system in a fresh folder, loads it, counts what it holds and clears it away; only the load is timed.
fn one_burst(contender: &Contender, callers: usize, options: &Options) -> Result<Burst, Failure> {
    let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(&options.folder)?;
    let system = (contender.open)(&folder.path().join("data"))?;
    let mut burst = load::run(&*system, callers, options.seconds())?;
    let held = system.held()?;
    if held != burst.expected() {
        return Err(format!("{}: holds {held:?} after {:?}", contender.name, burst.expected()).into());
    }
    burst.add_counts(system.counts());
    system.close()?;
    Ok(burst)
}
