//! Schemas that change while threads write, and across openings of a folder.

use std::sync::atomic::{AtomicBool, Ordering};

use ml_persistence::{Durability, EngineKind, MlPersistence, Query, Record, Schema, Timestamp};
use serde::{Deserialize, Serialize};

use super::refuse::{Post, post};

/// [`Post`] before anybody asked for it by anything but its slug.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Bare(Post);

impl Record for Bare {
    const COLLECTION: &'static str = "posts";
    type Key = String;

    fn key(&self) -> String {
        self.0.slug.clone()
    }

    fn schema() -> Schema<Self> {
        Schema::new()
    }
}

fn open(folder: &std::path::Path, engine: EngineKind) -> MlPersistence {
    let builder = MlPersistence::builder(folder).engine(engine).durability(Durability::Buffered);
    builder.open().expect("a store in a folder")
}

#[test]
fn an_index_is_built_while_threads_write_and_holds_every_record_when_it_is_ready() {
    let db = MlPersistence::in_memory().durability(Durability::Buffered).open().expect("a store in memory");
    let bare = db.collection::<Bare>().expect("a collection");
    for number in 0..2_000 {
        bare.save(Bare(post(&format!("p{number:05}"), "old", number))).expect("a save");
    }
    let posts = db.collection::<Post>().expect("a collection");
    let done = AtomicBool::new(false);
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u64)
            .map(|writer| {
                let (posts, done) = (posts.clone(), &done);
                scope.spawn(move || {
                    let mut written = 0;
                    // Behind the scan, before it and under it; inserts, updates and removals.
                    while !done.load(Ordering::Relaxed) || written < 100 {
                        let number = written * 7_919 % 3_000 + writer;
                        let slug = format!("p{number:05}x{writer}");
                        posts.save(post(&slug, "new", written)).expect("a save");
                        posts.save(post(&format!("p{number:05}"), "changed", written)).expect("a save");
                        posts.delete(format!("p{:05}", (number + 1_500) % 2_000).as_str()).expect("a deletion");
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        posts.build().expect("a build");
        done.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    assert!(written >= 300);
    assert!(posts.progress().expect("a progress").ready);
    assert_eq!(db.verify().expect("a sweep").violations, []);
    let counted: i64 = posts.counts::<String>("kinds").expect("its groups").iter().map(|(_, count)| count).sum();
    assert_eq!(counted as u64, posts.count().expect("a count"));
}

fn change_across_openings(engine: EngineKind) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let folder = folder.path().join("db");
    let db = open(&folder, engine);
    let bare = db.collection::<Bare>().expect("a collection");
    for number in 0..600 {
        bare.save(Bare(post(&format!("p{number:05}"), "old", number))).expect("a save");
    }
    db.close().expect("a clean end");
    drop((bare, db));
    // Opened, and closed under the builder's feet, until it is through.
    let mut openings = 0;
    loop {
        openings += 1;
        assert!(openings < 1_000, "the construction does not come on");
        let db = open(&folder, engine);
        let posts = db.collection::<Post>().expect("a collection");
        posts.build_step().expect("a step");
        let ready = posts.progress().expect("a progress").ready;
        if ready {
            let newest = Query::new().eq("kind", "old").limit(2);
            let newest = posts.list(&newest).expect("a list");
            assert_eq!(newest.rows.iter().map(|row| row.created).collect::<Vec<_>>(), [Timestamp(599), Timestamp(598)]);
            assert_eq!(posts.count_by("kinds", "old").expect("a count"), 600);
            assert_eq!(db.verify().expect("a sweep").violations, []);
        }
        db.close().expect("a clean end");
        if ready {
            break;
        }
    }
    // And back: what the indexes held goes.
    let db = open(&folder, engine);
    let bare = db.collection::<Bare>().expect("indexes may go");
    bare.build().expect("their entries go");
    assert!(!bare.progress().expect("a progress").removing);
    assert_eq!(db.verify().expect("a sweep").violations, []);
    assert_eq!(bare.count().expect("a count"), 600);
}

#[test]
fn a_construction_goes_on_with_the_next_opening_in_a_folder_of_memory() {
    change_across_openings(EngineKind::Memory);
}

#[cfg(feature = "sled")]
#[test]
fn a_construction_goes_on_with_the_next_opening_in_a_folder_of_sled() {
    change_across_openings(EngineKind::Sled);
}
