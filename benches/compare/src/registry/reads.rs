//! Reads of one caller, each checked; medians of single calls in microseconds.

use ml_persistence::Stopwatch;

use super::{ALIAS, PAGE, SHARDS, SIZES, Shop};
use crate::Failure;
use crate::systems::Held;

const GETS: u32 = 2_000;
const SEARCHES: u64 = 500;

/// Fills the store with so many versions and measures what is asked of that many.
pub(super) fn times(shop: &dyn Shop, versions: u32) -> Result<Vec<(String, f64)>, Failure> {
    shop.fill(versions)?;
    shop.begin_reads()?;
    let mut rows = vec![
        (format!("get by version, of {versions}"), gets(shop, versions)?),
        (format!("get by alias, of {versions}"), aliases(shop, versions)?),
    ];
    let [.., largest] = SIZES;
    if versions == largest {
        rows.push((format!("list page of {PAGE}, of {versions}"), pages(shop, versions)?));
        rows.push((format!("search a tag, page of {PAGE}, of {versions}"), searches(shop)?));
    }
    shop.end_reads()?;
    let count = u64::from(versions);
    let (held, expected) = (shop.held()?, Held { records: count, entries: count, counter: i64::from(versions) });
    if held == expected { Ok(rows) } else { Err(format!("holds {held:?} after {expected:?}").into()) }
}

fn gets(shop: &dyn Shop, versions: u32) -> Result<f64, Failure> {
    median_us((0..GETS).map(|n| {
        let number = n * 7_919 % versions + 1;
        let (us, found) = timed(|| shop.by_number(number))?;
        require(found.ok_or("no such version")?.check()?.number == number, "get by version")?;
        Ok(us)
    }))
}

fn aliases(shop: &dyn Shop, versions: u32) -> Result<f64, Failure> {
    median_us((0..GETS).map(|_| {
        let (us, found) = timed(|| shop.by_alias(ALIAS))?;
        let found = found.ok_or("no such alias")?;
        require(found.check()?.number == versions / 2 && found.aliases == [ALIAS], "get by alias")?;
        Ok(us)
    }))
}

/// One walk over all pages: the cost of a page must not depend on where it is.
fn pages(shop: &dyn Shop, versions: u32) -> Result<f64, Failure> {
    let mut after: Option<String> = None;
    median_us((0..versions as usize / PAGE).map(|_| {
        let (us, page) = timed(|| shop.list(after.as_deref()))?;
        require(page.versions.len() == PAGE, "list page")?;
        after = page.next;
        Ok(us)
    }))
}

/// First pages, of one value after the other.
fn searches(shop: &dyn Shop) -> Result<f64, Failure> {
    median_us((0..SEARCHES).map(|n| {
        let shard = (n % SHARDS).to_string();
        let (us, page) = timed(|| shop.search(&shard, None))?;
        require(page.versions.len() == PAGE, "search page")?;
        Ok(us)
    }))
}

/// Only the call itself is timed, not what is made of its answer.
fn timed<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<(f64, T), Failure> {
    let clock = Stopwatch::start();
    let answer = call()?;
    Ok((clock.elapsed().as_nanos() as f64 / 1e3, answer))
}

fn require(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(format!("{what}: found something else than it should").into()) }
}

fn median_us(calls: impl Iterator<Item = Result<f64, Failure>>) -> Result<f64, Failure> {
    let times = calls.collect::<Result<Vec<_>, _>>()?;
    Ok(crate::report::spread(times.into_iter()).median)
}
