//! The tables that one would make of a registry in SQLite: journal in WAL mode, `synchronous=FULL`, prepared statements.
//!
//! ```text
//!   model    name, mark of numbers, count, active version
//!   version  (model, number): texts in columns, metrics and hyperparameters as JSON; by run, by time
//!   tag      (model, number, key) -> value; by (model, key, value, number)
//!   alias    (model, alias) -> number; by (model, number)
//! ```
//!
//! A read is one statement that joins the tags of its versions, and one for the aliases among them: constant texts, each
//! planned once, run inside one read transaction for all reads of a row of the table, so that none of them pays for
//! taking and giving back the locks of its own. A plan that walks through a table instead of an index is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ml_persistence::{Clock, SystemClock};
use rusqlite::{Connection, Params, Row, TransactionBehavior, params};
use serde_json::Value;

use super::{ALIAS, Draft, MODEL, PAGE, Page, Seen, Shop, TAG, audit};
use crate::Failure;
use crate::systems::sqlite::connect;
use crate::systems::{Held, Item, Session, System};

const TABLES: &str = "
    CREATE TABLE model (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, last_version INTEGER NOT NULL,
        versions INTEGER NOT NULL, active INTEGER, archived INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL, revision INTEGER NOT NULL);
    CREATE TABLE version (
        model INTEGER NOT NULL REFERENCES model, number INTEGER NOT NULL, archived INTEGER NOT NULL DEFAULT 0,
        stage TEXT, source TEXT, run_id TEXT, description TEXT, metrics TEXT NOT NULL, hyperparams TEXT NOT NULL,
        created_by TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, revision INTEGER NOT NULL,
        PRIMARY KEY (model, number)) WITHOUT ROWID;
    CREATE INDEX version_by_run ON version (run_id);
    CREATE INDEX version_by_time ON version (created_at);
    CREATE TABLE tag (
        model INTEGER NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (model, number, key)) WITHOUT ROWID;
    CREATE INDEX tag_by_value ON tag (model, key, value, number);
    CREATE TABLE alias (
        model INTEGER NOT NULL, alias TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (model, alias)) WITHOUT ROWID;
    CREATE INDEX alias_by_number ON alias (model, number);";

const NEXT_NUMBER: &str = "
    INSERT INTO model (name, last_version, versions, active, created_at, updated_at, revision)
    VALUES (?1, 1, 1, 1, ?2, ?2, 1)
    ON CONFLICT (name) DO UPDATE SET last_version = last_version + 1, versions = versions + 1,
        active = last_version + 1, updated_at = ?2, revision = revision + 1
    RETURNING id, last_version";
const NEW_VERSION: &str = "
    INSERT INTO version (model, number, source, run_id, metrics, hyperparams, created_at, updated_at, revision)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1)";
const NEW_TAG: &str = "INSERT INTO tag (model, number, key, value) VALUES (?1, ?2, ?3, ?4)";

