//! How far an export, an import or a check has come, for people who wait for it.

use std::cell::RefCell;
use std::io::{self, Write};

use super::read::Source;
use crate::error::Result;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the file that were read or written so far.
    pub bytes: u64,
    /// Bytes of the whole file, where that is known: not for an export, whose file is still growing.
    pub total_bytes: Option<u64>,
}

/// Is told now and then, on the thread that works: it should be quick.
pub type Watch<'w> = dyn FnMut(Progress) + 'w;

/// A source that tells which byte is read.
pub(super) struct WatchedSource<'w, 'f, S> {
    source: S,
    total_bytes: u64,
    watch: RefCell<&'w mut Watch<'f>>,
}

impl<'w, 'f, S: Source> WatchedSource<'w, 'f, S> {
    pub(super) fn new(source: S, watch: &'w mut Watch<'f>) -> Result<Self> {
        Ok(WatchedSource { total_bytes: source.bytes()?, source, watch: RefCell::new(watch) })
    }
}

impl<S: Source> Source for WatchedSource<'_, '_, S> {
    fn bytes(&self) -> Result<u64> {
        self.source.bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = offset.saturating_add(buffer.len() as u64).min(self.total_bytes);
        self.watch.borrow_mut()(Progress { bytes, total_bytes: Some(self.total_bytes) });
        self.source.read_exact_at(offset, buffer)
    }
}

/// A file that tells how many bytes it was given.
pub(super) struct WatchedOut<'w, 'f, W> {
    out: W,
    bytes: u64,
    watch: &'w mut Watch<'f>,
}

impl<'w, 'f, W: Write> WatchedOut<'w, 'f, W> {
    pub(super) fn new(out: W, watch: &'w mut Watch<'f>) -> Self {
        WatchedOut { out, bytes: 0, watch }
    }
}

impl<W: Write> Write for WatchedOut<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        (self.watch)(Progress { bytes: self.bytes, total_bytes: None });
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
