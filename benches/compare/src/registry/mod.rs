//! The model registry: registering a version, finding one, a page of a listing, a search by a tag.
//!
//! Registrations come from so many callers at once, all into one model, each waiting until its own is durable; every
//! version has two tags, a metric, a hyperparameter, a run and a source, and becomes the active one. Reads come from one
//! caller and bring whole versions, with tags and aliases; every answer is looked at.
//!
//! ```text
//!   each round, stores in turn      register   fresh folder, so many seconds, for each number of callers; then audit
//!                                   reads      fresh folder, 10 and 10,000 versions: get by number, get by alias
//!                                              and, of 10,000, all pages of 20 and first pages of 20 with a tag
//!   audit                           numbers 1..=n without a hole, n registrations answered, the model's mark at n,
//!                                   every version found by its tag, and by no other
//! ```
//!
//! SQLite's reads share one read transaction, while each of ours is a point in time of its own. Of several rounds the
//! medians count. What differs in what is kept: ours also remembers every move of the active version; the tables don't.

mod audit;
mod ours;
mod reads;
mod sqlite;
mod table;

use std::path::Path;

use crate::options::Options;
use crate::systems::{Item, System, scramble};
use crate::{Failure, load};
use table::Table;

/// The one model.
const MODEL: &str = "m";
/// The alias that points at a version in the middle.
const ALIAS: &str = "prod";
/// The tag that is searched for, and how many values it has.
const TAG: &str = "shard";
const SHARDS: u64 = 100;
/// Rows of a page.
const PAGE: usize = 20;
/// Versions that are there when reads are measured.
const SIZES: [u32; 2] = [10, 10_000];

/// What is registered: everything follows from the seed.
struct Draft {
    run: String,
    shard: String,
    f1: f64,
}

impl Draft {
    fn new(seed: u64) -> Self {
        // Ten bits over a power of two: few digits, which every reader of JSON turns into the very same number.
        let f1 = (scramble(seed) >> 54) as f64 / 1024.0;
        Draft { run: format!("run-{seed}"), shard: (scramble(seed) % SHARDS).to_string(), f1 }
    }

    /// The next one of a caller.
    fn of(item: &mut Item) -> Self {
        let [a, b, .., c, d, e, f] = item.step().key;
        Draft::new(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// A version as it was answered, down to what is looked at.
struct Seen {
    number: u32,
    run: String,
    shard: String,
    f1: f64,
    tags: usize,
    aliases: Vec<String>,
}

impl Seen {
    /// Refuses a version whose parts do not belong together.
    fn check(&self) -> Result<&Self, Failure> {
        let seed = self.run.strip_prefix("run-").and_then(|seed| seed.parse().ok()).ok_or("a run without a seed")?;
        let draft = Draft::new(seed);
        if draft.shard == self.shard && draft.f1 == self.f1 && self.tags == 2 {
            Ok(self)
        } else {
            Err(format!("version {} of {} was answered with another's data", self.number, self.run).into())
        }
    }
}

/// A page, and what leads to the next.
struct Page {
    versions: Vec<Seen>,
    next: Option<String>,
}

/// A registry under measurement. [`System::session`] registers, [`System::held`] is the [`audit`].
trait Shop: System {
    /// Registers so many versions, no matter how, and points [`ALIAS`] at the one in the middle; leaves nothing to do
    /// behind.
    fn fill(&self, versions: u32) -> Result<(), Failure>;

    /// Many reads follow, of one point in time if that makes them cheaper.
    fn begin_reads(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// They are over.
    fn end_reads(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// One version by its number.
    fn by_number(&self, number: u32) -> Result<Option<Seen>, Failure>;

    /// One version by its alias.
    fn by_alias(&self, alias: &str) -> Result<Option<Seen>, Failure>;

    /// A page of [`PAGE`] in the order of numbers.
    fn list(&self, after: Option<&str>) -> Result<Page, Failure>;

    /// A page of [`PAGE`] in the order of numbers, of those with this value of [`TAG`].
    fn search(&self, shard: &str, after: Option<&str>) -> Result<Page, Failure>;

    /// The highest number that the model gave out, and how many versions it says that it has.
    fn marks(&self) -> Result<(u32, u32), Failure>;
}

type Open = fn(&Path) -> Result<Box<dyn Shop>, Failure>;

/// A row of the tables.
struct Entrant {
    name: &'static str,
    /// Reads are the same for any way to share the writes, so one of the ways is enough.
    reads: bool,
    open: Open,
}

const ENTRANTS: [Entrant; 3] = [
    Entrant { name: "ours", reads: true, open: ours::open },
    Entrant { name: "sqlite FULL, one connection", reads: true, open: sqlite::open_shared },
    Entrant { name: "sqlite FULL, own connections", reads: false, open: sqlite::open_own },
];

/// Runs every store in turn, `options.rounds` times, and prints the medians.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut table = Table::default();
    for round in 0..options.rounds {
        for callers in &options.callers {
            for entrant in in_turn(round) {
                let rate = with_fresh(entrant, options, |shop| register_rate(shop, *callers, options))?;
                eprintln!("round {} {callers:>2} callers {:<28} {rate:>9.0}/s", round + 1, entrant.name);
                table.add(entrant.name, format!("register, {callers} callers"), "per s", rate);
            }
        }
        for size in SIZES {
            for entrant in in_turn(round).filter(|entrant| entrant.reads) {
                let times = with_fresh(entrant, options, |shop| reads::times(shop, size))?;
                for (what, us) in times {
                    eprintln!("round {} {what:<36} {:<28} {us:>9.1} us", round + 1, entrant.name);
                    table.add(entrant.name, what, "us", us);
                }
            }
        }
    }
    table.print();
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", table.json(options)))?;
    }
    Ok(())
}

/// A store's leftovers (write-back, garbage) are paid by whoever comes next, so nobody is always next.
fn in_turn(round: usize) -> impl Iterator<Item = &'static Entrant> {
    ENTRANTS.iter().cycle().skip(round % ENTRANTS.len()).take(ENTRANTS.len())
}

/// Opens the store in a fresh folder, uses it and clears it away.
fn with_fresh<T>(
    entrant: &Entrant,
    options: &Options,
    used: impl FnOnce(&dyn Shop) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(&options.folder)?;
    let shop = (entrant.open)(&folder.path().join("data"))?;
    let answer = used(&*shop).map_err(|error| format!("{}: {error}", entrant.name))?;
    shop.close()?;
    Ok(answer)
}

/// Registrations a second, once what they left is found to be whole.
fn register_rate(shop: &dyn Shop, callers: usize, options: &Options) -> Result<f64, Failure> {
    let burst = load::run(shop, callers, options.seconds())?;
    let held = shop.held()?;
    if held != burst.expected() {
        return Err(format!("holds {held:?} after {:?}", burst.expected()).into());
    }
    Ok(burst.rate())
}
