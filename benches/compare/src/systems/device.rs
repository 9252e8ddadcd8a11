//! No store at all: one write into a file that is long enough and one `fdatasync`, the least that a lone durable
//! commit can cost on this device. The other rows are read against it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Held, Item, Session, System};
use crate::Failure;

const FILE_BYTES: usize = 16 << 20;

struct Device {
    file: File,
    /// Where the next write goes; the file is written over from the start when it is full.
    offset: AtomicU64,
    commits: AtomicU64,
}

/// Writes zeros ahead, so that no later write has to grow the file.
pub fn open(folder: &Path) -> Result<Box<dyn System>, Failure> {
    std::fs::create_dir(folder)?;
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(folder.join("log"))?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    Ok(Box::new(Device { file, offset: AtomicU64::new(0), commits: AtomicU64::new(0) }))
}

impl System for Device {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn held(&self) -> Result<Held, Failure> {
        let commits = self.commits.load(Ordering::Relaxed);
        Ok(Held { records: commits, entries: commits, counter: commits as i64 })
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Session for &Device {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        let item = items.step();
        let bytes = [&item.key[..], &item.record, &item.entry].concat();
        let at = self.offset.fetch_add(bytes.len() as u64, Ordering::Relaxed) % (FILE_BYTES - bytes.len()) as u64;
        self.file.write_all_at(&bytes, at)?;
        self.file.sync_data()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(1)
    }
}
