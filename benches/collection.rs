//! What a collection costs in memory and over sled: for noticing that it got slower, and for its shape.
//!
//! `cargo bench --bench collection`. A save rewrites one of 10,000 records of about 150 bytes, and with it every entry
//! of its 0, 1, 3 or 6 indexes, so that the price of an index shows: each adds one removal and one entry. `count` reads
//! one key, with 1,000 records as with a million (`MLP_BENCH_RECORDS`). How we stand beside SQLite with the same indexes
//! is what `benches/compare` measures.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ml_persistence::{Collection, Durability, MlPersistence, Query, Record, Schema};
use serde::{Deserialize, Serialize};

/// Records that saves choose from.
const STORED: u64 = 10_000;
/// Records of the large collection whose `count` is compared with that of a small one.
const MANY: u64 = 1_000_000;

const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A record with six numbers, the first `INDEXES` of which are indexed.
#[derive(Clone, Serialize, Deserialize)]
struct Sample<const INDEXES: usize> {
    id: u64,
    values: [u64; 6],
    note: String,
}

impl<const INDEXES: usize> Record for Sample<INDEXES> {
    const COLLECTION: &'static str = match INDEXES {
        0 => "bare",
        1 => "one",
        3 => "three",
        _ => "six",
    };
    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }

    fn schema() -> Schema<Self> {
        let fields = FIELDS.iter().enumerate().take(INDEXES);
        fields.fold(Schema::new(), |schema, (place, name)| {
            schema.field(name, move |sample: &Self| sample.values[place]).index(name, [*name])
        })
    }
}

/// The record with this id, with values of its own for each version.
fn sample<const INDEXES: usize>(id: u64, version: u64) -> Sample<INDEXES> {
    let scramble = |place: u64| (id ^ version << 20 ^ place << 50).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    Sample { id, values: std::array::from_fn(|place| scramble(place as u64)), note: "n".repeat(80) }
}

fn filled<const INDEXES: usize>(db: &MlPersistence, records: u64) -> Collection<Sample<INDEXES>> {
    let samples = db.collection::<Sample<INDEXES>>().expect("a schema that makes sense");
    for id in 0..records {
        samples.save(sample(id, 0)).expect("room");
    }
    samples
}

fn saves<const INDEXES: usize>(criterion: &mut Criterion, engine: &str, db: &MlPersistence) {
    let samples = filled::<INDEXES>(db, STORED);
    db.checkpoint().expect("the store takes it");
    let next = AtomicU64::new(1);
    let mut group = criterion.benchmark_group(format!("save/{engine}"));
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.bench_function(format!("{INDEXES} indexes"), |bench| {
        bench.iter(|| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            samples.save(sample(number * 7_919 % STORED, number)).expect("room")
        });
    });
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a folder for the bench");
    let in_memory = || MlPersistence::in_memory().durability(Durability::Buffered).open().expect("a store in memory");
    let on_sled = |name: &str| {
        let builder = MlPersistence::builder(scratch.path().join(name)).durability(Durability::Buffered);
        builder.open().expect("a fresh store")
    };
    saves::<0>(criterion, "memory", &in_memory());
    saves::<1>(criterion, "memory", &in_memory());
    saves::<3>(criterion, "memory", &in_memory());
    saves::<6>(criterion, "memory", &in_memory());
    // Buffered, past half a memtable: the applier's pace, which is what a host gets in the long run.
    saves::<0>(criterion, "sled", &on_sled("0"));
    saves::<1>(criterion, "sled", &on_sled("1"));
    saves::<3>(criterion, "sled", &on_sled("3"));
    saves::<6>(criterion, "sled", &on_sled("6"));
}

fn reads(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a folder for the bench");
    let builder = MlPersistence::builder(scratch.path().join("reads")).durability(Durability::Buffered);
    let db = builder.open().expect("a fresh store");
    let samples = filled::<1>(&db, STORED);
    db.checkpoint().expect("the store takes it");
    let next = AtomicU64::new(1);
    criterion.bench_function("list 100 by index", |bench| {
        bench.iter(|| {
            let from = sample::<1>(next.fetch_add(7_919, Ordering::Relaxed) % STORED, 0).values[0];
            black_box(samples.list(&Query::new().ge("a", from).limit(100)).expect("an index"))
        });
    });
}

fn counts(criterion: &mut Criterion) {
    let many = std::env::var("MLP_BENCH_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(MANY);
    for records in [1_000, many] {
        let scratch = tempfile::tempdir().expect("a folder for the bench");
        let builder = MlPersistence::builder(scratch.path().join("counts")).durability(Durability::Buffered);
        let db = builder.open().expect("a fresh store");
        let samples = filled::<0>(&db, records);
        db.checkpoint().expect("the store takes it");
        criterion.bench_function(&format!("count of {records}"), |bench| {
            bench.iter(|| assert_eq!(black_box(samples.count()).expect("one key"), records));
        });
    }
}

criterion_group!(benches, writes, reads, counts);
criterion_main!(benches);
