//! Writes on their way: the set that a body collects, the batch that commits share, and their spelling in a frame.
//!
//! A batch holds the final value of each key (`None`: removed), one per key, whatever its commits did in between; a
//! hot key such as a counter therefore costs one write a batch. Payload of a journal frame, little-endian:
//!
//! ```text
//! 0  4  number of writes
//! then for each write
//!    1  tree number          4  value length, 0 for a removal
//!    1  1 = value, 0 = removal
//!    2  key length           key, value
//! ```

use std::collections::BTreeMap;

use crate::engine::{Tree, Value};
use crate::error::{Error, Result};

/// Bytes that a write takes in a payload beside its key and value.
pub(super) const WRITE_OVERHEAD: usize = 8;
/// Bytes of a payload before its first write.
pub(super) const PAYLOAD_OVERHEAD: usize = 4;

/// An ordered map per tree.
#[derive(Debug)]
pub(super) struct PerTree<T> {
    trees: [BTreeMap<Box<[u8]>, T>; Tree::COUNT],
    len: usize,
}

impl<T> Default for PerTree<T> {
    fn default() -> Self {
        PerTree { trees: std::array::from_fn(|_| BTreeMap::new()), len: 0 }
    }
}

impl<T> PerTree<T> {
    pub(super) fn tree(&self, tree: Tree) -> &BTreeMap<Box<[u8]>, T> {
        self.trees.get(tree.index()).expect("one map for each tree")
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Option<&T> {
        self.tree(tree).get(key)
    }

    /// Puts `item` at `key` and answers what was there. The key is only copied when it is new.
    pub(super) fn insert(&mut self, tree: Tree, key: &[u8], item: T) -> Option<T> {
        let map = self.trees.get_mut(tree.index()).expect("one map for each tree");
        if let Some(there) = map.get_mut(key) {
            return Some(std::mem::replace(there, item));
        }
        map.insert(key.into(), item);
        self.len += 1;
        None
    }

    pub(super) fn get_mut(&mut self, tree: Tree, key: &[u8]) -> Option<&mut T> {
        self.trees.get_mut(tree.index())?.get_mut(key)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Everything, by tree and key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tree, &[u8], &T)> {
        Tree::ALL.iter().zip(&self.trees).flat_map(|(tree, map)| map.iter().map(|(key, item)| (*tree, &**key, item)))
    }
}

/// What one body wrote so far.
#[derive(Debug, Default)]
pub(super) struct OwnWrites {
    pub(super) writes: PerTree<OwnWrite>,
    /// Keys and values, as the limits of a transaction count them.
    pub(super) bytes: usize,
}

/// The newest write of a body to one key.
#[derive(Debug, Clone)]
pub(super) struct OwnWrite {
    pub(super) value: Option<Value>,
    /// The key was given to `add`, so the body may not read it.
    pub(super) added: bool,
}

impl OwnWrites {
    pub(super) fn set(&mut self, tree: Tree, key: &[u8], write: OwnWrite) {
        let size = write.value.as_ref().map_or(0, |value| value.len());
        match self.writes.insert(tree, key, write) {
            Some(old) => self.bytes = self.bytes - old.value.map_or(0, |value| value.len()) + size,
            None => self.bytes += key.len() + size,
        }
    }

    /// Bytes that these writes add to a payload at most.
    pub(super) fn payload_bytes(&self) -> usize {
        self.bytes + self.writes.len() * WRITE_OVERHEAD
    }
}

/// A write of a batch, with the commit that made it.
#[derive(Debug, Clone)]
pub(super) struct BatchWrite {
    pub(super) value: Option<Value>,
    pub(super) version: u64,
}

/// Commits that will share, or share, one journal frame.
#[derive(Debug)]
pub(super) struct Batch {
    /// Sequence of the frame.
    pub(super) sequence: u64,
    pub(super) writes: PerTree<BatchWrite>,
    /// Length of the payload.
    pub(super) payload_bytes: usize,
    pub(super) commits: u64,
    /// Some commit asked for `PowerLoss`: from the first such one on, nothing is visible before the sync.
    pub(super) power_loss: bool,
    /// Some commit asked for `Buffered` and has returned.
    pub(super) buffered: bool,
    /// The newest commit before this batch.
    base: u64,
    /// Versions up to this one were published when they were committed.
    pub(super) published: u64,
    /// The newest commit in it.
    pub(super) last_version: u64,
}

impl Batch {
    pub(super) fn new(sequence: u64, published: u64) -> Self {
        Batch {
            sequence,
            writes: PerTree::default(),
            payload_bytes: PAYLOAD_OVERHEAD,
            commits: 0,
            power_loss: false,
            buffered: false,
            base: published,
            published,
            last_version: published,
        }
    }

