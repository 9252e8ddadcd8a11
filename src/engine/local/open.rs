//! Opening a folder: lock, `CURRENT`, store, journal; then the engine stands where it stopped.
//!
//! ```text
//! lock ─> CURRENT ─> open the store ─> survey the journal ─> do the two fit? ─> frames above the base are written again
//! into a fresh segment and synced ─> memtable refilled ─> epoch raised (a commit like any other)
//! ```
//!
//! The **base** is the newest sequence that the store is proven to hold: what a synced frame says of it, or what the
//! oldest kept segment implies. The store's own mark may be newer, but can stand in the page cache alone after a
//! failed sync, so it is not believed further; replaying final values over it changes nothing. A mark older than the
//! base means that the store was replaced or cut: the journal makes up for it when it reaches back far enough, else
//! the folder is `Corrupt` and says what is missing. Nothing is ever silently empty.
//!
//! A store that can't be opened, or that lost its mark, is moved aside and rebuilt: from the journal alone where that
//! reaches back to the start, else from a state that a [`Rescue`] brings, and the journal behind it (`rebuild`). What is
//! wrong with the journal, no rescue helps against.
//!
//! Creating: everything is made and synced, the first epoch is committed, and only then `CURRENT` is written. A
//! folder without `CURRENT` is therefore new, half made (and is made again), or damaged (when it holds commits).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{self, PAYLOAD_OVERHEAD};
use super::core::{Core, Parts, panic_text};
use super::current::Current;
use super::disk::Disk;
use super::epoch::EpochEntry;
use super::journal::{Journal, Room, Start};
use super::keeper::{self, KeeperInbox};
use super::mark::Mark;
use super::memtable::Memtables;
use super::opener::StoreOpener;
use super::origin;
use super::pipeline::Pipeline;
use super::rebuild::{self, ANNEX, Rebuild};
use super::replay::{KeptFrame, Replay, Survey, Tail};
use super::rescue::Rescue;
use super::segment::Identity;
use super::sync::Mutex;
use crate::clock::{Ids, Stopwatch};
use crate::config::Config;
use crate::engine::{Direction, Epoch, KeyRange, KvStore, Tree, Value, WriteBatch};
use crate::error::{Error, ErrorKind, Result};

/// What opening did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// The folder was made.
    pub created: bool,
    /// Journal frames that were replayed.
    pub replayed: u64,
    /// The store was behind the journal, damaged or gone, and was made up for from journal and snapshots.
    pub rebuilt: bool,
    /// Where a damaged store was put that was replaced. Nobody but you removes it.
    pub damaged_store: Option<PathBuf>,
    /// Time that the store took to open, in milliseconds.
    pub store_open_ms: u64,
    /// Time to read, rewrite and replay the journal, in milliseconds.
    pub replay_ms: u64,
}

/// An engine that is open but has no threads yet, and what is left to do before anybody may use it.
pub(super) struct Opened {
    pub(super) core: Arc<Core>,
    pub(super) inbox: KeeperInbox,
    pub(super) report: OpenReport,
    pub(super) entry: EpochEntry,
    /// To be written once the first epoch is durable.
    pub(super) birth: Option<Current>,
}

pub(super) struct Folders {
    pub(super) root: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) store: PathBuf,
}

