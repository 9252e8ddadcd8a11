//! The last word on every key that the change feed told of, in order, in bounded memory.
//!
//! ```text
//! changes ──> map, 8 MiB ── full ──> a sorted run on disk ──> … ──> merged: of equal keys the newest run's wins
//! ```
//!
//! Runs lie beside the snapshot that is being written, and have no name from the moment they are open: nothing is left of
//! them after a crash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::file;
use super::layout::{Fields, RECORD_HEADER_BYTES, Record};
use crate::engine::{Tree, Value};
use crate::error::{Error, Result};

/// Bytes of keys and values in memory before they go to a run.
const MAP_BYTES: usize = 8 << 20;
/// What an entry of the map takes beside its key and value.
const ENTRY_OVERHEAD: usize = 96;
/// Read ahead of each run: a journal of 1 GiB makes about 128 of them.
const RUN_BUFFER_BYTES: usize = 32 << 10;

type Place = (Tree, Box<[u8]>);

/// Collects writes in the order in which they were made.
pub(super) struct Overlay {
    beside: PathBuf,
    map_bytes: usize,
    map: BTreeMap<Place, Option<Value>>,
    bytes: usize,
    runs: Vec<File>,
}

impl Overlay {
    /// Runs will lie beside `path`.
    pub(super) fn new(path: &Path) -> Self {
        Overlay::with_bytes(path, MAP_BYTES)
    }

    fn with_bytes(path: &Path, map_bytes: usize) -> Self {
        Overlay { beside: path.to_path_buf(), map_bytes, map: BTreeMap::new(), bytes: 0, runs: Vec::new() }
    }

    /// A write that came after all others so far.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn write(&mut self, tree: Tree, key: Vec<u8>, value: Option<Value>) -> Result<()> {
        let size = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.len());
        self.bytes += size(&value);
        let key_bytes = key.len();
        match self.map.insert((tree, key.into()), value) {
            Some(old) => self.bytes -= size(&old),
            None => self.bytes += key_bytes + ENTRY_OVERHEAD,
        }
        if self.bytes >= self.map_bytes { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let mut out = BufWriter::new(file::nameless(&self.beside)?);
        let mut bytes = Vec::new();
        for ((tree, key), value) in std::mem::take(&mut self.map) {
            bytes.clear();
            Record { tree, key: &key, value: value.as_deref() }.put(&mut bytes);
            out.write_all(&bytes).map_err(failed)?;
        }
        let mut run = out.into_inner().map_err(|error| failed(error.into_error()))?;
        run.rewind().map_err(failed)?;
        self.runs.push(run);
        self.bytes = 0;
        Ok(())
    }

    /// Calls `each` with the last write of every key, in order.
    ///
    /// # Errors
    /// What `each` answers; `Full`, `Unavailable`.
    pub(super) fn merge(self, mut each: impl FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let mut runs = self.runs.into_iter().map(Run::open).collect::<Result<Vec<_>>>()?;
        let mut newest = self.map.into_iter().peekable();
        loop {
            let in_runs = runs.iter().filter_map(|run| run.place.as_ref()).min();
            let place = match (in_runs, newest.peek()) {
                (None, None) => return Ok(()),
                (Some(place), None) => place.clone(),
                (None, Some((place, _))) => place.clone(),
                (Some(run), Some((place, _))) => run.min(place).clone(),
            };
            let mut last_word = None;
            for run in &mut runs {
                if run.place.as_ref() == Some(&place) {
                    last_word = Some(run.value.take().map(Value::from));
                    run.advance()?;
                }
            }
            if newest.peek().is_some_and(|(other, _)| *other == place) {
                last_word = newest.next().map(|(_, value)| value);
            }
            let value = last_word.flatten();
            each(&Record { tree: place.0, key: &place.1, value: value.as_deref() })?;
        }
    }
}

/// A run that is read back, standing before its next record.
struct Run {
    file: BufReader<File>,
    place: Option<Place>,
    value: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Run {
    fn open(file: File) -> Result<Self> {
        let file = BufReader::with_capacity(RUN_BUFFER_BYTES, file);
        let mut run = Run { file, place: None, value: None, bytes: Vec::new() };
        run.advance()?;
        Ok(run)
    }

    fn advance(&mut self) -> Result<()> {
        self.place = None;
        let mut head = [0; RECORD_HEADER_BYTES];
        let mut filled = 0;
        while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest).map_err(failed)? {
                0 if filled == 0 => return Ok(()),
                0 => return Err(Error::internal("snapshot: a run that was just written ends in a record")),
                bytes => filled += bytes,
            }
        }
        let [_, _, key_low, key_high, value @ ..] = head;
        let body = usize::from(u16::from_le_bytes([key_low, key_high])) + u32::from_le_bytes(value) as usize;
        self.bytes.clear();
        self.bytes.extend_from_slice(&head);
        self.bytes.resize(RECORD_HEADER_BYTES + body, 0);
        let rest = self.bytes.get_mut(RECORD_HEADER_BYTES..).unwrap_or_default();
        self.file.read_exact(rest).map_err(failed)?;
        let record = Record::take(&mut Fields(&self.bytes))
            .ok_or_else(|| Error::internal("snapshot: a run that was just written can't be read back"))?;
        self.place = Some((record.tree, record.key.into()));
        self.value = record.value.map(<[u8]>::to_vec);
        Ok(())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("sort the changes of a snapshot", error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_often_it_spills_the_last_write_of_each_key_comes_out_in_order(
            writes in proptest::collection::vec((0u8..10, 0u8..20, proptest::option::of(0u16..500)), 0..200),
            map_bytes in 1usize..5000,
        ) {
            let temp = tempfile::tempdir().unwrap();
            let mut overlay = Overlay::with_bytes(&temp.path().join("s"), map_bytes);
            let mut model = BTreeMap::new();
            for (tree, key, length) in writes {
                let (tree, key) = (Tree::from_number(tree).unwrap(), vec![1, key]);
                let value = length.map(|length| Value::from(vec![7; usize::from(length)]));
                model.insert((tree, key.clone()), value.clone());
                overlay.write(tree, key, value).unwrap();
            }
            let mut merged = Vec::new();
            overlay.merge(|record| {
                merged.push(((record.tree, record.key.to_vec()), record.value.map(Value::from)));
                Ok(())
            }).unwrap();
            prop_assert_eq!(merged, model.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        }
    }
}
