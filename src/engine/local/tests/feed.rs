//! The change feed.

use super::*;

/// Every change after `cursor`, page by page.
fn feed(engine: &LocalEngine, mut cursor: Cursor, limit: usize) -> (Vec<Change>, Cursor) {
    let mut all = Vec::new();
    loop {
        let page = engine.changes(&cursor, limit).unwrap();
        if page.changes.is_empty() && page.cursor == cursor {
            return (all, cursor);
        }
        all.extend(page.changes);
        cursor = page.cursor;
    }
}

#[test]
fn the_change_feed_tells_every_durable_write_in_order_over_segments_and_reopenings() {
    let machine = Machine::new();
    let mut expected: Vec<(String, Option<String>)> = Vec::new();
    let mut engine = machine.engine();
    let start = engine.cursor();
    for round in 0..4 {
        for i in 0..150 {
            let (key, value) = (format!("key {}", i % 40), format!("{round} {i} {}", "x".repeat(1_500)));
            put(&engine, Durability::PowerLoss, &key, &value).unwrap();
            expected.push((key, Some(value)));
        }
        let gone = format!("key {round}");
        let options = TxnOptions::default();
        engine.transact(&options, &mut |txn| txn.delete(Tree::Kv, gone.as_bytes())).unwrap();
        expected.push((gone, None));
        if round == 1 {
            engine.checkpoint().unwrap();
        }
        engine.close().unwrap();
        engine = machine.engine();
    }
    for limit in [1, 7, 1_000] {
        let (changes, end) = feed(&engine, start, limit);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let seen: Vec<(String, Option<String>)> = changes
            .iter()
            .filter(|change| change.tree == Tree::Kv)
            .map(|change| (text(&change.key), change.value.as_deref().map(text)))
            .collect();
        assert!(seen == expected, "limit {limit}");
        assert!(changes.windows(2).all(|pair| pair[0].cursor <= pair[1].cursor));
        assert_eq!(end, engine.cursor());
    }
    assert_eq!(engine.stats().journal_pinned_bytes, 0);
}

#[test]
fn a_feed_reader_behind_the_journal_or_of_another_history_is_told_so() {
    let mut machine = Machine::new();
    machine.config.journal_retention_bytes = 0;
    let engine = machine.engine();
    let start = engine.cursor();
    for i in 0..2_000 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &"x".repeat(1_500)).unwrap();
    }
    engine.checkpoint().unwrap();
    put(&engine, Durability::PowerLoss, "last", "1").unwrap();
    engine.checkpoint().unwrap();
    assert_eq!(engine.changes(&start, 10).unwrap_err().kind(), ErrorKind::NeedsFull);

    let here = engine.cursor();
    let of = |change: &dyn Fn(&mut Cursor)| {
        let mut cursor = here;
        change(&mut cursor);
        engine.changes(&cursor, 10).unwrap_err().kind()
    };
    assert_eq!(of(&|cursor| cursor.lineage ^= 1), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.sequence += 1_000), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.epoch.id ^= 1), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.epoch.number += 1), ErrorKind::Invalid);
}