    /// Whether any of its commits is in the memtable already.
    pub(super) fn is_part_published(&self) -> bool {
        self.published > self.base
    }

    /// Takes over the writes of one commit.
    pub(super) fn merge(&mut self, own: &OwnWrites, version: u64) {
        for (tree, key, write) in own.writes.iter() {
            let size = write.value.as_ref().map_or(0, |value| value.len());
            match self.writes.insert(tree, key, BatchWrite { value: write.value.clone(), version }) {
                Some(old) => self.payload_bytes = self.payload_bytes - old.value.map_or(0, |value| value.len()) + size,
                None => self.payload_bytes += WRITE_OVERHEAD + key.len() + size,
            }
        }
        self.commits += 1;
        self.last_version = version;
    }

    /// The payload of its frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.writes.len() as u32).to_le_bytes());
        for (tree, key, write) in self.writes.iter() {
            let value: &[u8] = write.value.as_deref().unwrap_or_default();
            out.push(tree.number());
            out.push(u8::from(write.value.is_some()));
            out.extend_from_slice(&(key.len() as u16).to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
    }
}

/// Calls `each` for every write of a payload.
///
/// # Errors
/// `Corrupt` when the payload is not what [`Batch::encode`] writes; nothing is allocated from a length in it.
pub(super) fn decode(payload: &[u8], mut each: impl FnMut(Tree, &[u8], Option<&[u8]>)) -> Result<()> {
    let short = || Error::corrupt("journal frame: its payload ends in the middle of a write");
    let (count, mut rest) = payload.split_first_chunk::<4>().ok_or_else(short)?;
    for _ in 0..u32::from_le_bytes(*count) {
        let (head, tail) = rest.split_first_chunk::<WRITE_OVERHEAD>().ok_or_else(short)?;
        let [tree, present, k0, k1, v0, v1, v2, v3] = *head;
        let key_len = usize::from(u16::from_le_bytes([k0, k1]));
        let value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let (key, tail) = tail.split_at_checked(key_len).ok_or_else(short)?;
        let (value, tail) = tail.split_at_checked(value_len).ok_or_else(short)?;
        each(Tree::from_number(tree)?, key, (present == 1).then_some(value));
        rest = tail;
    }
    match rest {
        [] => Ok(()),
        _ => Err(Error::corrupt("journal frame: bytes behind its last write")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = (Tree, &'a [u8], Option<&'a [u8]>);

    fn own(writes: &[Given<'_>]) -> OwnWrites {
        let mut own = OwnWrites::default();
        for (tree, key, value) in writes {
            own.set(*tree, key, OwnWrite { value: value.map(Value::from), added: false });
        }
        own
    }

    #[test]
    fn a_batch_keeps_the_last_value_of_each_key_and_its_payload_length_is_exact() {
        let mut batch = Batch::new(1, 0);
        batch.merge(&own(&[(Tree::Jobs, b"a", Some(b"long value")), (Tree::Kv, b"a", Some(b"x"))]), 1);
        batch.merge(&own(&[(Tree::Jobs, b"a", None), (Tree::Kv, b"b", Some(b""))]), 2);
        let mut payload = Vec::new();
        batch.encode(&mut payload);
        assert_eq!(payload.len(), batch.payload_bytes);
        let mut seen = Vec::new();
        decode(&payload, |tree, key, value| seen.push((tree, key.to_vec(), value.map(<[u8]>::to_vec)))).unwrap();
        assert_eq!(
            seen,
            [
                (Tree::Jobs, b"a".to_vec(), None),
                (Tree::Kv, b"a".to_vec(), Some(b"x".to_vec())),
                (Tree::Kv, b"b".to_vec(), Some(Vec::new())),
            ]
        );
    }

    #[test]
    fn a_payload_cut_anywhere_is_refused() {
        let mut batch = Batch::new(1, 0);
        batch.merge(&own(&[(Tree::Jobs, b"key", Some(b"value"))]), 1);
        let mut payload = Vec::new();
        batch.encode(&mut payload);
        for cut in 0..payload.len() {
            assert!(decode(&payload[..cut], |_, _, _| ()).is_err(), "cut at {cut}");
        }
        payload.push(0);
        assert!(decode(&payload, |_, _, _| ()).is_err());
    }
}
