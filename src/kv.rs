//! The plain contract: JSON values under (namespace, key), for hosts that bring their own registry and queue.
//!
//! ```text
//!   kv       (namespace, key) -> envelope of the JSON text      larger than one entry: cut into `blob` pieces
//!   counter  30, namespace    -> how many keys it holds
//! ```
//!
//! A namespace is any text of 1..=255 bytes, a key any text of 1..=512 bytes; both are ordered by their bytes. A value
//! is any JSON of at most 16 MiB and comes back as it was written: 7 stays `7`, 7.0 stays `7.0`. Namespaces live in a
//! tree of their own, so a key that looks like a model or a job never meets one.
//!
//! It refuses larger values and longer names (`Invalid`), and does no more than its four verbs promise: no time to
//! live, no queries by value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Json;
use crate::keys::{self, KeyWriter};
use crate::record::repair::{self, Repairer};
use crate::record::scrub::{self, KeyCounter, Report};
use crate::record::{PAGE_BYTES, RecordStore, Staged, Transaction, View, catalog};

pub use crate::keys::{KV_KEY_BYTES_MAX, NAMESPACE_BYTES_MAX};

/// Largest value, in bytes of JSON text: 16 MiB.
pub const KV_VALUE_BYTES_MAX: usize = 16 << 20;
/// Most entries that one [`KeyValue::list`] answers.
pub const LIST_LIMIT_MAX: usize = 1_000;
/// Most keys that one transaction of a clear removes.
const CLEAR_KEYS_MAX: usize = 1_000;

/// Put, get, delete and list over (namespace, key). Hosts can implement it over their own storage, too.
pub trait KeyValue {
    /// Sets `key` to `value`, whatever it held.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; whatever a commit can answer.
    fn put(&self, namespace: &str, key: &str, value: &Json) -> Result<()>;

    /// The value at `key`; a stored `null` is a value.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; `Closed`; `Corrupt`.
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Json>>;

    /// Removes `key`, whether or not it is there.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; whatever a commit can answer.
    fn delete(&self, namespace: &str, key: &str) -> Result<()>;

    /// Up to `limit` (1..=1000) entries whose keys begin with `prefix`, in key order, from one point in time. `after` is
    /// [`KeyValuePage::next`] of the page before. A page may be shorter than `limit` although there is a next one.
    ///
    /// # Errors
    /// `Invalid` for a limit out of bounds, or an `after` that no page of this prefix has answered; `Closed`; `Corrupt`.
    fn list(&self, namespace: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<KeyValuePage>;
}

/// One page of [`KeyValue::list`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyValuePage {
    /// Keys and values, in key order.
    pub entries: Vec<(String, Json)>,
    /// What to give as `after` for the next page; `None` when this one reaches the end.
    pub next: Option<String>,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvWrite {
    /// Sets a key.
    Put {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
        /// The new value.
        value: Json,
    },
    /// Removes a key, whether or not it is there.
    Delete {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
    },
}

/// The plain contract on a record store. Cheap clone.
#[derive(Clone)]
pub struct Kv {
    records: RecordStore,
    durability: Durability,
}

impl Kv {
    /// The plain contract on `records`; its writes return with `durability`.
    #[must_use]
    pub fn new(records: RecordStore, durability: Durability) -> Self {
        Kv { records, durability }
    }

    /// The same, with another durability for its writes.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Kv { records: self.records.clone(), durability }
    }

    /// Applies the writes in their order: all of them or none.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; whatever a commit can answer.
    pub fn batch(&self, writes: &[KvWrite]) -> Result<()> {
        let mut staged = Vec::with_capacity(writes.len());
        let outcome = self.stage_all(writes, &mut staged).and_then(|()| {
            self.records.transact(self.durability, |txn| {
                let mut kv = txn.kv();
                writes.iter().zip(&staged).try_for_each(|(write, staged)| match (write, staged) {
                    (KvWrite::Put { namespace, key, .. }, Some(staged)) => kv.put_staged(namespace, key, staged),
                    (KvWrite::Delete { namespace, key }, None) => kv.delete(namespace, key),
                    _ => Err(Error::internal("a put, and only a put, is staged")),
                })
            })
        });
        self.settle(outcome, staged.into_iter().flatten())
    }

