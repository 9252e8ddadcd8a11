//! The registry: what registering costs alone and among many, and that finding a version does not grow with how many
//! there are.
//!
//! ```text
//! cargo bench --bench registry              a table                       well below four minutes
//! cargo bench --bench registry -- --json    one line of JSON instead
//!
//!   register_version   durable registrations into one model, by so many callers at once      per second, over thousands
//!   get …              single calls, of 10, 1,000, 10,000 and 100,000 versions               median, 99th percentile
//!   list, search       pages of 20, of 10,000 versions                                       the same
//!   rename, delete     a model of 10,000 versions, until nothing is left behind              once
//! ```
//!
//! The store is sled in a fresh folder. Fillings are buffered, and brought down to sled before anything is read. Every
//! answer is looked at.

use std::path::Path;

use ml_persistence::registry::{Change, PageRequest, SearchRequest, VersionRef};
use ml_persistence::{Durability, MlPersistence, NewVersion, Registry, Stopwatch};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Callers, and how many registrations they share.
const REGISTRATIONS: [(u32, u32); 3] = [(1, 3_000), (16, 16_000), (64, 32_000)];
const SIZES: [u32; 4] = [10, 1_000, 10_000, 100_000];
/// The size whose pages are measured, and that is renamed and deleted.
const LISTED: u32 = 10_000;
const CALLS: u32 = 5_000;
const PAGES: u32 = 500;

/// One line of the result.
#[derive(serde::Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    value: f64,
    /// The 99th percentile, of single calls.
    p99: Option<f64>,
}

impl Row {
    fn once(what: String, unit: &'static str, value: f64) -> Self {
        Row { what, unit, value, p99: None }
    }
}

fn version(number: u32) -> NewVersion {
    NewVersion::new()
        .metric("f1", f64::from(number) / 1e4)
        .run_id(format!("run-{number}"))
        .tag("shard", (number % 100).to_string())
        .source("git://models/train")
}

/// Registrations from so many callers, each waiting for its own to be durable; how many a second.
fn register_rate(folder: &Path, callers: u32, registrations: u32) -> Result<f64, Failure> {
    let db = MlPersistence::open(folder)?;
    let clock = Stopwatch::start();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let registry = db.registry();
                scope.spawn(move || {
                    (0..registrations / callers).try_for_each(|n| registry.register_version("m", version(n)).map(drop))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let rate = f64::from(registrations / callers * callers) / clock.elapsed().as_secs_f64();
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

/// Calls `call` so often; the median and the 99th percentile, in microseconds.
fn timed(what: String, calls: u32, mut call: impl FnMut(u32) -> Result<(), Failure>) -> Result<Row, Failure> {
    let mut times = Vec::new();
    for n in 0..calls {
        let clock = Stopwatch::start();
        call(n)?;
        times.push(clock.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().ok_or("no calls");
    Ok(Row { what, unit: "us", value: at(50)?, p99: Some(at(99)?) })
}

fn expect(found: bool) -> Result<(), Failure> {
    if found { Ok(()) } else { Err("a read found something else than it should".into()) }
}

fn gets(rows: &mut Vec<Row>, registry: &Registry) -> Result<(), Failure> {
    let of = |count: u32| (format!("m{count}"), if count == 10 { CALLS / 5 } else { CALLS });
    for count in SIZES {
        let (model, calls) = of(count);
        let number = |n: u32| (u64::from(n) * 7_919 % u64::from(count)) as u32 + 1;
        let what = format!("get by version, of {count}");
        rows.push(timed(what, calls, |n| expect(registry.get(&model, number(n))?.is_some()))?);
    }
    for count in SIZES {
        let (model, calls) = of(count);
        let what = format!("get by alias, of {count}");
        rows.push(timed(what, calls, |_| expect(registry.get(&model, "prod")?.is_some()))?);
    }
    for count in SIZES {
        let (model, calls) = of(count);
        let what = format!("get latest, of {count}");
        rows.push(timed(what, calls, |_| expect(registry.get(&model, VersionRef::latest())?.is_some()))?);
    }
    Ok(())
}

fn pages(rows: &mut Vec<Row>, registry: &Registry) -> Result<(), Failure> {
    let model = format!("m{LISTED}");
    let mut next = PageRequest::new().size(20);
    rows.push(timed(format!("list page of 20, each of {LISTED}"), LISTED / 20, |_| {
        let page = registry.list_versions(&model, &next)?;
        next = page.next_page_token.into_iter().fold(PageRequest::new().size(20), PageRequest::token);
        expect(page.versions.len() == 20)
    })?);
    let searched = |filter: String| SearchRequest::new().in_model(&model).filter(filter).page_size(20);
    rows.push(timed(format!("search by tag, page of 20 of {LISTED}, by index"), PAGES, |n| {
        let request = searched(format!("tags.shard = '{}'", n % 100));
        expect(registry.search_versions(&request)?.versions.len() == 20)
    })?);
    // The same rows by a pattern that no index answers.
    rows.push(timed(format!("search by tag, page of 20 of {LISTED}, without index"), PAGES / 5, |n| {
        let request = searched(format!("tags.shard ilike '{}'", n % 100));
        expect(registry.search_versions(&request)?.versions.len() == 20)
    })?);
    Ok(())
}

fn moves(rows: &mut Vec<Row>, registry: &Registry) -> Result<(), Failure> {
    let clock = Stopwatch::start();
    registry.rename_model(&format!("m{LISTED}"), "renamed", &Change::new())?;
    let ms = |clock: &Stopwatch| clock.elapsed().as_secs_f64() * 1e3;
    rows.push(Row::once(format!("rename, {LISTED} versions, swept"), "ms", ms(&clock)));
    let clock = Stopwatch::start();
    expect(registry.delete_model("renamed", &Change::new())? == LISTED)?;
    rows.push(Row::once(format!("delete, {LISTED} versions, swept"), "ms", ms(&clock)));
    Ok(())
}

fn main() -> Result<(), Failure> {
    let json = std::env::args().any(|argument| argument == "--json");
    let scratch = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for (callers, registrations) in REGISTRATIONS {
        let rate = register_rate(&scratch.path().join(format!("register-{callers}")), callers, registrations)?;
        rows.push(Row::once(format!("register_version, {callers} callers"), "per s", rate));
    }
    let db = MlPersistence::open(scratch.path().join("reads"))?;
    for count in SIZES {
        fill(db.registry(), &format!("m{count}"), count)?;
    }
    db.checkpoint()?;
    gets(&mut rows, db.registry())?;
    pages(&mut rows, db.registry())?;
    moves(&mut rows, db.registry())?;
    db.close()?;
    if json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    println!("{:<56} {:>12} {:>12}", "", "median", "p99");
    for row in &rows {
        let p99 = row.p99.map_or_else(String::new, |p99| format!("{p99:.1}"));
        println!("{:<56} {:>12.1} {p99:>12} {}", row.what, row.value, row.unit);
    }
    Ok(())
}
