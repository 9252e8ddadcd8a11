//! Exports and imports over real engines on a simulated disk: compared with a replay of the feed, and interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::layout::Section;
use super::view::FileView;
use super::{export, follow, import, read};
use crate::clock::mix;
use crate::config::{Config, Durability};
use crate::engine::local::place::Place;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;
use crate::engine::wrap::{EngineCall, FaultEngine, Mishap, Times};
use crate::engine::{Cursor, Engine, Reader, Tree, TxnOptions, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::record::digest_bytes;

fn engine() -> Arc<dyn Engine> {
    let mut config = Config::new().unwrap();
    // Small, so that tables move to the store while an export scans.
    config.memtable_bytes = 1 << 20;
    let opener = Arc::new(MemoryOpener::by_folder());
    Arc::new(Place::open(Arc::new(SimDisk::new()), Path::new("/data"), opener, &config).unwrap().0)
}

fn write(engine: &dyn Engine, writes: &[(Tree, Vec<u8>, Option<Value>)], durability: Durability) {
    let options = TxnOptions::durability(durability);
    let body = &mut |txn: &mut dyn crate::engine::Txn| {
        writes.iter().try_for_each(|(tree, key, value)| match value {
            Some(value) => txn.put(*tree, key, value.clone()),
            None => txn.delete(*tree, key),
        })
    };
    engine.transact(&options, body).unwrap();
}

fn digest(engine: &dyn Engine) -> [u8; 32] {
    let mut digest = [0; 32];
    engine
        .read_view(&mut |reader: &dyn Reader| {
            digest = digest_bytes(reader)?;
            Ok(())
        })
        .unwrap();
    digest
}

/// The state at `end`, put together from nothing but the feed.
fn replayed(source: &dyn Engine, start: &Cursor, end: &Cursor) -> Arc<dyn Engine> {
    let copy = engine();
    let mut cursor = *start;
    while cursor.sequence < end.sequence {
        let page = source.changes(&cursor, 2_000).unwrap();
        cursor = page.cursor;
        let own = |tree: Tree, key: &[u8]| tree == Tree::Meta && key.first() == Some(&0);
        let told = page.changes.into_iter().filter(|change| change.cursor.sequence <= end.sequence);
        for change in told.filter(|change| !own(change.tree, &change.key)) {
            write(&*copy, &[(change.tree, change.key, change.value)], Durability::Buffered);
        }
    }
    copy
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn full(engine: &dyn Engine, path: &Path) -> super::SnapshotInfo {
    export(engine, path, None, &mut |_| ()).unwrap()
}

#[test]
fn an_export_under_writers_is_the_state_at_its_cursor_as_the_feed_tells_it() {
    const WRITERS: u64 = 16;
    let folder = tempfile::tempdir().unwrap();
    let source = engine();
    let start = source.sync().unwrap();
    for number in 0..4_000u64 {
        let key = format!("k{:05}", number * 7 % 5_000).into_bytes();
        write(&*source, &[(Tree::Kv, key, Some(Value::from(vec![1; 100])))], Durability::Buffered);
    }
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    let exports = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (source, stop, written) = (&source, &stop, &written);
            scope.spawn(move || {
                let mut dice = mix(writer);
                while !stop.load(Ordering::SeqCst) {
                    dice = mix(dice);
                    let tree = [Tree::Kv, Tree::Models, Tree::Records, Tree::Index][dice as usize % 4];
                    let key = format!("k{:05}", dice >> 8 & 0xfff).into_bytes();
                    let length = (dice >> 24) as usize % 300;
                    let value = (dice >> 40 & 3 != 0).then(|| Value::from(vec![writer as u8; length]));
                    let durability = [Durability::PowerLoss, Durability::Buffered][(dice >> 50) as usize % 2];
                    write(&**source, &[(tree, key, value)], durability);
                    written.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let exports: Vec<_> = (0..8)
            .map(|number| {
                let before = written.load(Ordering::SeqCst);
                while written.load(Ordering::SeqCst) < before + 100 {
                    std::thread::yield_now();
                }
                let path = file(&folder, &number.to_string());
                (full(&*source, &path), path)
            })
            .collect();
        stop.store(true, Ordering::SeqCst);
        exports
    });
    let mut overlaid = 0;
    for (info, path) in exports {
        let expected = digest(&*replayed(&*source, &start, &info.cursor));
        assert_eq!(info.digest, Some(blake3::Hash::from_bytes(expected).to_hex().to_string()));
        let copy = engine();
        import(&*copy, &path, false, &mut |_| ()).unwrap();
        assert_eq!(digest(&*copy), expected);
        assert_eq!(copy.cursor(), info.cursor);
        // The twin that forgets what was written meanwhile is found out by the same comparison.
        let source = super::file::open(&path).unwrap();
        let walked = read::walk(&source, true, |_, _| Ok(())).unwrap();
        let base: Vec<_> = walked.index.iter().filter(|chunk| chunk.section == Section::Base).cloned().collect();
        if base.len() < walked.index.len() {
            overlaid += usize::from(digest_bytes(&FileView::new(&source, &base).unwrap()).unwrap() != expected);
        }
    }
    assert!(overlaid > 0, "no export met a write");
}

/// A source with a delta that takes several transactions, and a shorter one from the same base.
fn source_of_a_large_delta(folder: &tempfile::TempDir) -> Arc<dyn Engine> {
    let source = engine();
    write(&*source, &[(Tree::Kv, b"k".to_vec(), Some(Value::from(*b"1")))], Durability::PowerLoss);
    let base = full(&*source, &file(folder, "full")).cursor;
    for (name, first, last) in [("short", 0u32, 10), ("long", 10, 2_500)] {
        let writes: Vec<_> = (first..last)
            .map(|number| (Tree::Kv, format!("{number:08}").into_bytes(), Some(Value::from(number.to_le_bytes()))))
            .collect();
        writes.chunks(500).for_each(|writes| write(&*source, writes, Durability::Buffered));
        export(&*source, &file(folder, name), Some(&base), &mut |_| ()).unwrap();
    }
    source
}

#[test]
fn a_delta_interrupted_at_any_transaction_says_so_refuses_others_and_is_finished_by_trying_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = source_of_a_large_delta(&folder);
    let target_of = |name: &str, engine: &dyn Engine| -> Result<super::SnapshotInfo> {
        follow::apply(engine, &file(&folder, name), &mut |_| ())
    };
    for call in 1..=4 {
        for mishap in [Mishap::FailBefore as fn(Error) -> Mishap, Mishap::FailAfter] {
            let follower = FaultEngine::new(engine());
            target_of("full", &follower).unwrap();
            let before = (digest(&follower), follower.cursor());
            follower.plan(EngineCall::Transact, call, Times::Once, mishap(Error::unavailable("planned")));
            let applied = target_of("long", &follower);
            if call == 4 {
                // It takes three transactions.
                assert!(applied.is_ok());
                assert_eq!(digest(&follower), digest(&*source));
                continue;
            }
            assert_eq!(applied.unwrap_err().kind(), ErrorKind::Unavailable);
            let status = follow::status(&follower).unwrap();
            if status.applying.is_some() {
                assert_eq!(follower.cursor(), before.1, "the cursor moves with the last transaction");
                assert_eq!(target_of("short", &follower).unwrap_err().kind(), ErrorKind::Conflict);
                let path = file(&folder, "refused");
                let export = export(&follower, &path, None, &mut |_| ());
                assert_eq!(export.unwrap_err().kind(), ErrorKind::Conflict);
                assert!(!path.exists());
            } else {
                // Nothing has landed, or all of it.
                assert!(digest(&follower) == before.0 || digest(&follower) == digest(&*source));
            }
            target_of("long", &follower).unwrap();
            assert_eq!(digest(&follower), digest(&*source));
            assert_eq!(follow::status(&follower).unwrap().applying, None);
            assert_eq!(follower.cursor(), source.sync().unwrap());
        }
    }
}

#[test]
fn a_full_snapshot_with_a_digest_that_is_not_its_own_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = engine();
    write(&*source, &[(Tree::Kv, b"k".to_vec(), Some(Value::from(*b"1")))], Durability::PowerLoss);
    let path = file(&folder, "full");
    full(&*source, &path);
    let mut bytes = std::fs::read(&path).unwrap();
    // The digest of another state, under a trailer that is right.
    let walked = read::walk(bytes.as_slice(), false, |_, _| Ok(())).unwrap();
    let at = bytes.len() - super::layout::TRAILER_BYTES;
    let place = bytes.windows(32).position(|window| window == walked.manifest.digest).unwrap();
    bytes[place] ^= 1;
    let trailer = super::layout::Trailer {
        manifest_at: place as u64 - 48,
        total_bytes: bytes.len() as u64,
        hash: *blake3::hash(&bytes[..at]).as_bytes(),
    };
    bytes.truncate(at);
    bytes.extend(trailer.encode());
    std::fs::write(&path, &bytes).unwrap();
    let target = engine();
    let before = digest(&*target);
    let refused = import(&*target, &path, false, &mut |_| ()).unwrap_err();
    assert!(refused.kind() == ErrorKind::Corrupt && refused.to_string().contains("digest"), "{refused}");
    assert_eq!(digest(&*target), before);
}

#[test]
fn an_export_that_the_journal_can_not_wait_for_is_full_and_commits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new().unwrap();
    config.memtable_bytes = 1 << 20;
    config.journal_max_bytes = 4 << 20;
    let opener = Arc::new(MemoryOpener::by_folder());
    let source = Place::open(Arc::new(SimDisk::new()), Path::new("/data"), opener, &config).unwrap().0;
    write(&source, &[(Tree::Kv, b"k".to_vec(), Some(Value::from(*b"1")))], Durability::PowerLoss);
    let mut written = false;
    // The writes come in the middle of the export, from the very thread that it works on: at its first bytes.
    let outcome = export(&source, &file(&folder, "full"), None, &mut |_| {
        if !std::mem::replace(&mut written, true) {
            for number in 0..2_000u32 {
                let key = format!("k{number}").into_bytes();
                write(&source, &[(Tree::Kv, key, Some(Value::from(vec![1; 10_000])))], Durability::PowerLoss);
            }
        }
    });
    let refused = outcome.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
    // And with the writers gone it is taken.
    full(&source, &file(&folder, "full"));
}