/// Opens for writing.
pub(super) fn for_writing(
    disk: Arc<dyn Disk>,
    folder: &Path,
    opener: &dyn StoreOpener,
    config: &Config,
    rescue: &dyn Rescue,
) -> Result<Opened> {
    config.check()?;
    disk.create_dir(folder)?;
    if let Some(parent) = folder.parent() {
        // The relative path of one name has the empty path for its parent.
        disk.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    let lock = disk.lock(folder)?;
    let live = Current::read(&*disk, folder)?;
    let created = live.is_none();
    if !created {
        // Whoever made the folder may have died between the rename of `CURRENT` and the sync of its name.
        disk.sync_dir(folder)?;
    }
    let current = match live {
        Some(current) => current,
        None => {
            remove_unborn(&*disk, folder)?;
            let identity = Identity { uuid: config.ids.next_u128(), generation: 1 };
            Current { engine: opener.engine().to_owned(), identity }
        }
    };
    check_engine(&current, folder, opener)?;
    let folders = Folders::of(&current, folder);
    let took = Stopwatch::start();
    let found = if created {
        Ok(create_store(&*disk, &folders, opener, config, current.identity)?)
    } else {
        open_store(&*disk, &folders, opener, config, rescue)?
    };
    let store_open_ms = took.elapsed().as_millis() as u64;
    let took = Stopwatch::start();
    let extent = Extent::find(&*disk, &folders, current.identity, created)?;
    let identity = current.identity;
    let plan = Rebuild { disk: &*disk, folders: &folders, opener, config, identity, extent: &extent, rescue };
    let Stood { store, base, damaged_store } = stand(&plan, found)?;
    let replay = extent.survey.replay(&*disk, base.sequence)?;
    // The identifiers that a segment is salted with never show, so they stay out of a seeded sequence.
    let salts = Ids::random()?;
    let mut journal = rewrite(Arc::clone(&disk), &folders, &salts, current.identity, &extent.survey, &base, &replay)?;
    if let Some(newest) = rescue.newest(&folders.root.join(ANNEX))?
        && newest >= extent.reach
    {
        // Before anything may be given up: with this state the journal covers everything.
        journal.keep(newest + 1);
    }
    let memtables = Memtables::new();
    let end = refill(&memtables, base.sequence, &replay)?;
    let newest = EpochEntry::newest(&*store, &memtables)?;
    let origin = origin::read(&*store, &memtables)?;
    let number = newest.map_or(1, |entry| entry.epoch.number + 1);
    let lineage = newest.map_or(current.identity.uuid, |entry| entry.lineage);
    config.ids.enter_epoch(number);
    let epoch = Epoch { number, id: config.ids.next_u64() };
    let entry = EpochEntry { epoch, after_sequence: end, lineage };
    let report = OpenReport {
        created,
        replayed: replay.frames.len() as u64,
        rebuilt: damaged_store.is_some() || base.rebuilt,
        damaged_store,
        store_open_ms,
        replay_ms: took.elapsed().as_millis() as u64,
    };
    let room = journal.room();
    let mut config = config.clone();
    if let Some(free) = disk.free_bytes(folder)? {
        // A store that is opened on a nearly full disk must not fill it with history.
        config.journal_retention_bytes = config.journal_retention_bytes.min(free / 4);
    }
    let (keeper, inbox) = keeper::channel();
    let core = Arc::new(Core::new(Parts {
        config,
        salts,
        folder: folder.to_path_buf(),
        engine: opener.engine(),
        persistent: opener.is_persistent(),
        syncs_folders: disk.syncs_folders(),
        identity: current.identity,
        lineage,
        epoch,
        pipeline: Mutex::new(Pipeline::new(end + 1, end, room)),
        journal: Some(journal),
        memtables,
        store,
        keeper,
        lock,
        end,
        applied: base.sequence,
        journal_first: extent.reach + 1,
        origin,
    }));
    Ok(Opened { core, inbox, report, entry, birth: created.then_some(current) })
}

/// Opens for reading: nothing is made, moved or written.
pub(super) fn for_reading(
    disk: Arc<dyn Disk>,
    folder: &Path,
    opener: &dyn StoreOpener,
    config: &Config,
) -> Result<(Arc<Core>, OpenReport)> {
    config.check()?;
    let absent = || Error::not_found(format!("{}: there is no store in this folder", folder.display()));
    if Current::read(&*disk, folder)?.is_none() {
        return Err(absent());
    }
    let lock = disk.lock(folder)?;
    // Read again under the lock: the one before only kept a folder that holds no store from getting a lock file.
    let current = Current::read(&*disk, folder)?.ok_or_else(absent)?;
    check_engine(&current, folder, opener)?;
    let folders = Folders::of(&current, folder);
    let took = Stopwatch::start();
    let store = open_guarded(opener, &folders.store, config)?;
    let store_open_ms = took.elapsed().as_millis() as u64;
    let took = Stopwatch::start();
    let extent = Extent::find(&*disk, &folders, current.identity, false)?;
    let base = extent.judge(&*store, current.identity)??;
    let replay = extent.survey.replay(&*disk, base.sequence)?;
    let memtables = Memtables::new();
    let end = refill(&memtables, base.sequence, &replay)?;
    let newest = EpochEntry::newest(&*store, &memtables)?;
    let origin = origin::read(&*store, &memtables)?;
    let report = OpenReport {
        created: false,
        replayed: replay.frames.len() as u64,
        rebuilt: base.rebuilt,
        damaged_store: None,
        store_open_ms,
        replay_ms: took.elapsed().as_millis() as u64,
    };
    let (keeper, _) = keeper::channel();
    let core = Core::new(Parts {
        config: config.clone(),
        salts: Ids::seeded(0),
        folder: folder.to_path_buf(),
        engine: opener.engine(),
        persistent: opener.is_persistent(),
        syncs_folders: disk.syncs_folders(),
        identity: current.identity,
        lineage: newest.map_or(current.identity.uuid, |entry| entry.lineage),
        epoch: newest.map_or(Epoch { number: 0, id: 0 }, |entry| entry.epoch),
        pipeline: Mutex::new(Pipeline::new(end + 1, end, Room { left: 0, spare: None })),
        journal: None,
        memtables,
        store,
        keeper,
        lock,
        end,
        applied: base.sequence,
        journal_first: extent.reach + 1,
        origin,
    });
    Ok((Arc::new(core), report))
}

fn check_engine(current: &Current, folder: &Path, opener: &dyn StoreOpener) -> Result<()> {
    if current.engine == opener.engine() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{}: holds a store of engine `{}`; open it with that one, not with `{}`",
        folder.display(),
        current.engine,
        opener.engine()
    )))
}

