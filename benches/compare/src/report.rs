//! Medians and spread, ratios beside what we aim for, as Markdown and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::load::Burst;
use crate::options::{Mode, Options};
use crate::systems::{ALL, Contender, Group};

/// Every burst of a run.
#[derive(Debug, Default)]
pub struct Table {
    /// By system, callers; each in the order of rounds.
    bursts: BTreeMap<(&'static str, usize), Vec<Burst>>,
}

/// Ours over a peer, aimed for at so many callers: (callers, in bursts, sustained).
type Aims = [(usize, f64, Option<f64>); 3];
const AIMS_SLED: Aims = [(1, 2.0, Some(1.8)), (16, 7.0, Some(5.0)), (64, 14.0, Some(7.0))];
const AIMS_SQLITE: Aims = [(1, 1.0, None), (16, 5.0, None), (64, 10.0, None)];
/// Journal syncs for each commit: (callers, at most).
const AIMS_SYNCS: [(usize, f64); 3] = [(1, 1.0), (16, 0.08), (64, 0.03)];

/// Prints where and how the run takes place.
pub fn machine(options: &Options) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!(
        "{cores} cores; load before the run {}; stores on {}; {:?}, rounds {}\n",
        load.join(" "),
        file_system(&options.folder),
        options.mode,
        options.rounds
    );
}

/// The kind of file system below `folder`, where the operating system tells.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        folder.starts_with(place).then_some((place.len(), kind))
    });
    below.max_by_key(|(len, _)| *len).map_or_else(|| "an unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}

/// Median, least and most.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The middle, or halfway between the two middle ones.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Sums values up; of none, everything is NaN.
pub fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 };
    Spread { median, min: at(0), max: at(values.len().saturating_sub(1)) }
}

fn milliseconds(us: f64) -> String {
    format!("{:.2}", us / 1e3)
}

impl Table {
    /// Takes in one burst.
    pub fn add(&mut self, contender: &Contender, callers: usize, mut burst: Burst) {
        // A long run answers millions of calls; a thousand points of their distribution are enough from here on.
        let every = (burst.latencies_ns.len() / 100_000).max(1);
        burst.latencies_ns = burst.latencies_ns.into_iter().step_by(every).collect();
        self.bursts.entry((contender.name, callers)).or_default().push(burst);
    }

    fn of(&self, name: &'static str, callers: usize) -> &[Burst] {
        self.bursts.get(&(name, callers)).map_or(&[], Vec::as_slice)
    }

    fn rate(&self, name: &'static str, callers: usize) -> Option<Spread> {
        let bursts = self.of(name, callers);
        (!bursts.is_empty()).then(|| spread(bursts.iter().map(Burst::rate)))
    }

