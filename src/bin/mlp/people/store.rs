//! The store of a command for people: a folder that holds one, opened as narrowly as the command allows.

use std::path::PathBuf;

use ml_persistence::{Builder, Error, MlPersistence, RecoveryReport, Result};

use crate::engine_kind;
use crate::out::Out;

/// Which store.
pub struct Place {
    pub folder: PathBuf,
    /// As it was spelled.
    pub engine: String,
}

impl Place {
    /// Runs `work` on the store opened for reading.
    pub fn with_reader<T>(&self, work: impl FnOnce(&MlPersistence) -> Result<T>) -> Result<T> {
        self.with(|builder| builder.read_only(true), work)
    }

    /// Runs `work` on the store opened for writing, and says what the opening took back.
    pub fn with_writer<T>(&self, out: &mut Out, work: impl FnOnce(&MlPersistence, &mut Out) -> Result<T>) -> Result<T> {
        self.with(
            |builder| builder,
            |db| {
                tell(out, db.recovery());
                work(db, out)
            },
        )
    }

    /// Closes the store in any case; its refusal to close counts unless something went wrong before.
    fn with<T>(
        &self,
        how: impl FnOnce(Builder) -> Builder,
        work: impl FnOnce(&MlPersistence) -> Result<T>,
    ) -> Result<T> {
        let db = how(self.builder()?).open()?;
        let done = work(&db);
        let closed = db.close();
        done.and_then(|done| closed.map(|()| done))
    }

    /// Nobody who asks after a store wants one created by a slip of the pen.
    fn builder(&self) -> Result<Builder> {
        let engine = engine_kind(&self.engine)?;
        let shown = self.folder.display();
        if !self.folder.exists() {
            return Err(Error::not_found(format!(
                "{shown}: no such folder; `mlp exec --data {shown}` would create a store"
            )));
        }
        if !self.folder.is_dir() {
            return Err(Error::invalid(format!("{shown}: a file; --data takes the store's folder")));
        }
        if !self.folder.join("CURRENT").exists() {
            return Err(Error::not_found(format!("{shown}: holds no store (there is no file CURRENT in it)")));
        }
        Ok(MlPersistence::builder(&self.folder).engine(engine))
    }
}

/// What the opening did to a damaged store, and to jobs that an ended process left behind.
pub fn tell(out: &Out, recovery: &RecoveryReport) {
    let RecoveryReport { jobs_requeued, jobs_discarded, jobs_cancelled, damaged_store, .. } = recovery;
    if let Some(damaged) = damaged_store {
        out.note(&format!(
            "opened: the store was rebuilt with nothing lost; the one of before lies in {}, until somebody removes it",
            damaged.display()
        ));
    }
    if jobs_requeued + jobs_discarded + jobs_cancelled > 0 {
        out.note(&format!(
            "opened: jobs taken back from a process that ended: {jobs_requeued} available again, \
             {jobs_discarded} discarded, {jobs_cancelled} cancelled"
        ));
    }
}
