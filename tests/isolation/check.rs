//! The checker: is there one order of all events that explains what each of them saw?
//!
//! It builds a graph whose edges say "must stand before" and asks for a cycle (Adya's dependencies, extended by real
//! time). An order exists just when there is none. The edges:
//!
//! ```text
//!   k@v's writer ──> who saw k@v ──> k@(v+1)'s writer          wr, rw; writer to next writer: ww
//!   batch n ──> batch n + 1                                    commit order, as the engine told it
//!   any event that ended ──> a body that began later           bodies see every commit that came before
//!   plain read that ended ──> plain read that began later      what is visible only grows
//!   commit that must be visible ──> plain read that began later
//! ```
//!
//! A plain read may lag behind commit order, so the last edge is drawn from the moment of which the docs say that the
//! commit is visible: a `PowerLoss` one when it was acknowledged; a `Buffered` one when it returned and every
//! `PowerLoss` commit that may stand before it was acknowledged, too; any of them when a durable answer was built on
//! it. That a plain read stands at one point of commit order is then what "visibility is a prefix" means.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::history::{Event, Kind};

/// Why one node must stand before another.
type Why = &'static str;

const TIME: Why = "real time";
const BATCH: Why = "commit order";

#[derive(Default)]
struct Graph {
    edges: Vec<Vec<(usize, Why)>>,
}

impl Graph {
    fn node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            self.edges[from].push((to, why));
        }
    }

    /// Edges from every source to every target with a later time, by way of a chain of helper nodes: n instead of n².
    fn in_time(&mut self, sources: &[(u64, usize)], targets: &[(u64, usize)], why: Why) {
        let mut links: BTreeMap<u64, usize> = BTreeMap::new();
        for (time, _) in sources {
            if !links.contains_key(time) {
                let node = self.node();
                links.insert(*time, node);
            }
        }
        let chain: Vec<usize> = links.values().copied().collect();
        for pair in chain.windows(2) {
            self.edge(pair[0], pair[1], why);
        }
        for (time, node) in sources {
            self.edge(*node, links[time], why);
        }
        for (time, node) in targets {
            if let Some((_, link)) = links.range(..time).next_back() {
                self.edge(*link, *node, why);
            }
        }
    }

    /// Nodes that stand on a cycle or between two.
    fn unordered(&self) -> Vec<bool> {
        let forth: Vec<Vec<usize>> = self.edges.iter().map(|edges| edges.iter().map(|(to, _)| *to).collect()).collect();
        let mut back = vec![Vec::new(); forth.len()];
        for (from, edges) in forth.iter().enumerate() {
            edges.iter().for_each(|to| back[*to].push(from));
        }
        let (behind, before) = (peel(&forth), peel(&back));
        behind.into_iter().zip(before).map(|(behind, before)| behind && before).collect()
    }

    /// A shortest way from `start` back to itself among `allowed` nodes.
    fn cycle_through(&self, start: usize, allowed: &[bool]) -> Option<Vec<(usize, Why)>> {
        let mut came: HashMap<usize, (usize, Why)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (to, why) in self.edges[node].iter().filter(|(to, _)| allowed[*to]) {
                if came.contains_key(to) {
                    continue;
                }
                came.insert(*to, (node, why));
                if *to == start {
                    let (mut way, mut at) = (Vec::new(), start);
                    loop {
                        let (from, why) = came[&at];
                        way.push((from, why));
                        at = from;
                        if at == start {
                            way.reverse();
                            return Some(way);
                        }
                    }
                }
                queue.push_back(*to);
            }
        }
        None
    }
}

