//! Values in pieces, and values staged ahead of their commit.

use super::*;

#[test]
fn a_large_value_comes_back_whole_and_its_pieces_go_with_it() {
    let (engine, store) = store();
    let large = |byte, length| Bytes((0..length).map(|place| byte ^ place as u8).collect());
    for (value, pieces) in [(large(1, 16_000), 0), (large(2, 16_384), 2), (large(3, 1 << 20), 65), (large(4, 5), 0)] {
        store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &value)).unwrap();
        assert_eq!(engine.entries(Tree::Blob).len(), pieces);
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value.clone()));
        assert!(store.transact(PowerLoss, |txn| txn.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value));
    }
    store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &large(5, 100_000))).unwrap();
    store.transact(PowerLoss, |txn| txn.delete_part(TAG, b"k")).unwrap();
    assert_eq!((engine.entries(Tree::Blob), engine.entries(Tree::Records)), (vec![], vec![]));
    let too_large = Bytes(vec![0; (16 << 20) + 2_000]);
    assert_eq!(kind_of(store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &too_large))), ErrorKind::Invalid);
}

#[test]
fn a_piece_that_is_missing_damaged_swapped_or_too_many_is_corrupt() {
    let (engine, store) = store();
    let value = Bytes((0..60_000u32).map(|place| (place / 256) as u8).collect());
    store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &value)).unwrap();
    let pieces = engine.entries(Tree::Blob);
    assert_eq!(pieces.len(), 4);
    let read = || store.read(|view| view.get_part::<Bytes>(TAG, b"k"));
    let mut damaged = pieces[2].1.to_vec();
    damaged[100] ^= 1;
    for planted in [None, Some(&damaged[..]), Some(&pieces[1].1[..]), Some(b""), Some(&[0; 20_000][..])] {
        engine.plant(Tree::Blob, &pieces[2].0, planted);
        assert_eq!(kind_of(read()), ErrorKind::Corrupt);
        assert_eq!(kind_of(store.transact(PowerLoss, |txn| txn.get_part::<Bytes>(TAG, b"k"))), ErrorKind::Corrupt);
        engine.plant(Tree::Blob, &pieces[2].0, Some(&pieces[2].1));
    }
    assert!(read().unwrap() == Some(value));
}

#[test]
fn pieces_of_an_older_value_at_the_same_place_are_corrupt_though_they_were_whole_there() {
    let (engine, store) = store();
    let put = |byte| store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &Bytes(vec![byte; 20_000])));
    put(1).unwrap();
    let older = engine.entries(Tree::Blob);
    put(2).unwrap();
    for ((_, piece), (key, _)) in older.iter().zip(engine.entries(Tree::Blob)) {
        engine.plant(Tree::Blob, &key, Some(piece));
    }
    assert_eq!(kind_of(store.read(|view| view.get_part::<Bytes>(TAG, b"k"))), ErrorKind::Corrupt);
}

#[test]
fn a_staged_value_is_nowhere_until_its_commit_and_everywhere_behind_it() {
    let (engine, store) = store();
    let digest_of = || digest(&*engine).unwrap();
    let empty = digest_of();
    for length in [10usize, 3 << 20] {
        let value = Bytes(vec![6; length]);
        let staged = store.stage(TAG, b"k", &value).unwrap();
        assert_eq!((digest_of(), verify(&store).violations), (empty.clone(), vec![]));
        let failed = store.transact(PowerLoss, |txn| {
            txn.put_staged(&staged)?;
            Err::<(), _>(Error::conflict("no"))
        });
        assert_eq!(kind_of(failed), ErrorKind::Conflict);
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap().is_none());
        store.transact(PowerLoss, |txn| txn.put_staged(&staged)).unwrap();
        assert!(engine.last_writes().len() <= 2, "the commit itself is small");
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value.clone()));
        assert_eq!(store.sweep_staged().unwrap().removed, 0, "what was put is not staged any more");
        assert_ne!(digest_of(), empty);
        // Giving up what a commit has taken over takes nothing from it.
        store.discard_staged(staged).unwrap();
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value));
        store.transact(PowerLoss, |txn| txn.delete_part(TAG, b"k")).unwrap();
        assert_eq!(digest_of(), empty);
    }
}

#[test]
fn staged_values_that_were_never_put_are_swept_and_then_refused() {
    let (engine, store) = store();
    let stage = |name: &[u8]| store.stage(TAG, name, &Bytes(vec![1; 50_000])).unwrap();
    let (lost, given_up) = (stage(b"a"), stage(b"b"));
    assert_eq!(store.read(|view| view.staged_values()).unwrap(), 2);
    store.discard_staged(given_up).unwrap();
    assert_eq!(engine.entries(Tree::Blob).len(), 4);
    assert_eq!(store.sweep_staged().unwrap().removed, 1);
    assert_eq!((engine.entries(Tree::Blob), engine.entries(Tree::Meta)), (vec![], vec![]));
    assert_eq!(kind_of(store.transact(Buffered, |txn| txn.put_staged(&lost))), ErrorKind::Internal);
}
