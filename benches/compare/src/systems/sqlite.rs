//! SQLite through rusqlite, journal in WAL mode, with prepared statements.
//!
//! Two ways to share it: a connection for each caller, where SQLite's own locks and busy handler decide who goes next,
//! and one connection behind a mutex. With one caller they are the same; with many the mutex is usually the faster.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::{COUNTER, Held, Item, Session, System};
use crate::Failure;

/// How long SQLite looks for its turn before it gives up.
const BUSY: Duration = Duration::from_secs(60);

const TABLES: &str = "
    CREATE TABLE record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE entry (key BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE counter (key BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;";

struct Sqlite {
    path: PathBuf,
    synchronous: &'static str,
    /// `None`: a connection for each caller.
    shared: Option<Mutex<Connection>>,
}

/// `synchronous=FULL`, a connection for each caller.
pub fn open_own(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, "FULL", false)
}

/// `synchronous=FULL`, one connection for all callers.
pub fn open_shared(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, "FULL", true)
}

/// `synchronous=NORMAL`, one connection for all callers: a power cut takes back what came after the last checkpoint.
pub fn open_normal(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, "NORMAL", true)
}

fn open(folder: &Path, synchronous: &'static str, shared: bool) -> Result<Box<dyn System>, Failure> {
    std::fs::create_dir(folder)?;
    let path = folder.join("data.sqlite");
    let first = connect(&path, synchronous)?;
    first.execute_batch(TABLES)?;
    first.execute("INSERT INTO counter (key, sum) VALUES (?1, 0)", [COUNTER])?;
    Ok(Box::new(Sqlite { path, synchronous, shared: shared.then(|| Mutex::new(first)) }))
}

/// Opens the file with a busy handler, the journal in WAL mode and this `synchronous`.
pub fn connect(path: &Path, synchronous: &str) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(format!("sqlite: the journal is {mode}, not wal").into());
    }
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

impl System for Sqlite {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        Ok(match &self.shared {
            Some(shared) => Box::new(Shared(shared)),
            None => Box::new(Own(connect(&self.path, self.synchronous)?)),
        })
    }

    fn held(&self) -> Result<Held, Failure> {
        let connection = connect(&self.path, self.synchronous)?;
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Held {
            records: number("SELECT count(*) FROM record")? as u64,
            entries: number("SELECT count(*) FROM entry")? as u64,
            counter: number("SELECT sum FROM counter")?,
        })
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        match self.shared {
            Some(shared) => {
                let connection = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
                connection.close().map_err(|(_, error)| error.into())
            }
            None => Ok(()),
        }
    }
}

struct Own(Connection);

impl Session for Own {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        write(&mut self.0, items.step())
    }
}

struct Shared<'s>(&'s Mutex<Connection>);

impl Session for Shared<'_> {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        let item = items.step();
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), item)
    }
}

fn write(connection: &mut Connection, item: &Item) -> Result<u64, Failure> {
    // Taken at once: a transaction that turns into a writer later may be refused without waiting.
    let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    txn.prepare_cached("INSERT INTO record (key, value) VALUES (?1, ?2)")?.execute((&item.key, &item.record[..]))?;
    txn.prepare_cached("INSERT INTO entry (key) VALUES (?1)")?.execute([&item.entry[..]])?;
    txn.prepare_cached("UPDATE counter SET sum = sum + 1 WHERE key = ?1")?.execute([COUNTER])?;
    txn.commit()?;
    Ok(1)
}
