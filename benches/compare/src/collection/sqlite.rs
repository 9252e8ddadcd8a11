//! A table of SQLite with an index for each field, journal in WAL mode, prepared statements, one connection.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{FIELDS, Item, ROWS, STORED, Shelf};
use crate::Failure;

struct Sqlite(Connection);

pub(super) fn open_full(folder: &Path, indexes: usize) -> Result<Box<dyn Shelf>, Failure> {
    open(folder, indexes, "FULL")
}

pub(super) fn open_normal(folder: &Path, indexes: usize) -> Result<Box<dyn Shelf>, Failure> {
    open(folder, indexes, "NORMAL")
}

fn open(folder: &Path, indexes: usize, synchronous: &str) -> Result<Box<dyn Shelf>, Failure> {
    std::fs::create_dir_all(folder)?;
    let mut connection = Connection::open(folder.join("data.sqlite"))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    let columns: String = FIELDS.iter().map(|field| format!("{field} INTEGER NOT NULL, ")).collect();
    connection.execute_batch(&format!("CREATE TABLE item (id INTEGER PRIMARY KEY, {columns} note TEXT NOT NULL)"))?;
    for field in FIELDS.iter().take(indexes) {
        connection.execute_batch(&format!("CREATE INDEX by_{field} ON item ({field})"))?;
    }
    let filling = connection.transaction()?;
    for id in 0..STORED {
        save(&filling, &Item::new(id, 0))?;
    }
    filling.commit()?;
    Ok(Box::new(Sqlite(connection)))
}

fn save(connection: &Connection, item: &Item) -> Result<(), Failure> {
    const UPSERT: &str = "
        INSERT INTO item (id, a, b, c, d, e, f, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (id) DO UPDATE SET a = ?2, b = ?3, c = ?4, d = ?5, e = ?6, f = ?7, note = ?8";
    let [a, b, c, d, e, f] = item.values.map(|value| value as i64);
    let written =
        connection.prepare_cached(UPSERT)?.execute(params![item.id as i64, a, b, c, d, e, f, Item::note()])?;
    if written == 1 { Ok(()) } else { Err(format!("{written} rows were written").into()) }
}

impl Shelf for Sqlite {
    fn save(&mut self, item: &Item) -> Result<(), Failure> {
        save(&self.0, item)
    }

    fn list(&mut self, from: u64) -> Result<usize, Failure> {
        let mut statement = self.0.prepare_cached("SELECT * FROM item WHERE a >= ?1 ORDER BY a LIMIT ?2")?;
        let mut rows = statement.query(params![from as i64, ROWS as i64])?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            let note: String = row.get("note")?;
            let last: i64 = row.get("f")?;
            found += usize::from(!note.is_empty() && last >= 0);
        }
        Ok(found)
    }

    fn count(&mut self) -> Result<u64, Failure> {
        let count: i64 = self.0.prepare_cached("SELECT count(*) FROM item")?.query_row([], |row| row.get(0))?;
        Ok(count as u64)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.0.close().map_err(|(_, error)| error.into())
    }
}