/// The statement that reads whole versions, those that `$selected` names: each by `model` and `number`, in the order of
/// numbers.
macro_rules! whole {
    ($selected:literal) => {
        concat!(
            "SELECT v.number, v.archived, v.stage, v.source, v.run_id, v.description, v.created_by, v.metrics,
                v.hyperparams, v.created_at, v.updated_at, v.revision, t.key, t.value
            FROM (",
            $selected,
            ") AS s JOIN version AS v ON v.model = s.model AND v.number = s.number
            LEFT JOIN tag AS t ON t.model = v.model AND t.number = v.number ORDER BY s.number"
        )
    };
}

const BY_NUMBER: &str = whole!("SELECT id AS model, ?2 AS number FROM model WHERE name = ?1");
const BY_ALIAS: &str = whole!(
    "
    SELECT alias.model, alias.number FROM model JOIN alias ON alias.model = model.id
    WHERE model.name = ?1 AND alias.alias = ?2"
);
const LISTED: &str = whole!(
    "
    SELECT version.model, version.number FROM model JOIN version ON version.model = model.id
    WHERE model.name = ?1 AND version.number > ?2 ORDER BY version.number LIMIT ?3"
);
const TAGGED: &str = whole!(
    "
    SELECT tag.model, tag.number FROM model JOIN tag ON tag.model = model.id
    WHERE model.name = ?1 AND tag.key = ?4 AND tag.value = ?5 AND tag.number > ?2 ORDER BY tag.number LIMIT ?3"
);
const ALIASES: &str = "
    SELECT alias, number FROM alias
    WHERE model = (SELECT id FROM model WHERE name = ?1) AND number BETWEEN ?2 AND ?3 ORDER BY number, alias";

/// A version, whole.
struct Version {
    number: u32,
    archived: bool,
    texts: [Option<String>; 5],
    metrics: BTreeMap<String, Value>,
    hyperparams: BTreeMap<String, Value>,
    /// When it was registered and changed, and its revision.
    marks: [i64; 3],
    tags: BTreeMap<String, String>,
    aliases: Vec<String>,
}

struct Sqlite {
    path: PathBuf,
    /// Whether each caller has a connection of its own.
    own: bool,
    first: Mutex<Connection>,
    clock: SystemClock,
}

pub(super) fn open_own(folder: &Path) -> Result<Box<dyn Shop>, Failure> {
    open(folder, true)
}

pub(super) fn open_shared(folder: &Path) -> Result<Box<dyn Shop>, Failure> {
    open(folder, false)
}

fn open(folder: &Path, own: bool) -> Result<Box<dyn Shop>, Failure> {
    std::fs::create_dir(folder)?;
    let path = folder.join("data.sqlite");
    let first = connect(&path, "FULL")?;
    first.execute_batch(TABLES)?;
    Ok(Box::new(Sqlite { path, own, first: Mutex::new(first), clock: SystemClock::default() }))
}

impl Sqlite {
    fn first(&self) -> MutexGuard<'_, Connection> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, selected: &str, params: impl Params) -> Result<Option<Seen>, Failure> {
        read(&self.first(), selected, params)?.pop().map(seen).transpose()
    }

    fn page(&self, selected: &str, params: impl Params) -> Result<Page, Failure> {
        let versions = read(&self.first(), selected, params)?;
        let last = versions.last().filter(|_| versions.len() == PAGE);
        let next = last.map(|last| last.number.to_string());
        Ok(Page { versions: versions.into_iter().map(seen).collect::<Result<_, _>>()?, next })
    }
}

impl System for Sqlite {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        let own = if self.own { Some(connect(&self.path, "FULL")?) } else { None };
        Ok(Box::new(Caller { shop: self, own }))
    }

    fn held(&self) -> Result<Held, Failure> {
        audit::held(self)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        let connection = self.first.into_inner().unwrap_or_else(PoisonError::into_inner);
        connection.close().map_err(|(_, error)| error.into())
    }
}

struct Caller<'s> {
    shop: &'s Sqlite,
    own: Option<Connection>,
}

impl Session for Caller<'_> {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        let (draft, now) = (Draft::of(items), self.shop.clock.now_ms());
        match &mut self.own {
            Some(own) => commit(own, &draft, now)?,
            None => commit(&mut self.shop.first(), &draft, now)?,
        }
        Ok(1)
    }
}

fn commit(connection: &mut Connection, draft: &Draft, now_ms: u64) -> Result<(), Failure> {
    // Taken at once: a transaction that turns into a writer later may be refused without waiting.
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    register(&txn, draft, now_ms)?;
    Ok(txn.commit()?)
}

fn register(txn: &Connection, draft: &Draft, now_ms: u64) -> Result<(), Failure> {
    let now = now_ms as i64;
    let named = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (model, number): (i64, u32) = txn.prepare_cached(NEXT_NUMBER)?.query_row(params![MODEL, now], named)?;
    let metrics = serde_json::json!({ "f1": draft.f1 }).to_string();
    let hyperparams = serde_json::json!({ "depth": 6 }).to_string();
    let version = params![model, number, "git://models/train", draft.run, metrics, hyperparams, now];
    txn.prepare_cached(NEW_VERSION)?.execute(version)?;
    let mut tag = txn.prepare_cached(NEW_TAG)?;
    tag.execute(params![model, number, TAG, draft.shard])?;
    tag.execute(params![model, number, "team", "mail"])?;
    Ok(())
}

