//! What can be made to go wrong on the simulated disk, and the calls that it counts.

use std::path::Path;

/// A kind of call. Those that change the disk share one numbering, for [`SimDisk::fail_after`] and
/// [`SimDisk::crash_at`].
///
/// [`SimDisk::fail_after`]: super::SimDisk::fail_after
/// [`SimDisk::crash_at`]: super::SimDisk::crash_at
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `create_dir` of a folder that was not there.
    CreateDir,
    /// `create`, and `lock` where it creates the file.
    Create,
    /// `write_at`.
    Write,
    /// `sync_data`.
    Sync,
    /// `rename`.
    Rename,
    /// `remove` and `remove_dir_all` of something that was there.
    Remove,
    /// `sync_dir`.
    SyncDir,
    /// `read_at`: fails only for a fault that names it, and is not numbered with the others.
    Read,
}

/// How many calls of each kind there were, failed ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Folders created.
    pub create_dirs: u64,
    /// Files created.
    pub creates: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes handed to `write_at`.
    pub written_bytes: u64,
    /// Calls of `sync_data`.
    pub syncs: u64,
    /// Calls of `rename`.
    pub renames: u64,
    /// Removals of files and folders that were there.
    pub removes: u64,
    /// Calls of `sync_dir`.
    pub sync_dirs: u64,
}

impl Counts {
    /// Calls that change the disk: the number that the next one gets, counted from 0.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.create_dirs + self.creates + self.writes + self.syncs + self.renames + self.removes + self.sync_dirs
    }

    pub(super) fn add(&mut self, call: Call) {
        let count = match call {
            Call::CreateDir => &mut self.create_dirs,
            Call::Create => &mut self.creates,
            Call::Write => &mut self.writes,
            Call::Sync => &mut self.syncs,
            Call::Rename => &mut self.renames,
            Call::Remove => &mut self.removes,
            Call::SyncDir => &mut self.sync_dirs,
            Call::Read => return,
        };
        *count += 1;
    }
}

/// An answer of the operating system that is not success.
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until SimDisk::fail_after gets it"]
pub struct Fault {
    pub(super) full: bool,
    forever: bool,
    call: Option<Call>,
    path_part: Option<String>,
}

impl Fault {
    /// An I/O error, once: `Unavailable`.
    pub fn io() -> Self {
        Fault { full: false, forever: false, call: None, path_part: None }
    }

    /// No space left, once: `Full`.
    pub fn full() -> Self {
        Fault { full: true, ..Fault::io() }
    }

    /// From then on every matching call fails.
    pub fn forever(mut self) -> Self {
        self.forever = true;
        self
    }

    /// Only calls of this kind count and fail.
    pub fn only(mut self, call: Call) -> Self {
        self.call = Some(call);
        self
    }

    /// Only calls on a path that contains `part` count and fail. A file goes by the path it was opened with.
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.path_part = Some(part.into());
        self
    }

    pub(super) fn names(&self, call: Call) -> bool {
        self.call == Some(call)
    }

    fn matches(&self, call: Call, path: &Path) -> bool {
        let call_fits = self.call.map_or(call != Call::Read, |only| only == call);
        call_fits && self.path_part.as_ref().is_none_or(|part| path.to_string_lossy().contains(part.as_str()))
    }
}

/// Faults that wait for their call.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Vec<(u64, Fault)>);

impl Faults {
    pub(super) fn plan(&mut self, calls: u64, fault: Fault) {
        self.0.push((calls.max(1), fault));
    }

    /// The fault that this call meets, if any.
    pub(super) fn meet(&mut self, call: Call, path: &Path) -> Option<Fault> {
        let mut met = None;
        self.0.retain_mut(|(calls, fault)| {
            if fault.matches(call, path) {
                *calls = calls.saturating_sub(1);
                if *calls == 0 {
                    met.get_or_insert_with(|| fault.clone());
                    return fault.forever;
                }
            }
            true
        });
        met
    }
}