/// What is left when nodes to which no edge leads are taken away, again and again.
fn peel(edges: &[Vec<usize>]) -> Vec<bool> {
    let mut before = vec![0usize; edges.len()];
    edges.iter().flatten().for_each(|to| before[*to] += 1);
    let mut ready: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
    let mut left = vec![true; before.len()];
    while let Some(node) = ready.pop() {
        left[node] = false;
        for to in &edges[node] {
            before[*to] -= 1;
            if before[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    left
}

/// Refuses a history that no order explains, naming the events at fault.
pub fn check(events: &[Event]) -> Result<(), String> {
    if let Some(event) = events.iter().find(|event| !event.faults.is_empty()) {
        return Err(format!("{}\n  {event}", event.faults.join("\n")));
    }
    let writers = writers(events)?;
    let mut graph = Graph::default();
    for _ in events {
        graph.node();
    }
    for (&(key, version), &writer) in &writers {
        if let Some(next) = writers.get(&(key, version + 1)) {
            graph.edge(writer, *next, "ww");
        }
    }
    for (at, event) in events.iter().enumerate() {
        for seen in &event.seen {
            if seen.version > 0 {
                let Some(writer) = writers.get(&(seen.key, seen.version)) else {
                    return Err(format!("k{}@{} was never committed\n  {event}", seen.key, seen.version));
                };
                if events[*writer].id != seen.writer || seen.draft {
                    let real = &events[*writer];
                    return Err(format!(
                        "k{}@{} of #{} (draft: {}) is not what was committed\n  {event}\n  {real}",
                        seen.key, seen.version, seen.writer, seen.draft
                    ));
                }
                graph.edge(*writer, at, "wr");
            }
            if let Some(next) = writers.get(&(seen.key, seen.version + 1)) {
                graph.edge(at, *next, "rw");
            }
        }
    }
    let nodes = |wanted: &dyn Fn(&Event) -> bool, time: &dyn Fn(&Event) -> u64| -> Vec<(u64, usize)> {
        let chosen = events.iter().enumerate().filter(|(_, event)| wanted(event));
        chosen.map(|(at, event)| (time(event), at)).collect()
    };
    let is_plain = |event: &Event| event.kind == Kind::Plain;
    let ended = nodes(&|_| true, &|event| event.end);
    graph.in_time(&ended, &nodes(&|event| !is_plain(event), &|event| event.start), TIME);
    let mut visible = nodes(&is_plain, &|event| event.end);
    visible.extend(visible_from(events, &writers));
    graph.in_time(&visible, &nodes(&is_plain, &|event| event.start), TIME);
    let batches = nodes(&|event| event.batch.is_some(), &|event| event.batch.unwrap_or(0));
    graph.in_time(&batches, &batches, BATCH);
    explain(events, &graph)
}

/// The place in `events` of the one writer of each version.
fn writers(events: &[Event]) -> Result<BTreeMap<(usize, u64), usize>, String> {
    let mut writers = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        for wrote in &event.wrote {
            if let Some(other) = writers.insert(*wrote, at) {
                let other: &Event = &events[other];
                return Err(format!("k{}@{} was written twice: a lost update\n  {other}\n  {event}", wrote.0, wrote.1));
            }
        }
    }
    for &(key, version) in writers.keys() {
        if version > 1 && !writers.contains_key(&(key, version - 1)) {
            return Err(format!("k{key}@{} was never committed, but its successor was", version - 1));
        }
    }
    Ok(writers)
}

/// From when on each commit is visible to plain reads, by the docs.
fn visible_from(events: &[Event], writers: &BTreeMap<(usize, u64), usize>) -> Vec<(u64, usize)> {
    let mut from: BTreeMap<usize, u64> = BTreeMap::new();
    let mut durable: Vec<(u64, u64)> = events
        .iter()
        .filter(|event| event.kind == Kind::Durable && !event.wrote.is_empty())
        .map(|event| (event.start, event.end))
        .collect();
    durable.sort_unstable();
    // The newest end of those that began up to this one.
    let mut newest = 0;
    for (_, end) in &mut durable {
        newest = newest.max(*end);
        *end = newest;
    }
    for (at, event) in events.iter().enumerate().filter(|(_, event)| !event.wrote.is_empty()) {
        let before = durable.partition_point(|(start, _)| *start < event.end);
        let behind = before.checked_sub(1).map_or(0, |last| durable[last].1);
        let when = if event.kind == Kind::Durable { event.end } else { event.end.max(behind) };
        from.insert(at, when);
    }
    for event in events.iter().filter(|event| event.kind == Kind::Durable) {
        for writer in event.seen.iter().filter_map(|seen| writers.get(&(seen.key, seen.version))) {
            from.entry(*writer).and_modify(|when| *when = event.end.min(*when));
        }
    }
    from.into_iter().map(|(at, when)| (when, at)).collect()
}

/// How many events a cycle is sought from before the shortest one found is told.
const CYCLES_TRIED: usize = 40;

fn explain(events: &[Event], graph: &Graph) -> Result<(), String> {
    let left = graph.unordered();
    if !left.contains(&true) {
        return Ok(());
    }
    let tried = (0..events.len()).filter(|at| left[*at]).filter_map(|at| graph.cycle_through(at, &left));
    let cycle = tried.take(CYCLES_TRIED).min_by_key(|way| way.iter().filter(|(at, _)| *at < events.len()).count());
    let mut text = String::from("no order explains this, each must stand before the next, the last before the first:");
    for (at, why) in cycle.unwrap_or_default() {
        if let Some(event) = events.get(at) {
            text += &format!("\n  {event}\n    --{why}-->");
        }
    }
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::super::history::Seen;
    use super::*;

    /// An event made by hand: (id, kind, start, end), what it saw as (key, version, writer), what it wrote.
    fn event(
        id: u64,
        kind: Kind,
        (start, end): (u64, u64),
        seen: &[(usize, u64, u64)],
        wrote: &[(usize, u64)],
    ) -> Event {
        let mut event = Event::new(id, "event", kind, start, end);
        let saw = |&(key, version, writer)| Seen { key, version, writer, draft: false };
        event.seen = seen.iter().map(saw).collect();
        event.wrote = wrote.to_vec();
        event
    }

    use Kind::{Durable, Hasty, Plain};

    #[track_caller]
    fn refused(events: &[Event], because: &str) {
        let text = check(events).expect_err("a bad history passed");
        assert!(text.contains(because), "refused for another reason: {text}");
    }

    #[test]
    fn a_history_that_some_order_explains_passes() {
        check(&[]).unwrap();
        // Two bodies that overlap, a page that sees the first alone, one that sees both.
        check(&[
            event(1, Durable, (1, 5), &[(0, 0, 0)], &[(0, 1)]),
            event(2, Durable, (2, 8), &[(0, 1, 1), (1, 0, 0)], &[(0, 2), (1, 1)]),
            event(3, Plain, (6, 7), &[(0, 1, 1), (1, 0, 0)], &[]),
            event(4, Plain, (9, 10), &[(0, 2, 2), (1, 1, 2)], &[]),
        ])
        .unwrap();
    }

    #[test]
    fn a_lost_update_is_refused() {
        let both =
            [event(1, Durable, (1, 4), &[(0, 0, 0)], &[(0, 1)]), event(2, Durable, (2, 3), &[(0, 0, 0)], &[(0, 1)])];
        refused(&both, "a lost update");
        // The same without version numbers that clash: the second wrote over what it had not seen.
        refused(
            &[event(1, Durable, (1, 4), &[(0, 0, 0)], &[(0, 1)]), event(2, Durable, (2, 3), &[(0, 0, 0)], &[(0, 2)])],
            "--rw-->",
        );
    }

    #[test]
    fn write_skew_is_refused() {
        let skew = [
            event(1, Durable, (1, 4), &[(0, 0, 0), (1, 0, 0)], &[(0, 1)]),
            event(2, Durable, (2, 3), &[(0, 0, 0), (1, 0, 0)], &[(1, 1)]),
        ];
        refused(&skew, "--rw-->");
    }

    #[test]
    fn a_torn_page_and_a_torn_view_of_two_commits_are_refused() {
        let both = event(1, Durable, (1, 9), &[(0, 0, 0), (1, 0, 0)], &[(0, 1), (1, 1)]);
        refused(&[both.clone(), event(2, Plain, (2, 8), &[(0, 1, 1), (1, 0, 0)], &[])], "--wr-->");
        // Two commits, the second built on the first: who sees the second sees the first.
        let second = event(2, Hasty, (3, 5), &[(1, 0, 0), (0, 1, 1)], &[(1, 1)]);
        let first = event(1, Hasty, (1, 2), &[(0, 0, 0)], &[(0, 1)]);
        let torn = event(3, Plain, (4, 6), &[(1, 1, 2), (0, 0, 0)], &[]);
        refused(&[first, second, torn], "--rw-->");
        // One read that sees two versions of a key.
        let first = event(1, Hasty, (1, 2), &[(0, 0, 0)], &[(0, 1)]);
        refused(&[first, event(2, Plain, (1, 3), &[(0, 0, 0), (0, 1, 1)], &[])], "--wr-->");
    }

    #[test]
    fn a_read_that_begins_after_the_acknowledgement_and_misses_it_is_refused() {
        let write = event(1, Durable, (1, 2), &[(0, 0, 0)], &[(0, 1)]);
        for kind in [Plain, Durable, Hasty] {
            refused(&[write.clone(), event(2, kind, (3, 4), &[(0, 0, 0)], &[])], TIME);
            check(&[write.clone(), event(2, kind, (2, 4), &[(0, 0, 0)], &[])]).unwrap();
        }
    }

    #[test]
    fn a_buffered_commit_may_lag_only_behind_a_durable_one_that_is_under_way() {
        let buffered = event(1, Hasty, (2, 3), &[(0, 0, 0)], &[(0, 1)]);
        let missed = |time| event(2, Plain, time, &[(0, 0, 0)], &[]);
        let durable = event(3, Durable, (1, 6), &[(1, 0, 0)], &[(1, 1)]);
        refused(&[buffered.clone(), missed((4, 5))], TIME);
        check(&[buffered.clone(), missed((4, 5)), durable.clone()]).unwrap();
        refused(&[buffered.clone(), missed((7, 8)), durable.clone()], TIME);
        // A body sees it at once, and after a durable answer that was built on it so does everybody.
        refused(&[buffered.clone(), durable.clone(), event(2, Hasty, (4, 5), &[(0, 0, 0)], &[])], TIME);
        let built_on = event(4, Durable, (4, 5), &[(0, 1, 1)], &[]);
        refused(&[buffered, durable, built_on, missed((6, 7))], TIME);
    }

    #[test]
    fn plain_reads_that_go_back_are_refused() {
        let write = event(1, Durable, (1, 9), &[(0, 0, 0)], &[(0, 1)]);
        let new = event(2, Plain, (2, 3), &[(0, 1, 1)], &[]);
        refused(&[write.clone(), new.clone(), event(3, Plain, (4, 5), &[(0, 0, 0)], &[])], TIME);
        check(&[write, new, event(3, Plain, (2, 5), &[(0, 0, 0)], &[])]).unwrap();
    }

    #[test]
    fn reads_of_what_was_taken_back_or_written_over_in_the_same_body_are_refused() {
        refused(&[event(1, Plain, (1, 2), &[(0, 1, 7)], &[])], "never committed");
        let write = event(1, Durable, (1, 2), &[(0, 0, 0)], &[(0, 1)]);
        refused(&[write.clone(), event(2, Plain, (3, 4), &[(0, 1, 7)], &[])], "not what was committed");
        let mut draft = event(2, Plain, (3, 4), &[(0, 1, 1)], &[]);
        draft.seen[0].draft = true;
        refused(&[write, draft], "not what was committed");
        // The writer of version 1 failed, but a commit was built on it.
        refused(&[event(2, Durable, (3, 4), &[(0, 1, 1)], &[(0, 2)])], "never committed");
    }

    #[test]
    fn a_read_that_sees_a_later_batch_and_misses_an_earlier_one_is_refused() {
        let mut first = event(1, Hasty, (1, 9), &[(0, 0, 0)], &[(0, 1)]);
        let mut second = event(2, Hasty, (1, 9), &[(1, 0, 0)], &[(1, 1)]);
        let page = event(3, Plain, (1, 9), &[(0, 0, 0), (1, 1, 2)], &[]);
        (first.batch, second.batch) = (Some(4), Some(4));
        check(&[first.clone(), second.clone(), page.clone()]).unwrap();
        second.batch = Some(5);
        refused(&[first, second, page], BATCH);
    }

    #[test]
    fn a_fault_that_was_seen_at_once_is_reported() {
        let mut read = event(1, Plain, (1, 2), &[], &[]);
        read.faults.push("half a key".to_owned());
        refused(&[read], "half a key");
    }
}