    /// The system of a group with the best median.
    fn best(&self, group: Group, callers: usize) -> Option<&'static str> {
        let members = ALL.iter().filter(|contender| contender.group == group);
        let rated = members.filter_map(|member| Some((member.name, self.rate(member.name, callers)?.median)));
        rated.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name)
    }

    /// Ours over the best of a group: of the medians, and the least and most of the rounds.
    fn ratio(&self, group: Group, callers: usize) -> Option<(&'static str, Spread)> {
        let (ours, peer) = (self.best(Group::Ours, callers)?, self.best(group, callers)?);
        let rounds = self.of(ours, callers).iter().zip(self.of(peer, callers));
        let mut ratio = spread(rounds.map(|(ours, peer)| ours.rate() / peer.rate()));
        ratio.median = self.rate(ours, callers)?.median / self.rate(peer, callers)?.median;
        Some((peer, ratio))
    }

    /// Prints everything as Markdown.
    pub fn print(&self, options: &Options) {
        println!("A commit is a record of 300 bytes, an index entry and a counter in one transaction.\n");
        println!("| callers | system | an answer survives | commits/s | min .. max | p50 ms | p99 ms | p99.9 ms |");
        println!("|--:|---|---|--:|--:|--:|--:|--:|");
        for callers in &options.callers {
            for contender in ALL {
                let bursts = self.of(contender.name, *callers);
                if bursts.is_empty() {
                    continue;
                }
                let rate = spread(bursts.iter().map(Burst::rate));
                let latency =
                    |share: f64| milliseconds(spread(bursts.iter().map(|burst| burst.latency_us(share))).median);
                println!(
                    "| {callers} | {} | {} | {:.0} | {:.0} .. {:.0} | {} | {} | {} |",
                    contender.name,
                    contender.durability,
                    rate.median,
                    rate.min,
                    rate.max,
                    latency(0.5),
                    latency(0.99),
                    latency(0.999),
                );
            }
        }
        self.print_ratios(options);
        self.print_counts(options);
    }

    fn print_ratios(&self, options: &Options) {
        let sustained = matches!(options.mode, Mode::Sustained(_));
        println!("\n| callers | ours / sled each | aim | ours / sqlite each | aim | the faster sqlite |");
        println!("|--:|--:|--:|--:|--:|---|");
        for callers in &options.callers {
            let cell = |group, aims: &Aims| {
                let known = aims.iter().find(|(at, ..)| at == callers);
                let aim = known.and_then(|(_, burst, long)| if sustained { *long } else { Some(*burst) });
                let ratio = self.ratio(group, *callers);
                let text = ratio.map(|(_, r)| format!("{:.2} ({:.2} .. {:.2})", r.median, r.min, r.max));
                let met = match (aim, ratio) {
                    (Some(aim), Some((_, ratio))) if ratio.median < aim => " (missed)",
                    _ => "",
                };
                (text.unwrap_or_default(), aim.map_or_else(String::new, |aim| format!("{aim}{met}")))
            };
            let (sled, sled_aim) = cell(Group::Sled, &AIMS_SLED);
            let (sqlite, sqlite_aim) = cell(Group::Sqlite, &AIMS_SQLITE);
            let faster = self.best(Group::Sqlite, *callers).unwrap_or_default();
            println!("| {callers} | {sled} | {sled_aim} | {sqlite} | {sqlite_aim} | {faster} |");
        }
    }

    fn print_counts(&self, options: &Options) {
        println!("\n| callers | system | log syncs a commit | aim | largest batch | mean batch KiB | held back s |");
        println!("|--:|---|--:|--:|--:|--:|--:|");
        for callers in &options.callers {
            for contender in ALL {
                let bursts = self.of(contender.name, *callers);
                let known = || bursts.iter().map(|burst| &burst.counts);
                if known().all(|counts| counts.syncs_per_commit.is_none()) {
                    continue;
                }
                let syncs = spread(known().filter_map(|counts| counts.syncs_per_commit)).median;
                let largest = known().filter_map(|counts| counts.batch_commits_max).max().unwrap_or_default();
                let kib = spread(known().filter_map(|counts| counts.batch_bytes)).median / 1024.0;
                let stalled = spread(known().filter_map(|counts| counts.stall_seconds)).median;
                let aim = AIMS_SYNCS.iter().find(|(at, _)| at == callers && contender.group == Group::Ours);
                let aim = aim.map_or_else(String::new, |(_, most)| format!("<= {most}"));
                println!(
                    "| {callers} | {} | {syncs:.4} | {aim} | {largest} | {kib:.1} | {stalled:.2} |",
                    contender.name
                );
            }
        }
    }

    /// Everything, round by round.
    pub fn json(&self, options: &Options) -> Value {
        let rows = self.bursts.iter().map(|((name, callers), bursts)| {
            let all = |of: &dyn Fn(&Burst) -> Value| bursts.iter().map(of).collect::<Vec<_>>();
            json!({
                "system": name,
                "callers": callers,
                "commits_per_second": all(&|burst| json!(burst.rate())),
                "p50_us": all(&|burst| json!(burst.latency_us(0.5))),
                "p99_us": all(&|burst| json!(burst.latency_us(0.99))),
                "p999_us": all(&|burst| json!(burst.latency_us(0.999))),
                "syncs_per_commit": all(&|burst| json!(burst.counts.syncs_per_commit)),
                "stall_seconds": all(&|burst| json!(burst.counts.stall_seconds)),
            })
        });
        json!({ "mode": format!("{:?}", options.mode), "rounds": options.rounds, "rows": rows.collect::<Vec<_>>() })
    }
}
