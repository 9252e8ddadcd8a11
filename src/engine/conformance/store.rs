//! The promises of [`KvStore`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::{BOTH_DIRECTIONS, Dice, Model, every_range, model_scan, value};
use crate::engine::{Direction, KEY_BYTES_MAX, KeyRange, KvStore, Tree, VALUE_BYTES_MAX, Value, WriteBatch};
use crate::error::Result;

/// Makes an empty store.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn KvStore>;

/// A promise, as a function.
pub type Check = fn(Make<'_>) -> Result<()>;

list! { Check:
    what_is_absent_is_none,
    a_batch_is_visible_in_every_tree_when_apply_returns,
    a_later_batch_replaces_and_removes,
    trees_do_not_see_each_other,
    an_empty_batch_changes_nothing,
    a_mark_stays_until_the_next_one_and_is_in_no_tree,
    scans_find_what_a_model_finds,
    keys_are_ordered_as_unsigned_bytes,
    the_longest_keys_and_values_and_empty_values_fit,
    a_batch_of_the_largest_size_is_applied,
    random_batches_leave_what_a_model_holds,
    readers_beside_apply_see_whole_values_in_order,
}

type Writes<'a> = &'a [(Tree, &'a [u8], Option<&'a [u8]>)];

fn batch(writes: Writes<'_>) -> WriteBatch {
    let write = |(tree, key, value): &(Tree, &[u8], Option<&[u8]>)| (*tree, (*key).into(), value.map(Value::from));
    WriteBatch { writes: writes.iter().map(write).collect(), mark: None }
}

fn scan_all(store: &dyn KvStore, tree: Tree) -> Result<Vec<(Vec<u8>, Value)>> {
    store.scan(tree, &KeyRange::all(), Direction::Ascending, usize::MAX)
}

/// An empty store answers `None`, no entries, no mark.
pub fn what_is_absent_is_none(make: Make<'_>) -> Result<()> {
    let store = make();
    for tree in Tree::ALL {
        assert_eq!(store.get(*tree, b"k")?, None);
        assert_eq!(scan_all(&*store, *tree)?, []);
    }
    assert_eq!(store.mark()?, None);
    store.sync()
}

/// A batch may touch any number of trees.
pub fn a_batch_is_visible_in_every_tree_when_apply_returns(make: Make<'_>) -> Result<()> {
    let store = make();
    let writes: Vec<_> = Tree::ALL.iter().map(|tree| (*tree, b"k".as_slice(), Some(tree.name().as_bytes()))).collect();
    store.apply(&batch(&writes))?;
    for tree in Tree::ALL {
        assert_eq!(store.get(*tree, b"k")?, Some(value(tree.name())));
        assert_eq!(scan_all(&*store, *tree)?, [(b"k".to_vec(), value(tree.name()))]);
    }
    store.sync()
}

/// Values are replaced and removed, absent ones without complaint.
pub fn a_later_batch_replaces_and_removes(make: Make<'_>) -> Result<()> {
    let store = make();
    store.apply(&batch(&[(Tree::Kv, b"a", Some(b"1")), (Tree::Kv, b"b", Some(b"1"))]))?;
    store.apply(&batch(&[(Tree::Kv, b"a", Some(b"2")), (Tree::Kv, b"b", None), (Tree::Kv, b"absent", None)]))?;
    assert_eq!(store.get(Tree::Kv, b"a")?, Some(value("2")));
    assert_eq!(store.get(Tree::Kv, b"b")?, None);
    assert_eq!(scan_all(&*store, Tree::Kv)?, [(b"a".to_vec(), value("2"))]);
    Ok(())
}

/// The same key is another entry in another tree.
pub fn trees_do_not_see_each_other(make: Make<'_>) -> Result<()> {
    let store = make();
    store.apply(&batch(&[(Tree::Jobs, b"k", Some(b"job")), (Tree::Models, b"k", Some(b"model"))]))?;
    store.apply(&batch(&[(Tree::Jobs, b"k", None)]))?;
    assert_eq!(store.get(Tree::Jobs, b"k")?, None);
    assert_eq!(store.get(Tree::Models, b"k")?, Some(value("model")));
    Ok(())
}

/// A batch without writes and mark is fine.
pub fn an_empty_batch_changes_nothing(make: Make<'_>) -> Result<()> {
    let store = make();
    store.apply(&WriteBatch { writes: Vec::new(), mark: Some(value("m")) })?;
    store.apply(&WriteBatch::default())?;
    assert_eq!(store.mark()?, Some(value("m")));
    store.sync()
}

/// The mark is that of the newest batch that carried one.
pub fn a_mark_stays_until_the_next_one_and_is_in_no_tree(make: Make<'_>) -> Result<()> {
    let store = make();
    let long = vec![7; 1024];
    store.apply(&WriteBatch { mark: Some(value("first")), ..batch(&[(Tree::Kv, b"a", Some(b"1"))]) })?;
    store.apply(&batch(&[(Tree::Kv, b"b", Some(b"1"))]))?;
    assert_eq!(store.mark()?, Some(value("first")));
    store.apply(&WriteBatch { mark: Some(value(&long)), ..batch(&[(Tree::Kv, b"a", None)]) })?;
    assert_eq!(store.mark()?, Some(value(&long)));
    let entries: Result<usize> = Tree::ALL.iter().map(|tree| Ok(scan_all(&*store, *tree)?.len())).sum();
    assert_eq!(entries?, 1);
    Ok(())
}

/// Every kind of bound, both directions, page sizes from 1 to more than there is; short only at the range's end.
pub fn scans_find_what_a_model_finds(make: Make<'_>) -> Result<()> {
    let store = make();
    let keys: [&[u8]; 6] = [b"a", b"ab", b"b", b"ba", b"c", b"\xff"];
    let model: Model = keys.iter().map(|key| (key.to_vec(), value(key))).collect();
    let writes: Vec<_> = keys.iter().map(|key| (Tree::Index, *key, Some(*key))).collect();
    store.apply(&batch(&writes))?;
    for range in every_range(&[b"a", b"aa", b"b", b"c", b"\xff", b"\xff\xff"]) {
        for direction in BOTH_DIRECTIONS {
            let expected = model_scan(&model, &range, direction);
            for limit in [1, 2, 5, 6, 7, usize::MAX] {
                let found = store.scan(Tree::Index, &range, direction, limit)?;
                let expected: Vec<_> = expected.iter().take(limit).cloned().collect();
                assert_eq!(found, expected, "{range:?} {direction:?} limit {limit}");
            }
        }
    }
    Ok(())
}

/// 0x80 comes behind 0x7f, and a key behind its own prefix.
pub fn keys_are_ordered_as_unsigned_bytes(make: Make<'_>) -> Result<()> {
    let store = make();
    let ordered: [&[u8]; 6] = [b"\x00", b"\x00\x00", b"\x7f", b"\x80", b"\xff", b"\xff\x00"];
    for key in ordered.iter().rev() {
        store.apply(&batch(&[(Tree::Kv, key, Some(b""))]))?;
    }
    let found: Vec<Vec<u8>> = scan_all(&*store, Tree::Kv)?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, ordered);
    Ok(())
}