    /// Encodes every value, and writes the large ones ahead, so that the commit itself stays small.
    fn stage_all(&self, writes: &[KvWrite], staged: &mut Vec<Option<Staged>>) -> Result<()> {
        for write in writes {
            staged.push(match write {
                KvWrite::Put { namespace, key, value } => Some(self.stage(namespace, key, value)?),
                KvWrite::Delete { namespace, key } => {
                    keys::check_kv(namespace, key)?;
                    None
                }
            });
        }
        Ok(())
    }

    fn stage(&self, namespace: &str, key: &str, value: &Json) -> Result<Staged> {
        let key = kv_key(namespace, key)?;
        check_value(value)?;
        self.records.stage(catalog::KV_VALUE, &key, value)
    }

    /// Gives up what was staged for a commit that did not happen. One that may have happened keeps its pieces: where it
    /// did not, the next opening sweeps them.
    fn settle(&self, outcome: Result<()>, staged: impl Iterator<Item = Staged>) -> Result<()> {
        if let Err(error) = &outcome
            && !matches!(error.kind(), ErrorKind::CommitUnknown | ErrorKind::Closed)
        {
            for staged in staged {
                if self.records.discard_staged(staged).is_err() {
                    // The next opening sweeps it; the caller is owed the first error.
                    break;
                }
            }
        }
        outcome
    }

    /// How many keys `namespace` holds: reads one counter.
    ///
    /// # Errors
    /// `Invalid` for a namespace beyond its limit; `Closed`; `Corrupt`.
    pub fn count(&self, namespace: &str) -> Result<u64> {
        check_namespace(namespace)?;
        let count = self.records.read(|view| view.sum(catalog::KV_ENTRIES, group(namespace)))?;
        u64::try_from(count).map_err(|_| Error::corrupt(format!("counter of namespace {namespace:?}: {count} keys")))
    }

