//! The images that trials start from, and what can be read of those that they end in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::{Direction, Engine, KeyRange, Reader, Tree, TxnOptions, Value};
use ml_persistence::jobs::JobFilter;
use ml_persistence::kv::KeyValue;
use ml_persistence::registry::{MoveFilter, NewModel, PageRequest};
use ml_persistence::{
    Backoff, Change, Config, JobId, Json, ManualClock, MlPersistence, NewJob, NewVersion, Query, Record, Schema,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use super::ground::Ground;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    pub id: u8,
    pub kind: String,
}

impl Record for Item {
    const COLLECTION: &'static str = "items";
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }

    fn schema() -> Schema<Self> {
        Schema::new()
            .field("kind", |item: &Item| item.kind.clone())
            .index("by_kind", ["kind"])
            .count_by("kinds", ["kind"])
    }
}

pub fn item(id: u8, kind: &str) -> Item {
    Item { id, kind: kind.to_owned() }
}

/// The same records with one more index: opening it is a write, and so is building it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Indexed(pub Item);

impl Record for Indexed {
    const COLLECTION: &'static str = "items";
    type Key = u8;

    fn key(&self) -> u8 {
        self.0.id
    }

    fn schema() -> Schema<Self> {
        Schema::new()
            .field("kind", |item: &Indexed| item.0.kind.clone())
            .field("id", |item: &Indexed| item.0.id)
            .index("by_kind", ["kind"])
            .index("by_id", [ml_persistence::desc("id")])
            .count_by("kinds", ["kind"])
    }
}

/// Which image a write is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Something of everything.
    Plain,
    /// The same, with a value that can't be read.
    Damaged,
    /// A replica that holds a full snapshot.
    Replica,
}

/// What all trials share.
pub struct Scene {
    files: TempDir,
    plain: Ground,
    damaged: Ground,
    replica: Ground,
}

pub const HELD: [JobId; 2] = [JobId(1), JobId(2)];
pub const LINED: JobId = JobId(3);
pub const CANCELLED: JobId = JobId(6);

impl Scene {
    pub fn the() -> &'static Scene {
        static SCENE: OnceLock<Scene> = OnceLock::new();
        SCENE.get_or_init(Scene::new)
    }

    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1_000_000);
        let plain = Ground::new(clock.clone(), 1);
        let db = plain.builder().open().unwrap();
        populate(&db, &clock);
        db.close().unwrap();
        drop(db);
        spoil_a_value(&plain);
        let db = plain.builder().open().unwrap();
        db.collection::<Item>().unwrap();
        assert_eq!(db.repair().unwrap().quarantined_found, 1);
        db.kv().put("n", "a", &Json::from(json!("put again"))).unwrap();
        assert!(db.verify().unwrap().violations.is_empty());
        db.close().unwrap();
        drop(db);
        let damaged = plain.with_disk(plain.disk.kill());
        spoil_a_value(&damaged);

        let source = Ground::new(clock.clone(), 2).builder().open().unwrap();
        populate(&source, &ManualClock::at(0));
        let full = source.export_snapshot(files.path().join("full.mlsnap"), None).unwrap();
        source.kv().put("n", "delta", &Json::from(json!("d".repeat(30_000)))).unwrap();
        source.export_snapshot(files.path().join("delta.mlsnap"), Some(full.cursor)).unwrap();
        std::fs::create_dir(files.path().join("follow")).unwrap();
        std::fs::copy(files.path().join("delta.mlsnap"), files.path().join("follow/1.mlsnap")).unwrap();
        let replica = Ground::new(clock, 3);
        let following = replica.builder().open_replica().unwrap();
        following.apply(files.path().join("full.mlsnap")).unwrap();
        following.close().unwrap();
        drop(following);
        Scene { files, plain, damaged, replica }
    }

    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A place of its own for one trial, with a clock of its own.
    pub fn stage(&self, base: Base) -> Ground {
        let ground = match base {
            Base::Plain => &self.plain,
            Base::Damaged => &self.damaged,
            Base::Replica => &self.replica,
        };
        let at = ml_persistence::Clock::now_ms(&ground.clock);
        Ground { clock: ManualClock::at(at), ..ground.with_disk(ground.disk.kill()) }
    }
}