/// Keys of 1 and 1024 bytes, values of 0 and 16 KiB.
pub fn the_longest_keys_and_values_and_empty_values_fit(make: Make<'_>) -> Result<()> {
    let store = make();
    let (long_key, long_value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    store.apply(&batch(&[(Tree::Blob, &long_key, Some(&long_value)), (Tree::Blob, b"\x00", Some(b""))]))?;
    store.sync()?;
    assert_eq!(store.get(Tree::Blob, &long_key)?, Some(value(&long_value)));
    assert_eq!(store.get(Tree::Blob, b"\x00")?, Some(value("")));
    assert_eq!(scan_all(&*store, Tree::Blob)?.len(), 2);
    Ok(())
}

/// 512 writes and 256 KiB in one batch: the most that the local engine sends.
pub fn a_batch_of_the_largest_size_is_applied(make: Make<'_>) -> Result<()> {
    let store = make();
    let keys: Vec<String> = (0..512).map(|number| format!("{number:05}")).collect();
    let filling = vec![3; 507];
    let writes: Vec<_> = keys.iter().map(|key| (Tree::Records, key.as_bytes(), Some(filling.as_slice()))).collect();
    store.apply(&batch(&writes))?;
    store.sync()?;
    assert_eq!(scan_all(&*store, Tree::Records)?.len(), 512);
    Ok(())
}

/// Writes, removals and syncs at random, over a few keys of two trees.
pub fn random_batches_leave_what_a_model_holds(make: Make<'_>) -> Result<()> {
    let store = make();
    let mut dice = Dice(1);
    let mut models: BTreeMap<Tree, Model> = BTreeMap::new();
    for round in 0..200 {
        let mut changes: BTreeMap<(Tree, Vec<u8>), Option<Value>> = BTreeMap::new();
        for _ in 0..dice.below(8) {
            let tree = if dice.below(2) == 0 { Tree::Kv } else { Tree::Jobs };
            let new = (dice.below(3) > 0).then(|| value(format!("round {round}")));
            changes.insert((tree, format!("key {}", dice.below(20)).into_bytes()), new);
        }
        let writes = changes.iter().map(|((tree, key), new)| (*tree, key.as_slice().into(), new.clone())).collect();
        store.apply(&WriteBatch { writes, mark: Some(value(format!("{round}"))) })?;
        for ((tree, key), new) in changes {
            let model = models.entry(tree).or_default();
            match new {
                Some(new) => model.insert(key, new),
                None => model.remove(&key),
            };
        }
        if dice.below(10) == 0 {
            store.sync()?;
        }
        assert_eq!(store.mark()?, Some(value(format!("{round}"))));
    }
    for (tree, model) in &models {
        assert_eq!(scan_all(&*store, *tree)?, model_scan(model, &KeyRange::all(), Direction::Ascending));
        for (key, expected) in model {
            assert_eq!(store.get(*tree, key)?.as_ref(), Some(expected));
        }
    }
    Ok(())
}

/// Reads come from many threads while one applies: no torn value, no step back.
pub fn readers_beside_apply_see_whole_values_in_order(make: Make<'_>) -> Result<()> {
    let store = make();
    let (start, done) = (Barrier::new(4), AtomicBool::new(false));
    let write = |round: u64| {
        let bytes = round.to_be_bytes().repeat(100);
        store.apply(&batch(&[(Tree::Kv, b"k", Some(&bytes)), (Tree::Jobs, b"k", Some(&bytes))]))
    };
    write(0)?;
    let read = || -> Result<()> {
        start.wait();
        let mut newest: Option<Value> = None;
        while !done.load(Ordering::Acquire) {
            let found = store.get(Tree::Kv, b"k")?;
            let bytes = found.as_deref().unwrap_or_default();
            assert_eq!(bytes.len(), 800, "a value was absent or torn");
            let first = bytes.get(..8).unwrap_or_default();
            assert!(bytes.chunks(8).all(|part| part == first), "a value is half old, half new");
            assert!(found >= newest, "a newer value was seen before");
            newest = found;
            assert_eq!(scan_all(&*store, Tree::Jobs)?.len(), 1);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(read)).collect();
        start.wait();
        let written = (1..300).try_for_each(write);
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().expect("a reader's panic is the failure of this check")?;
        }
        written
    })
}
