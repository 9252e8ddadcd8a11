//! Typed records with 0, 1, 3 and 6 indexes: a save that moves every entry, a list of 100 by index, a count.
//!
//! Each store is filled with 10,000 records of six numbers and a note of 80 bytes, then one caller rewrites them, so
//! that each save costs a read of the old record, the record, and one removal and one entry for each index. Stores
//! take turns; of several rounds the median counts.

mod ours;
mod sled;
mod sqlite;

use std::path::Path;

use ml_persistence::Stopwatch;

use crate::Failure;
use crate::options::Options;
use crate::systems::scramble;

/// Records in each store.
const STORED: u64 = 10_000;
/// Rows of a list.
const ROWS: usize = 100;
const INDEXES: [usize; 4] = [0, 1, 3, 6];
/// The indexed fields.
const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The data of one record.
struct Item {
    id: u64,
    values: [u64; 6],
}

impl Item {
    fn new(id: u64, version: u64) -> Self {
        // 44 bits: what every store can hold as a number.
        let value = |place: usize| scramble(id ^ version << 24 ^ (place as u64) << 56) >> 20;
        Item { id, values: std::array::from_fn(value) }
    }

    fn note() -> String {
        "n".repeat(80)
    }
}

/// A store of records with some of their fields indexed.
trait Shelf {
    /// Writes a record over the one that is there.
    fn save(&mut self, item: &Item) -> Result<(), Failure>;

    /// How many rows come from `from` on in the first index, at most [`ROWS`], each read whole.
    fn list(&mut self, from: u64) -> Result<usize, Failure>;

    /// How many records there are.
    fn count(&mut self) -> Result<u64, Failure>;

    /// Ends what goes on behind the saves.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

type Open = fn(&Path, usize) -> Result<Box<dyn Shelf>, Failure>;

/// Each store with what an answered save promises.
const SHELVES: [(&str, &str, Open); 5] = [
    ("ours", "power loss", ours::open_durable),
    ("sqlite FULL", "power loss", sqlite::open_full),
    ("ours, buffered", "50 ms or 1 MiB behind", ours::open_buffered),
    ("sqlite NORMAL", "next checkpoint", sqlite::open_normal),
    ("sled, its default", "500 ms behind", sled::open),
];

/// What one store took: microseconds a call.
#[derive(Default, Clone)]
struct Times {
    saves: [Vec<f64>; INDEXES.len()],
    lists: Vec<f64>,
    counts: Vec<f64>,
}

/// Runs every store in turn, `options.rounds` times, and prints the medians.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut times = vec![Times::default(); SHELVES.len()];
    for round in 0..options.rounds {
        for turn in 0..SHELVES.len() {
            let place = (turn + round) % SHELVES.len();
            let (Some((name, _, open)), Some(times)) = (SHELVES.get(place), times.get_mut(place)) else { continue };
            for (indexes, saves) in INDEXES.into_iter().zip(&mut times.saves) {
                let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(&options.folder)?;
                let mut shelf = open(&folder.path().join("data"), indexes)?;
                let us = time_saves(&mut *shelf, options)?;
                eprintln!("round {} {name:<18} {indexes} indexes {us:>8.1} us a save", round + 1);
                saves.push(us);
                if indexes == 1 {
                    times.lists.push(time_lists(&mut *shelf)?);
                    times.counts.push(time_counts(&mut *shelf)?);
                }
                shelf.close()?;
            }
        }
    }
    print(&mut times);
    Ok(())
}

fn time_saves(shelf: &mut dyn Shelf, options: &Options) -> Result<f64, Failure> {
    let (seconds, took) = (options.seconds(), Stopwatch::start());
    let mut saves = 0u64;
    while took.elapsed() < seconds {
        saves += 1;
        shelf.save(&Item::new(saves * 7_919 % STORED, saves))?;
    }
    let us = took.elapsed().as_secs_f64() * 1e6 / saves as f64;
    let held = shelf.count()?;
    if held != STORED {
        return Err(format!("holds {held} records after rewriting {STORED}").into());
    }
    Ok(us)
}

fn time_lists(shelf: &mut dyn Shelf) -> Result<f64, Failure> {
    const LISTS: u64 = 300;
    let took = Stopwatch::start();
    for number in 0..LISTS {
        // Values are spread over 44 bits; from the first tenth of them on there are always enough.
        let rows = shelf.list((number << 32) % (1 << 40))?;
        if rows != ROWS {
            return Err(format!("a list of {rows} rows, not {ROWS}").into());
        }
    }
    Ok(took.elapsed().as_secs_f64() * 1e6 / LISTS as f64)
}

fn time_counts(shelf: &mut dyn Shelf) -> Result<f64, Failure> {
    const COUNTS: u64 = 300;
    let took = Stopwatch::start();
    for _ in 0..COUNTS {
        shelf.count()?;
    }
    Ok(took.elapsed().as_secs_f64() * 1e6 / COUNTS as f64)
}

fn print(times: &mut [Times]) {
    println!("Microseconds a call, {STORED} records, one caller; saves by number of indexes:\n");
    println!("| store | an answered save survives | 0 | 1 | 3 | 6 | each further index | list {ROWS} | count |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    for ((name, survives, _), times) in SHELVES.iter().zip(times) {
        let saves: Vec<f64> = times.saves.iter_mut().map(median).collect();
        let further = match saves.as_slice() {
            [none, .., six] => (six - none) / 6.0,
            _ => f64::NAN,
        };
        let saves: Vec<String> = saves.iter().map(|us| format!("{us:.1}")).collect();
        let (lists, counts) = (median(&mut times.lists), median(&mut times.counts));
        println!("| {name} | {survives} | {} | {further:.1} | {lists:.1} | {counts:.2} |", saves.join(" | "));
    }
}

fn median(times: &mut Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
