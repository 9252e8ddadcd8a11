//! What frames of the memory store carry: entries, removals, the mark, and a snapshot's end.
//!
//! Numbers are little-endian. Items follow each other without gaps and fill the payload.
//!
//! ```text
//! put       1 · tree (1 byte) · key length (2) · value length (4) · key · value
//! removal   2 · tree (1 byte) · key length (2) · key
//! mark      3 · length (2) · mark
//! end       4 · entries in the snapshot (8); the last item of a snapshot, nowhere else
//! ```
//!
//! It refuses what no writer of this crate makes: unknown kinds and trees, and lengths past the limits of the engine.
//! Nothing is allocated by a length that was read; items borrow from the payload.

use super::frame::{FRAME_HEADER, PAYLOAD_BYTES_MAX};
use crate::engine::{KEY_BYTES_MAX, Tree, VALUE_BYTES_MAX, Write, WriteBatch};
use crate::error::{Error, Result};

/// Longest mark, in bytes.
pub(super) const MARK_BYTES_MAX: usize = 1024;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const MARK: u8 = 3;
const END: u8 = 4;

/// Bytes of a put besides key and value.
const PUT_HEADER: usize = 8;
/// Bytes of a mark besides itself.
const MARK_HEADER: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Put(Tree, &'a [u8], &'a [u8]),
    Remove(Tree, &'a [u8]),
    Mark(&'a [u8]),
    End(u64),
}

/// Bytes that an entry takes as an item.
pub(super) fn entry_bytes(key: &[u8], value: &[u8]) -> u64 {
    (PUT_HEADER + key.len() + value.len()) as u64
}

/// Most bytes that a batch takes as items.
pub(super) fn batch_bytes(batch: &WriteBatch) -> u64 {
    let write = |(_, key, value): &Write| entry_bytes(key, value.as_deref().unwrap_or_default());
    batch.writes.iter().map(write).sum::<u64>()
        + batch.mark.as_ref().map_or(0, |mark| (MARK_HEADER + mark.len()) as u64)
}

/// Refuses a batch that could not be read back.
pub(super) fn check(batch: &WriteBatch) -> Result<()> {
    for (tree, key, value) in &batch.writes {
        let value_bytes = value.as_ref().map_or(0, |value| value.len());
        if key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(Error::invalid(format!(
                "tree {}: a key of {} bytes with a value of {value_bytes}: at most {KEY_BYTES_MAX} and {VALUE_BYTES_MAX}",
                tree.name(),
                key.len(),
            )));
        }
    }
    if batch_bytes(batch) > PAYLOAD_BYTES_MAX as u64 {
        return Err(Error::invalid(format!("batch: at most {PAYLOAD_BYTES_MAX} bytes, got {}", batch_bytes(batch))));
    }
    match &batch.mark {
        Some(mark) if mark.len() > MARK_BYTES_MAX => {
            Err(Error::invalid(format!("mark: at most {MARK_BYTES_MAX} bytes, got {}", mark.len())))
        }
        _ => Ok(()),
    }
}

/// A payload in the making, with room for the frame's header before it, so that both go out in one write.
#[derive(Debug)]
pub(super) struct Payload(Vec<u8>);

impl Payload {
    pub(super) fn new() -> Self {
        Payload(vec![0; FRAME_HEADER])
    }

    /// Bytes of the items so far.
    pub(super) fn len(&self) -> usize {
        self.0.len() - FRAME_HEADER
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(FRAME_HEADER);
    }

    /// Header and items; the header is the frame writer's to fill in.
    pub(super) fn framed(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The caller keeps to the lengths of [`check`].
    pub(super) fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        self.0.extend_from_slice(&[PUT, tree.number()]);
        self.0.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.0.extend_from_slice(key);
        self.0.extend_from_slice(value);
    }

    fn write(&mut self, (tree, key, value): &Write) {
        match value {
            Some(value) => self.put(*tree, key, value),
            None => {
                self.0.extend_from_slice(&[REMOVE, tree.number()]);
                self.0.extend_from_slice(&(key.len() as u16).to_le_bytes());
                self.0.extend_from_slice(key);
            }
        }
    }

    /// The caller has had it [`check`]ed.
    pub(super) fn batch(&mut self, batch: &WriteBatch) {
        for write in &batch.writes {
            self.write(write);
        }
        if let Some(mark) = &batch.mark {
            self.mark(mark);
        }
    }