fn populate(db: &MlPersistence, clock: &ManualClock) {
    let kv = db.kv();
    for key in ["a", "b", "c"] {
        kv.put("n", key, &Json::from(json!(key))).unwrap();
    }
    kv.put("n", "large", &Json::from(json!("l".repeat(40_000)))).unwrap();
    kv.put("other", "k", &Json::null()).unwrap();
    let items = db.collection::<Item>().unwrap();
    for id in 0..4 {
        items.save(item(id, ["even", "odd"][usize::from(id % 2)])).unwrap();
    }
    let registry = db.registry();
    registry.create_model("spam", NewModel::new().external_id("ext")).unwrap();
    registry.register_version("spam", NewVersion::new().artifact(vec![7; 20_000]).stage("test")).unwrap();
    registry.register_version("spam", NewVersion::new().label("second").metric("f1", 0.5)).unwrap();
    registry.register_version("spam", NewVersion::new().make_active(false)).unwrap();
    registry.archive("spam", 3, &Change::new()).unwrap();
    registry.set_alias("spam", "prod", 1, &Change::new()).unwrap();
    registry.register_version("eggs", NewVersion::new()).unwrap();
    let jobs = db.jobs();
    let job = |id: u128, queue: &str| NewJob::new(queue, "k").id(JobId(id)).backoff(Backoff::fixed(50));
    jobs.enqueue(job(1, "held").payload(json!("p".repeat(20_000)))).unwrap();
    jobs.enqueue(job(2, "held")).unwrap();
    jobs.enqueue(job(3, "line").unique_key("u")).unwrap();
    jobs.enqueue(job(4, "line").delay_ms(50)).unwrap();
    jobs.enqueue(job(5, "done").retention_ms(10)).unwrap();
    jobs.claim(&["done"], 1).unwrap().remove(0).complete(json!("result")).unwrap();
    jobs.enqueue(job(6, "done")).unwrap();
    jobs.cancel(CANCELLED).unwrap();
    jobs.pause("paused").unwrap();
    // What is delayed is due, and what is kept for a moment only is old.
    clock.advance(100);
}

/// Flips a bit of the value at `n`, `a` behind everybody's back.
fn spoil_a_value(ground: &Ground) {
    let mut config = Config::new().unwrap();
    config.clock = Arc::new(ground.clock.clone());
    let disk = Arc::new(ground.disk.clone());
    let (engine, _) = LocalEngine::open(disk, Path::new("/data"), &*ground.opener(), &config).unwrap();
    let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1).unwrap();
    let (key, value) = page.entries.first().unwrap();
    let mut bytes = value.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    engine.transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Kv, key, Value::from(bytes.clone()))).unwrap();
    engine.close().unwrap();
}

/// Everything that can be read, as text. The namespace `probe` is left to whoever wrote there.
pub fn dump(db: &MlPersistence) -> String {
    let mut text = String::new();
    let kv = db.kv();
    for namespace in ["n", "other", "new"] {
        writeln!(text, "{namespace} {:?}", kv.count(namespace)).unwrap();
        match kv.list(namespace, "", None, 100) {
            Ok(page) => page.entries.iter().for_each(|(key, value)| writeln!(text, "{key} {value}").unwrap()),
            Err(error) => writeln!(text, "{:?}", error.kind()).unwrap(),
        }
    }
    let items = db.collection::<Item>().unwrap();
    writeln!(text, "{:?} {:?}", items.count(), items.counts::<String>("kinds")).unwrap();
    let rows = items.list(&Query::new()).unwrap().rows;
    rows.iter().for_each(|row| writeln!(text, "{row:?}").unwrap());
    let registry = db.registry();
    for model in registry.list_models(&PageRequest::new()).unwrap().models {
        writeln!(text, "{model:?} {:?}", registry.alias_history(&model.name, &MoveFilter::new()).unwrap()).unwrap();
    }
    for version in registry.list_all_versions(&PageRequest::new()).unwrap().versions {
        let artifact = registry.artifact(&version.model, version.version).unwrap();
        writeln!(text, "{version:?} {artifact:?}").unwrap();
    }
    writeln!(text, "{:?}", registry.summary().unwrap()).unwrap();
    for job in db.jobs().list(&JobFilter::new(), None, 100).unwrap().jobs {
        writeln!(
            text,
            "{} {} {} {:?} {} {} {} {:?} {:?} {:?} {:?} {}",
            job.id,
            job.queue,
            job.state,
            job.reason,
            job.attempt,
            job.crash_count,
            job.run_at,
            job.finished_at,
            job.result,
            job.checkpoint,
            job.progress,
            job.cancel_requested,
        )
        .unwrap();
    }
    writeln!(text, "{:?}", db.jobs().counts(None).unwrap()).unwrap();
    for queue in ["line", "paused"] {
        writeln!(text, "{queue} {}", db.jobs().is_paused(queue).unwrap()).unwrap();
    }
    writeln!(text, "{} in quarantine", db.quarantine(None, 100).unwrap().entries.len()).unwrap();
    text
}