/// The versions that a statement made by [`whole`] answers.
fn read(connection: &Connection, statement: &str, params: impl Params) -> Result<Vec<Version>, Failure> {
    let mut versions: Vec<Version> = Vec::new();
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let number: u32 = row.get(0)?;
        if versions.last().is_none_or(|last| last.number != number) {
            versions.push(version(row, number)?);
        }
        if let (Some(last), Some(key)) = (versions.last_mut(), row.get(12)?) {
            last.tags.insert(key, row.get(13)?);
        }
    }
    if let (Some(first), Some(last)) = (versions.first(), versions.last()) {
        let mut statement = connection.prepare_cached(ALIASES)?;
        let mut rows = statement.query(params![MODEL, first.number, last.number])?;
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(1)?;
            // Between the least and the highest there may be versions that the read is not about.
            if let Ok(place) = versions.binary_search_by_key(&number, |version| version.number)
                && let Some(version) = versions.get_mut(place)
            {
                version.aliases.push(row.get(0)?);
            }
        }
    }
    Ok(versions)
}

/// Refuses plans that look at more than they answer: each step must search, by an index or by the primary key.
fn check_plans(connection: &Connection) -> Result<(), Failure> {
    for sql in [BY_NUMBER, BY_ALIAS, LISTED, TAGGED, ALIASES] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let step: String = row.get(3)?;
            // The rows that were selected are walked through; there are as many as will be answered.
            if step.starts_with("SCAN") && step != "SCAN s" {
                return Err(format!("SQLite would do `{step}` for {sql}").into());
            }
        }
    }
    Ok(())
}

fn version(row: &Row<'_>, number: u32) -> Result<Version, Failure> {
    let json = |column| Ok::<_, Failure>(serde_json::from_str(row.get_ref(column)?.as_str()?)?);
    Ok(Version {
        number,
        archived: row.get(1)?,
        texts: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?],
        metrics: json(7)?,
        hyperparams: json(8)?,
        marks: [row.get(9)?, row.get(10)?, row.get(11)?],
        tags: BTreeMap::new(),
        aliases: Vec::new(),
    })
}

fn seen(version: Version) -> Result<Seen, Failure> {
    let [_, _, run, ..] = version.texts;
    let [created_at, updated_at, revision] = version.marks;
    if version.archived || created_at != updated_at || revision != 1 || version.hyperparams.len() != 1 {
        return Err(format!("version {} is not as it was registered", version.number).into());
    }
    Ok(Seen {
        number: version.number,
        run: run.ok_or("a version without a run")?,
        shard: version.tags.get(TAG).cloned().ok_or("a version without the tag")?,
        f1: version.metrics.get("f1").and_then(Value::as_f64).ok_or("a version without the metric")?,
        tags: version.tags.len(),
        aliases: version.aliases,
    })
}

/// The number that a page goes on behind.
fn behind(after: Option<&str>) -> Result<u32, Failure> {
    Ok(after.map_or(Ok(0), str::parse)?)
}

impl Shop for Sqlite {
    fn fill(&self, versions: u32) -> Result<(), Failure> {
        let (mut connection, now) = (self.first(), self.clock.now_ms());
        let txn = connection.transaction()?;
        for seed in 0..versions {
            register(&txn, &Draft::new(u64::from(seed)), now)?;
        }
        let alias = "INSERT INTO alias (model, alias, number) SELECT id, ?2, ?3 FROM model WHERE name = ?1";
        txn.execute(alias, params![MODEL, ALIAS, versions / 2])?;
        txn.commit()?;
        check_plans(&connection)?;
        Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn begin_reads(&self) -> Result<(), Failure> {
        Ok(self.first().execute_batch("BEGIN")?)
    }

    fn end_reads(&self) -> Result<(), Failure> {
        Ok(self.first().execute_batch("COMMIT")?)
    }

    fn by_number(&self, number: u32) -> Result<Option<Seen>, Failure> {
        self.one(BY_NUMBER, params![MODEL, number])
    }

    fn by_alias(&self, alias: &str) -> Result<Option<Seen>, Failure> {
        self.one(BY_ALIAS, params![MODEL, alias])
    }

    fn list(&self, after: Option<&str>) -> Result<Page, Failure> {
        self.page(LISTED, params![MODEL, behind(after)?, PAGE as i64])
    }

    fn search(&self, shard: &str, after: Option<&str>) -> Result<Page, Failure> {
        self.page(TAGGED, params![MODEL, behind(after)?, PAGE as i64, TAG, shard])
    }

    fn marks(&self) -> Result<(u32, u32), Failure> {
        let sql = "SELECT last_version, versions FROM model WHERE name = ?1";
        Ok(self.first().query_row(sql, [MODEL], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }
}