    /// Removes every key of `namespace`; answers how many. Up to 1,000 keys go in one transaction; more go in several,
    /// so a crash in between leaves a rest that calling it again removes, and keys put meanwhile may stay.
    ///
    /// # Errors
    /// `Invalid` for a namespace beyond its limit; whatever a commit can answer.
    pub fn clear(&self, namespace: &str) -> Result<u64> {
        check_namespace(namespace)?;
        let mut removed = 0;
        let mut keys_max = CLEAR_KEYS_MAX;
        let mut range = KeyRange::prefix(&keys::kv_prefix(namespace, ""));
        loop {
            let page = self.records.engine().scan(Tree::Kv, &range, Direction::Ascending, keys_max)?;
            let cleared = self.records.transact(self.durability, |txn| {
                let mut gone = 0;
                for (key, _) in &page.entries {
                    let (namespace, key) = keys::parse_kv(key)?;
                    gone += u64::from(txn.kv().take(&namespace, &key)?);
                }
                Ok(gone)
            });
            match cleared {
                Ok(gone) => removed += gone,
                // Many pieces of large values: more writes than one transaction takes. One key always fits.
                Err(error) if error.kind() == ErrorKind::Invalid && page.entries.len() > 1 => {
                    keys_max = page.entries.len() / 2;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match page.resume {
                Some(resume) => range = range.behind(&resume, Direction::Ascending),
                None => return Ok(removed),
            }
        }
    }
}

impl KeyValue for Kv {
    fn put(&self, namespace: &str, key: &str, value: &Json) -> Result<()> {
        let staged = self.stage(namespace, key, value)?;
        let outcome = self.records.transact(self.durability, |txn| txn.kv().put_staged(namespace, key, &staged));
        self.settle(outcome, std::iter::once(staged))
    }

    fn get(&self, namespace: &str, key: &str) -> Result<Option<Json>> {
        let key = kv_key(namespace, key)?;
        self.records.read(|view| view.get_part(catalog::KV_VALUE, &key))
    }

    fn delete(&self, namespace: &str, key: &str) -> Result<()> {
        self.records.transact(self.durability, |txn| txn.kv().delete(namespace, key))
    }

    fn list(&self, namespace: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<KeyValuePage> {
        check_namespace(namespace)?;
        if limit == 0 || limit > LIST_LIMIT_MAX {
            return Err(Error::invalid(format!("limit: 1..={LIST_LIMIT_MAX}, got {limit}")));
        }
        let mut range = KeyRange::prefix(&keys::kv_prefix(namespace, prefix));
        if let Some(after) = after {
            if !after.starts_with(prefix) {
                return Err(Error::invalid(format!("after: {after:?} is no page token of prefix {prefix:?}")));
            }
            if after.is_empty() || after.len() > KV_KEY_BYTES_MAX {
                return Err(Error::invalid(format!("after: 1..={KV_KEY_BYTES_MAX} bytes, got {}", after.len())));
            }
            range = range.behind(&kv_key(namespace, after)?, Direction::Ascending);
        }
        self.records.read(|view| page(view, range.clone(), limit))
    }
}

/// Entries of `range` until `limit` or [`PAGE_BYTES`] is reached; at least one if there is one.
fn page(view: &View<'_>, mut range: KeyRange, limit: usize) -> Result<KeyValuePage> {
    let mut answer = KeyValuePage::default();
    let mut bytes = 0;
    loop {
        // One more than asked for tells whether there is a next page.
        let scanned = view.reader().scan(Tree::Kv, &range, Direction::Ascending, limit + 1 - answer.entries.len())?;
        for (stored_key, stored) in scanned.entries {
            if answer.entries.len() == limit || bytes >= PAGE_BYTES {
                answer.next = answer.entries.last().map(|(key, _)| key.clone());
                return Ok(answer);
            }
            let (_, key) = keys::parse_kv(&stored_key)?;
            let value: Json = view.open_part(catalog::KV_VALUE, &stored_key, &stored)?;
            bytes += value.as_str().len();
            answer.entries.push((key, value));
        }
        match scanned.resume {
            Some(resume) => range = range.behind(&resume, Direction::Ascending),
            None => return Ok(answer),
        }
    }
}

/// How many keys there are in each namespace.
const BY_NAMESPACE: KeyCounter = KeyCounter {
    number: catalog::KV_ENTRIES,
    name: "kv.entries",
    group: |key| keys::parse_kv(key).map(|(namespace, _)| group(&namespace)),
};

/// Checks every value of the plain contract, and counts the keys of each namespace again.
pub(crate) fn verify(view: &View<'_>, report: &mut Report) -> Result<()> {
    scrub::verify_values(view, catalog::KV_VALUE, &[], Some(&BY_NAMESPACE), report)
}

/// Claims every key of the plain contract, and its counter.
pub(crate) fn claim(report: &mut Report) {
    scrub::claim_values(catalog::KV_VALUE, &[], Some(&BY_NAMESPACE), report);
}

/// Counts the keys of each namespace again, and moves values that can't be read into quarantine.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("kv");
    repair::values(run, catalog::KV_VALUE, &[], Some(&BY_NAMESPACE))
}

/// The plain contract inside a transaction.
pub struct KvTxn<'a, 't> {
    txn: &'a mut Transaction<'t>,
}

impl<'t> Transaction<'t> {
    /// The plain contract inside this transaction.
    pub fn kv(&mut self) -> KvTxn<'_, 't> {
        KvTxn { txn: self }
    }
}

impl KvTxn<'_, '_> {
    /// The value at `key` as this transaction sees it.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; `Corrupt`.
    pub fn get(&mut self, namespace: &str, key: &str) -> Result<Option<Json>> {
        self.txn.get_part(catalog::KV_VALUE, &kv_key(namespace, key)?)
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; `Corrupt`.
    pub fn put(&mut self, namespace: &str, key: &str, value: &Json) -> Result<()> {
        check_value(value)?;
        let stored_key = kv_key(namespace, key)?;
        self.count_if_new(namespace, &stored_key)?;
        self.txn.put_part(catalog::KV_VALUE, &stored_key, value)
    }

    fn put_staged(&mut self, namespace: &str, key: &str, staged: &Staged) -> Result<()> {
        self.count_if_new(namespace, &kv_key(namespace, key)?)?;
        self.txn.put_staged(staged)
    }

    fn count_if_new(&mut self, namespace: &str, stored_key: &[u8]) -> Result<()> {
        if !self.txn.holds_part(catalog::KV_VALUE, stored_key)? {
            self.txn.add(catalog::KV_ENTRIES, group(namespace), 1);
        }
        Ok(())
    }

    /// Removes `key`, whether or not it is there.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; `Corrupt`.
    pub fn delete(&mut self, namespace: &str, key: &str) -> Result<()> {
        self.take(namespace, key).map(|_| ())
    }

    /// Removes `key`; answers whether it was there.
    fn take(&mut self, namespace: &str, key: &str) -> Result<bool> {
        let stored_key = kv_key(namespace, key)?;
        let held = self.txn.holds_part(catalog::KV_VALUE, &stored_key)?;
        if held {
            self.txn.add(catalog::KV_ENTRIES, group(namespace), -1);
            self.txn.delete_part(catalog::KV_VALUE, &stored_key)?;
        }
        Ok(held)
    }
}

/// One namespace of the plain contract.
#[derive(Clone)]
pub struct Namespace {
    kv: Kv,
    name: String,
}

impl Namespace {
    /// The namespace `name` of `kv`.
    ///
    /// # Errors
    /// `Invalid` for a name outside 1..=255 bytes.
    pub fn new(kv: Kv, name: &str) -> Result<Self> {
        check_namespace(name)?;
        Ok(Namespace { kv, name: name.to_owned() })
    }

    /// Sets `key` to anything that has a JSON form.
    ///
    /// # Errors
    /// `Invalid` for a key or value beyond its limit, or one without a JSON form; whatever a commit can answer.
    pub fn put(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| Error::invalid(format!("value: {error}")))?;
        self.kv.put(&self.name, key, &Json::parse(&text)?)
    }

    /// The value at `key`.
    ///
    /// # Errors
    /// `Invalid` for a key beyond its limit; `Closed`; `Corrupt`.
    pub fn get(&self, key: &str) -> Result<Option<Json>> {
        self.kv.get(&self.name, key)
    }

    /// The value at `key` as a Rust type.
    ///
    /// # Errors
    /// `Invalid` when the value is not of that type; otherwise as [`Namespace::get`].
    pub fn get_as<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        serde_json::from_str(value.as_str()).map(Some).map_err(|error| Error::invalid(format!("key {key:?}: {error}")))
    }

    /// Removes `key`, whether or not it is there.
    ///
    /// # Errors
    /// `Invalid` for a key beyond its limit; whatever a commit can answer.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.kv.delete(&self.name, key)
    }