impl Folders {
    pub(super) fn of(current: &Current, folder: &Path) -> Self {
        let root = current.generation_folder(folder);
        Folders { journal: root.join("journal"), store: root.join("store"), root }
    }
}

/// Clears away a folder that was cut off while it was being made.
///
/// # Errors
/// `Corrupt` when what is there holds commits: then `CURRENT` was lost.
fn remove_unborn(disk: &dyn Disk, folder: &Path) -> Result<()> {
    for name in disk.list(folder)?.into_iter().filter(|name| name.starts_with("gen-")) {
        let root = folder.join(&name);
        let journal = root.join("journal");
        let segments = match disk.list(&journal) {
            Ok(names) => names.into_iter().any(|name| name.ends_with(".seg")),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if segments {
            let survey = Survey::read_any(disk, &journal)?;
            // The first frame is the epoch of the opening that made the folder; nobody was answered before it. A frame
            // without writes tells no more than that this opening ended in good order.
            let commits = survey.replay(disk, 1)?.frames.iter().any(|frame| frame.payload.len() > PAYLOAD_OVERHEAD);
            if commits {
                return Err(Error::corrupt(format!(
                    "{}: CURRENT is missing, but {name} holds commits; restore CURRENT from a copy of the folder",
                    folder.display()
                )));
            }
        }
        if segments || is_empty_folder(disk, &root.join("store"))? {
            disk.remove_dir_all(&root)?;
        } else {
            // Most likely cut off before its first segment. But a store that lost `CURRENT` and journal together looks
            // the same, so it is put aside rather than removed.
            let aside = free_name(disk, folder, "unborn")?;
            disk.rename(&root, &aside)?;
        }
    }
    disk.sync_dir(folder)
}

/// Makes the folders of a new generation and its store, which holds nothing and says so.
fn create_store(
    disk: &dyn Disk,
    folders: &Folders,
    opener: &dyn StoreOpener,
    config: &Config,
    identity: Identity,
) -> Result<Arc<dyn KvStore>> {
    for folder in [&folders.root, &folders.journal, &folders.store] {
        disk.create_dir(folder)?;
    }
    disk.sync_dir(&folders.root)?;
    disk.sync_dir(folders.root.parent().unwrap_or(&folders.root))?;
    let store = open_guarded(opener, &folders.store, config)?;
    let mark = Some(Mark { identity, applied: 0 }.encode());
    store.apply(&WriteBatch { writes: Vec::new(), mark })?;
    store.sync()?;
    Ok(store)
}

/// A store as it was opened, or what keeps it from being opened or believed.
type Found<T> = std::result::Result<T, Error>;

/// Opens the store. Damage is an answer; what the operating system refuses is an error, and touches nothing.
fn open_store(
    disk: &dyn Disk,
    folders: &Folders,
    opener: &dyn StoreOpener,
    config: &Config,
    rescue: &dyn Rescue,
) -> Result<Found<Arc<dyn KvStore>>> {
    rebuild::finish_cut_off(disk, folders)?;
    disk.create_dir(&folders.store)?;
    disk.sync_dir(&folders.root)?;
    if rescue.is_wanted() {
        return Ok(Err(Error::corrupt("it was to be rebuilt, whatever it holds")));
    }
    match open_guarded(opener, &folders.store, config) {
        // What an earlier process wrote may stand in the page cache alone; what it says is only used once synced.
        Ok(store) => guarded(|| store.sync()).map(|()| Ok(store)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// A store that the journal goes on from.
struct Stood {
    store: Arc<dyn KvStore>,
    base: Base,
    damaged_store: Option<PathBuf>,
}

/// Takes the store as it was found if journal and store fit, else rebuilds it.
fn stand(plan: &Rebuild<'_>, found: Found<Arc<dyn KvStore>>) -> Result<Stood> {
    let judged = match found {
        Ok(store) => plan.extent.judge(&*store, plan.identity)?.map(|base| (store, base)),
        Err(damage) => Err(damage),
    };
    // A store that is no good is closed by now: it is about to be renamed.
    let damage = match judged {
        Ok((store, base)) => return Ok(Stood { store, base, damaged_store: None }),
        Err(damage) => damage,
    };
    let Rebuild { folders, opener, config, identity, extent, .. } = *plan;
    let aside = plan.run(&damage)?;
    let store = open_guarded(opener, &folders.store, config)?;
    guarded(|| store.sync())?;
    let base = extent.judge(&*store, identity)??;
    Ok(Stood { store, base, damaged_store: Some(aside) })
}

fn is_empty_folder(disk: &dyn Disk, folder: &Path) -> Result<bool> {
    match disk.list(folder) {
        Ok(names) => Ok(names.is_empty()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// A name for a folder that is put aside: nothing is ever put in the place of another.
pub(super) fn free_name(disk: &dyn Disk, folder: &Path, name: &str) -> Result<PathBuf> {
    (1..)
        .map(|count| folder.join(format!("{name}-{count}")))
        .find(|path| matches!(disk.list(path), Err(error) if error.kind() == ErrorKind::NotFound))
        .ok_or_else(|| Error::internal("no free name for a folder that is put aside"))
}

pub(super) fn open_guarded(opener: &dyn StoreOpener, folder: &Path, config: &Config) -> Result<Arc<dyn KvStore>> {
    guarded(|| opener.open(folder, config.cache_bytes))
}

/// Calls the store; a panic in it is damage.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        Err(Error::corrupt(format!("the store panicked as it opened: {}", panic_text(&*panic))))
    })
}

/// Where replay starts.
struct Base {
    sequence: u64,
    rebuilt: bool,
}

/// What the journal holds.
pub(super) struct Extent {
    pub(super) survey: Survey,
    /// The commit before its oldest frame.
    pub(super) reach: u64,
    /// Its last commit.
    pub(super) end: u64,
    /// Up to here synced frames say that the store holds everything, or the frames before it would not have been given up.
    pub(super) proven: u64,
}

impl Extent {
    fn find(disk: &dyn Disk, folders: &Folders, identity: Identity, created: bool) -> Result<Self> {
        let survey = Survey::read(disk, &folders.journal, identity)?;
        if created {
            return Ok(Extent { survey, reach: 0, end: 0, proven: 0 });
        }
        let Some(first) = survey.first_sequence() else {
            return Err(Error::corrupt(format!(
                "{}: the journal is gone; restore the folder from a copy or a snapshot",
                folders.journal.display()
            )));
        };
        let Tail { end, checkpoint } = survey.tail(disk)?;
        let reach = first - 1;
        Ok(Extent { survey, reach, end, proven: checkpoint.max(reach) })
    }

    /// Whether the journal goes on from what `store` says that it holds, or how the store is damaged.
    ///
    /// # Errors
    /// `Corrupt` where a rebuilt store would be a wrong answer: one of another folder, and one that is ahead of the journal,
    /// which has lost frames then.
    fn judge(&self, store: &dyn KvStore, identity: Identity) -> Result<Found<Base>> {
        let marked = guarded(|| match store.mark()? {
            Some(mark) => Mark::decode(&mark).map(Some),
            None => require_empty(store).map(|()| None),
        });
        let marked = match marked {
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Err(error)),
            marked => marked?,
        };
        if marked.is_some_and(|mark| mark.identity != identity) {
            return Err(Error::corrupt("the store belongs to another folder or generation"));
        }
        let applied = marked.map_or(0, |mark| mark.applied);
        let Extent { reach, end, proven, .. } = *self;
        if applied > end {
            return Err(Error::corrupt(format!(
                "the store holds commits up to {applied}, but the journal ends at {end}: frames are missing"
            )));
        }
        if applied < reach {
            return Ok(Err(Error::corrupt(format!(
                "the store holds commits up to {applied}, and the journal begins at {}: commits in between are \
                 missing; restore the folder from a copy or a snapshot",
                reach + 1
            ))));
        }
        Ok(Ok(Base { sequence: proven.min(applied), rebuilt: applied < proven || marked.is_none() }))
    }
}

/// A store without a mark must be a new one: data of unknown age under replayed frames would be a wrong answer.
fn require_empty(store: &dyn KvStore) -> Result<()> {
    for tree in Tree::ALL {
        if !store.scan(*tree, &KeyRange::all(), Direction::Ascending, 1)?.is_empty() {
            return Err(Error::corrupt("the store has lost its mark but not its data; restore it from a copy"));
        }
    }
    Ok(())
}

/// Writes the frames above the base into a fresh segment, then removes what that replaces.
fn rewrite(
    disk: Arc<dyn Disk>,
    folders: &Folders,
    salts: &Ids,
    identity: Identity,
    survey: &Survey,
    base: &Base,
    replay: &Replay,
) -> Result<Journal> {
    // A segment may stand under a name that is not durable yet, and what it supersedes must not go before it is.
    disk.sync_dir(&folders.journal)?;
    for path in &survey.leftovers {
        disk.remove(path)?;
    }
    let start = Start {
        identity,
        id: survey.next_id,
        base: (base.sequence, replay.chain),
        frames: &replay.frames,
        closed: replay.closed.clone(),
        checkpoint: base.sequence,
    };
    let journal = Journal::begin(Arc::clone(&disk), &folders.journal, salts, start)?;
    for path in &replay.superseded {
        disk.remove(path)?;
    }
    disk.sync_dir(&folders.journal)?;
    Ok(journal)
}

/// Puts the frames above the base into the memtable; answers the sequence of the last.
fn refill(memtables: &Memtables, base: u64, replay: &Replay) -> Result<u64> {
    let mut sequence = base;
    for KeptFrame { payload, .. } in &replay.frames {
        sequence += 1;
        let mut writes = Vec::new();
        batch::decode(payload, |tree, key, value| writes.push((tree, key.to_vec(), value.map(Value::from))))?;
        let writes = writes.iter().map(|(tree, key, value)| (*tree, key.as_slice(), value, sequence));
        memtables.publish(writes, (sequence, sequence), payload.len() as u64);
    }
    // Without frames above the base the visible position is the base itself.
    memtables.publish(std::iter::empty(), (sequence, sequence), 0);
    Ok(sequence)
}
