//! Construction under writers: whatever happens between looking up a step and doing it, what is under construction
//! holds exactly what it says.

use super::*;
use crate::engine::Tree;
use crate::keys::KeyReader;
use crate::record::collection::definition::late_prefix;
use crate::record::testing;

/// One collection whose schema changes while it is written, on a store that runs every body twice.
fn change_under_writes(seed: u64) {
    let dice = Dice::new(seed);
    let (engine, mut store) = testing::store();
    let mut mask = dice.below(64) as u8;
    let mut tags = open(&store, mask);
    for _ in 0..dice.below(40) {
        dice.write(&tags);
    }
    let mut pending = Vec::new();
    for _ in 0..60 {
        match dice.below(12) {
            0 => {
                mask = dice.below(64) as u8;
                tags = open(&store, mask);
            }
            // A new process: it knows what is stored, and nothing else.
            1 => {
                pending.clear();
                store =
                    RecordStore::new(engine.clone(), std::sync::Arc::new(crate::ManualClock::at(1)), store_ids(seed));
                tags = open(&store, mask);
            }
            2 | 3 => pending.push(tags.next_step().unwrap()),
            4 | 5 if !pending.is_empty() => {
                let (layout, step) = pending.swap_remove(dice.below(pending.len() as u64) as usize);
                tags.take_step(&layout, step).unwrap();
            }
            6 | 7 => drop(tags.build_step().unwrap()),
            _ => dice.write(&tags),
        }
        assert_eq!(verify(&store).violations, [], "seed {seed}");
        compare(&tags, mask);
    }
    tags.build().unwrap();
    assert!(tags.progress().unwrap().ready);
    assert_eq!(verify(&store).violations, [], "seed {seed}");
    compare(&tags, mask);
    // Nothing is left of what is gone, and no number was given out twice.
    let layout = tags.layout().unwrap();
    let mut numbers: Vec<u32> = layout.definition.items.iter().map(|item| item.number).collect();
    numbers.push(layout.definition.total);
    for tree in [Tree::Index, Tree::Counter] {
        for (key, _) in engine.entries(tree) {
            let number = KeyReader::new(&key).u32().unwrap();
            assert!(numbers.contains(&number), "seed {seed}: a rest of {number}");
        }
    }
    let late = late_prefix();
    assert!(!engine.entries(Tree::Meta).iter().any(|(key, _)| key.starts_with(&late)), "seed {seed}");
}

fn store_ids(seed: u64) -> std::sync::Arc<crate::Ids> {
    std::sync::Arc::new(crate::Ids::seeded(seed))
}

#[test]
fn a_schema_may_change_at_any_time_under_writers_and_every_index_and_counter_stays_exact() {
    for seed in 0..30 {
        change_under_writes(seed);
    }
}

#[test]
fn a_record_that_slips_in_behind_the_scan_is_taken_in_at_the_end() {
    let (_, store) = testing::store();
    let tags = open(&store, 0);
    for name in ["b", "d", "f"] {
        tags.save(tag(name)).unwrap();
    }
    let tags = open(&store, ALL);
    let (layout, step) = tags.next_step().unwrap();
    tags.save(tag("c")).unwrap();
    tags.take_step(&layout, step).unwrap();
    tags.save(Tag { weight: 5, ..tag("c") }).unwrap();
    assert_eq!(verify(&store).violations, []);
    tags.build().unwrap();
    assert_eq!(verify(&store).violations, []);
    assert_eq!(tags.count_by("kinds", 1).unwrap(), 4);
    assert_eq!(tags.sum("weights", 1).unwrap(), 8);
    assert_eq!(tags.count_by("weights", 1).unwrap_err().kind(), ErrorKind::Invalid, "a sum counts nothing");
}

#[test]
fn two_holders_of_a_new_unique_place_stop_the_construction_until_one_gives_way() {
    let (_, store) = testing::store();
    let tags = open(&store, 0);
    for name in ["a", "b"] {
        tags.save(Tag { slug: Some("same".into()), ..tag(name) }).unwrap();
    }
    let tags = open(&store, ALL);
    let error = tags.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("by_slug"), "{error}");
    let unready = message_of(tags.list(&Query::index("by_slug")));
    assert!(unready.contains("0 of 2 records"), "{unready}");
    assert_eq!(verify(&store).violations, []);
    tags.save(tag("b")).unwrap();
    tags.build().unwrap();
    compare(&tags, ALL);
}