    /// See [`KeyValue::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<KeyValuePage> {
        self.kv.list(&self.name, prefix, after, limit)
    }

    /// See [`Kv::count`].
    ///
    /// # Errors
    /// As there.
    pub fn count(&self) -> Result<u64> {
        self.kv.count(&self.name)
    }

    /// See [`Kv::clear`].
    ///
    /// # Errors
    /// As there.
    pub fn clear(&self) -> Result<u64> {
        self.kv.clear(&self.name)
    }
}

fn check_namespace(namespace: &str) -> Result<()> {
    if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX {
        return Err(Error::invalid(format!("namespace: 1..={NAMESPACE_BYTES_MAX} bytes, got {}", namespace.len())));
    }
    Ok(())
}

fn kv_key(namespace: &str, key: &str) -> Result<Vec<u8>> {
    keys::check_kv(namespace, key)?;
    Ok(keys::kv(namespace, key))
}

fn check_value(value: &Json) -> Result<()> {
    let bytes = value.as_str().len();
    if bytes > KV_VALUE_BYTES_MAX {
        return Err(Error::invalid(format!("value: at most {KV_VALUE_BYTES_MAX} bytes of JSON, got {bytes}")));
    }
    Ok(())
}

/// What the counter of entries is kept by.
fn group(namespace: &str) -> KeyWriter {
    KeyWriter::new().str(namespace)
}
