//! The registry: what registering costs alone and among many, and that finding a version does not grow with how many
//! there are.
//!
//! `cargo bench --bench registry` prints one line a row, then one JSON line with all of them. Rows with callers are
//! rates over a fixed number of registrations, the others medians of single calls in microseconds. The store is sled in
//! a fresh folder; registrations are durable, fillings are buffered.

use std::path::Path;

use ml_persistence::registry::{Change, PageRequest, SearchRequest, VersionRef};
use ml_persistence::{Durability, MlPersistence, NewVersion, Registry, Stopwatch};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const REGISTRATIONS: u32 = 2_000;
const SIZES: [u32; 3] = [10, 1_000, 10_000];
const CALLS: u32 = 2_000;
const PAGES: u32 = 200;

/// One line of the result.
#[derive(serde::Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    value: f64,
}

fn version(number: u32) -> NewVersion {
    NewVersion::new()
        .metric("f1", f64::from(number) / 1e4)
        .run_id(format!("run-{number}"))
        .tag("shard", (number % 100).to_string())
        .source("git://models/train")
}

/// Registrations from so many callers, each waiting for its own to be durable; how many a second.
fn register_rate(folder: &Path, callers: u32) -> Result<f64, Failure> {
    let db = MlPersistence::open(folder)?;
    let clock = Stopwatch::start();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let registry = db.registry();
                scope.spawn(move || {
                    (0..REGISTRATIONS / callers).try_for_each(|n| registry.register_version("m", version(n)).map(drop))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let rate = f64::from(REGISTRATIONS / callers * callers) / clock.elapsed().as_secs_f64();
    db.close()?;
    Ok(rate)
}

fn fill(registry: &Registry, model: &str, count: u32) -> Result<(), Failure> {
    let buffered = registry.with_durability(Durability::Buffered);
    for first in (1..=count).step_by(100) {
        let last = (first + 99).min(count);
        buffered.transact(|registry| {
            (first..=last).try_for_each(|number| registry.register_version(model, version(number)).map(drop))
        })?;
    }
    registry.set_alias(model, "prod", count / 2, &Change::new())?;
    Ok(())
}

/// The median of `calls` calls, in microseconds.
fn median_us(calls: u32, mut call: impl FnMut(u32) -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for n in 0..calls {
        let clock = Stopwatch::start();
        call(n)?;
        times.push(clock.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().ok_or_else(|| "no calls".into())
}

fn expect(found: bool) -> Result<(), Failure> {
    if found { Ok(()) } else { Err("a read found something else than it should".into()) }
}

fn reads(rows: &mut Vec<Row>, registry: &Registry, model: &str, count: u32) -> Result<(), Failure> {
    let mut row =
        |what: &str, value: f64| rows.push(Row { what: format!("{what}, {count} versions"), unit: "us", value });
    let by_number = median_us(CALLS, |n| expect(registry.get(model, n * 7_919 % count + 1)?.is_some()))?;
    row("get by version", by_number);
    row("get by alias", median_us(CALLS, |_| expect(registry.get(model, "prod")?.is_some()))?);
    row("get latest", median_us(CALLS, |_| expect(registry.get(model, VersionRef::latest())?.is_some()))?);
    if count == 10_000 {
        let page = PageRequest::new().size(20);
        let first = median_us(PAGES, |_| expect(registry.list_versions(model, &page)?.versions.len() == 20))?;
        row("list page of 20", first);
        let tag = SearchRequest::new().in_model(model).filter("tags.shard = '7'").page_size(20);
        let indexed = median_us(PAGES, |_| expect(registry.search_versions(&tag)?.versions.len() == 20))?;
        row("search by tag, page of 20, by index", indexed);
        // The same rows by a pattern that no index answers.
        let like = SearchRequest::new().in_model(model).filter("tags.shard like '7'").page_size(20);
        let scanned = median_us(PAGES / 10, |_| expect(registry.search_versions(&like)?.versions.len() == 20))?;
        row("search by tag, page of 20, without index", scanned);
    }
    Ok(())
}

fn moves(rows: &mut Vec<Row>, registry: &Registry) -> Result<(), Failure> {
    let clock = Stopwatch::start();
    registry.rename_model("m10000", "renamed", &Change::new())?;
    let ms = |clock: &Stopwatch| clock.elapsed().as_secs_f64() * 1e3;
    rows.push(Row { what: "rename, 10000 versions, swept".to_owned(), unit: "ms", value: ms(&clock) });
    let clock = Stopwatch::start();
    expect(registry.delete_model("renamed", &Change::new())? == 10_000)?;
    rows.push(Row { what: "delete, 10000 versions, swept".to_owned(), unit: "ms", value: ms(&clock) });
    Ok(())
}

fn main() -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for callers in [1, 16, 64] {
        let value = register_rate(&scratch.path().join(format!("register-{callers}")), callers)?;
        rows.push(Row { what: format!("register_version, {callers} callers"), unit: "per s", value });
    }
    let db = MlPersistence::open(scratch.path().join("reads"))?;
    for count in SIZES {
        fill(db.registry(), &format!("m{count}"), count)?;
    }
    db.checkpoint()?;
    for count in SIZES {
        reads(&mut rows, db.registry(), &format!("m{count}"), count)?;
    }
    moves(&mut rows, db.registry())?;
    db.close()?;
    for row in &rows {
        println!("{:<60} {:>12.1} {}", row.what, row.value, row.unit);
    }
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}