    pub(super) fn mark(&mut self, mark: &[u8]) {
        self.0.push(MARK);
        self.0.extend_from_slice(&(mark.len() as u16).to_le_bytes());
        self.0.extend_from_slice(mark);
    }

    pub(super) fn end(&mut self, entries: u64) {
        self.0.push(END);
        self.0.extend_from_slice(&entries.to_le_bytes());
    }
}

/// Takes the items off the front of a payload.
#[derive(Debug)]
pub(super) struct Items<'a>(pub(super) &'a [u8]);

impl<'a> Items<'a> {
    /// The next item, `None` at the end.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>> {
        let Some([kind]) = self.number() else { return Ok(None) };
        let damaged = || Error::corrupt(format!("memory store: an item of kind {kind} that makes no sense"));
        let read = match kind {
            PUT => {
                let tree = self.tree()?;
                let key_bytes = self.number().map(u16::from_le_bytes).ok_or_else(damaged)?;
                let value_bytes = self.number().map(u32::from_le_bytes).ok_or_else(damaged)?;
                let key = self.bytes(key_bytes.into(), KEY_BYTES_MAX);
                let value = self.bytes(value_bytes as usize, VALUE_BYTES_MAX);
                tree.zip(key.zip(value)).map(|(tree, (key, value))| Item::Put(tree, key, value))
            }
            REMOVE => {
                let tree = self.tree()?;
                let key_bytes = self.number().map(u16::from_le_bytes).ok_or_else(damaged)?;
                tree.zip(self.bytes(key_bytes.into(), KEY_BYTES_MAX)).map(|(tree, key)| Item::Remove(tree, key))
            }
            MARK => {
                let mark_bytes = self.number().map(u16::from_le_bytes).ok_or_else(damaged)?;
                self.bytes(mark_bytes.into(), MARK_BYTES_MAX).map(Item::Mark)
            }
            END => self.number().map(u64::from_le_bytes).map(Item::End),
            _ => None,
        };
        read.map(Some).ok_or_else(damaged)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn tree(&mut self) -> Result<Option<Tree>> {
        self.number::<1>().map(|[number]| Tree::from_number(number)).transpose()
    }

    fn bytes(&mut self, len: usize, len_max: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        (len <= len_max).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Value;

    #[test]
    fn items_read_back_and_a_payload_cut_inside_one_is_corrupt() {
        let mut payload = Payload::new();
        payload.write(&(Tree::Jobs, Box::from(*b"key"), Some(Value::from(*b"value"))));
        payload.write(&(Tree::Meta, Box::from(*b"gone"), None));
        payload.mark(b"mark");
        payload.end(7);
        let bytes = payload.framed()[FRAME_HEADER..].to_vec();
        let expected = [
            Item::Put(Tree::Jobs, b"key", b"value"),
            Item::Remove(Tree::Meta, b"gone"),
            Item::Mark(b"mark"),
            Item::End(7),
        ];
        let read = |bytes: &[u8]| -> Result<usize> {
            let mut items = Items(bytes);
            let mut count = 0;
            while let Some(item) = items.next()? {
                assert_eq!(item, expected[count]);
                count += 1;
            }
            Ok(count)
        };
        assert_eq!(read(&bytes).unwrap(), 4);
        let ends = [0, 16, 24, 31];
        for cut in 0..bytes.len() {
            match read(&bytes[..cut]) {
                Ok(count) => assert_eq!(ends[count], cut),
                Err(_) => assert!(!ends.contains(&cut), "cut at {cut}"),
            }
        }
    }

    #[test]
    fn a_length_past_the_limits_is_refused_at_both_ends() {
        let writes = vec![(Tree::Kv, Box::from(*b"k"), Some(Value::from(vec![0; VALUE_BYTES_MAX + 1])))];
        let mut payload = Payload::new();
        payload.write(&writes[0]);
        assert!(check(&WriteBatch { writes, mark: None }).is_err());
        assert!(Items(&payload.framed()[FRAME_HEADER..]).next().is_err());
        assert!(check(&WriteBatch { writes: Vec::new(), mark: Some(Value::from(vec![0; 1025])) }).is_err());
    }
}
