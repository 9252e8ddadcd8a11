//! `mlp snapshot` and `mlp replica`: copies of a store as files, and a copy that follows.
//!
//! On a terminal they show how far they have come, on standard error; the answer goes to standard output.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use ml_persistence::snapshot::Progress;
use ml_persistence::{Builder, Cursor, Error, MlPersistence, Replica, Result, SnapshotInfo};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engine_kind;
use crate::line::{Flag, Line, Shape, Wrong};
use crate::out::Out;
use crate::people::store::tell;
use crate::table::table;

/// Bytes between two updates of the line on a terminal.
const SHOW_BYTES: u64 = 1 << 20;
const BAR_CHARS: u64 = 30;
/// How often a follower looks for new files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const DATA: Flag = Flag::of("data", "DIR", "the store's folder; it is created if need be");
const ENGINE: Flag = Flag::of("engine", "sled|memory", "the one that the folder was made with, default sled");
const JSON: Flag = Flag::bare("json", "one JSON object instead of a table");

/// The commands.
pub static SHAPES: &[Shape] = &[
    Shape {
        words: "snapshot export",
        operands: "FILE",
        about: "the whole store as one file, or what changed since an earlier export",
        flags: &[&[DATA, ENGINE, JSON, Flag::of("since", "CURSOR", "only what changed after this cursor")]],
    },
    Shape {
        words: "snapshot import",
        operands: "FILE",
        about: "a file into an empty store, or a delta into one that was imported",
        flags: &[&[DATA, ENGINE, JSON, Flag::bare("replace", "in the place of whatever the store holds")]],
    },
    Shape {
        words: "snapshot inspect",
        operands: "FILE",
        about: "what a file holds; reads and checks all of it, opens no store",
        flags: &[&[JSON]],
    },
    Shape { words: "snapshot verify", operands: "FILE", about: "the same", flags: &[&[JSON]] },
    Shape {
        words: "snapshot rebuild",
        operands: "[FILE]",
        about: "a damaged store anew, from a snapshot of it and its journal; the damaged one is kept",
        flags: &[&[DATA, ENGINE, JSON]],
    },
    Shape {
        words: "replica follow",
        operands: "FOLDER",
        about: "apply what leads on among the folder's *.mlsnap files, as they come, until Ctrl-C",
        flags: &[&[DATA, ENGINE, JSON, Flag::bare("once", "only those that are there now")]],
    },
];

/// Reads what stands behind a command's words.
pub fn read(words: &str, mut line: Line) -> Result<SnapshotOptions, Wrong> {
    let path = match words {
        "snapshot rebuild" => line.operand_opt().map(PathBuf::from),
        "replica follow" => Some(PathBuf::from(line.operand("FOLDER")?)),
        _ => Some(PathBuf::from(line.operand("FILE")?)),
    };
    let json = line.flag("json")?;
    let (data, engine) = (line.path("data")?, line.text("engine")?.unwrap_or_else(|| "sled".to_owned()));
    let data = || data.clone().ok_or_else(|| format!("{words}: --data DIR is required: which store?"));
    let task = match (words, path) {
        ("snapshot export", Some(file)) => Task::Export { data: data()?, file, since: line.text("since")? },
        ("snapshot import", Some(file)) => Task::Import { data: data()?, file, replace: line.flag("replace")? },
        ("replica follow", Some(folder)) => Task::Follow { data: data()?, folder, once: line.flag("once")? },
        (_, Some(file)) if words != "snapshot rebuild" => Task::Verify { file },
        (_, file) => Task::Rebuild { data: data()?, file },
    };
    line.finish()?;
    Ok(SnapshotOptions { task, engine, json })
}

/// What to do with which file.
#[derive(Debug)]
pub enum Task {
    Export {
        data: PathBuf,
        file: PathBuf,
        since: Option<String>,
    },
    Import {
        data: PathBuf,
        file: PathBuf,
        replace: bool,
    },
    /// Reads the whole file.
    Verify {
        file: PathBuf,
    },
    Rebuild {
        data: PathBuf,
        /// Without one the store's own snapshots serve.
        file: Option<PathBuf>,
    },
    Follow {
        data: PathBuf,
        folder: PathBuf,
        /// One pass, instead of looking again until told to stop.
        once: bool,
    },
}

/// Options of `mlp snapshot` and `mlp replica`.
#[derive(Debug)]
pub struct SnapshotOptions {
    pub task: Task,
    pub engine: String,
    pub json: bool,
}

/// Does one task.
pub fn run(options: &SnapshotOptions) -> ExitCode {
    let mut out = Out::new(options.json);
    match work(options, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.refuse(&error);
            ExitCode::FAILURE
        }
    }
}

fn work(options: &SnapshotOptions, out: &mut Out) -> Result<()> {
    let builder = |folder: &Path| Ok(MlPersistence::builder(folder).engine(engine_kind(&options.engine)?));
    let open = |folder: &Path, out: &Out| -> Result<MlPersistence> {
        let db = builder(folder)?.open()?;
        tell(out, db.recovery());
        Ok(db)
    };
    let mut bar = Bar::new();
    let info = match &options.task {
        Task::Export { data, file, since } => {
            let since = since.as_ref().map(|since| since.parse::<Cursor>()).transpose()?;
            let db = open(data, out)?;
            let info = db.export_snapshot_with(file, since, &mut |progress| bar.show(progress))?;
            db.close()?;
            info
        }
        Task::Import { data, file, replace } => {
            // A wrong file must not leave an empty store behind.
            MlPersistence::inspect_snapshot(file)?;
            let db = open(data, out)?;
            let info = db.import_snapshot_with(file, *replace, &mut |progress| bar.show(progress))?;
            db.close()?;
            info
        }
        Task::Verify { file } => MlPersistence::inspect_snapshot_with(file, &mut |progress| bar.show(progress))?,
        Task::Rebuild { data, file } => return rebuild(builder(data)?, file.as_deref(), out),
        Task::Follow { data, folder, once } => return follow(&builder(data)?.open_replica()?, folder, *once, bar, out),
    };
    drop(bar);
    out.answer(&to_json(&info), || shown(&info))
}

fn rebuild(builder: Builder, file: Option<&Path>, out: &mut Out) -> Result<()> {
    let db = builder.rebuild(file)?;
    let digest = db.digest()?;
    let damaged = db.recovery().damaged_store.as_ref().map(|path| path.display().to_string());
    db.close()?;
    let answer = serde_json::json!({"rebuilt": true, "damaged_store": damaged, "digest": digest});
    out.answer(&answer, || {
        format!(
            "the store was rebuilt, its digest is {digest}\nthe one of before lies in {}, until somebody removes it",
            damaged.unwrap_or_default()
        )
    })
}

/// Takes what is there, then what comes, until told to stop.
fn follow(replica: &Replica, folder: &Path, once: bool, mut bar: Bar, out: &mut Out) -> Result<()> {
    let stop = if once { None } else { Some(until_told_to_stop()?) };
    let mut first = true;
    loop {
        let taken = replica.follow_with(folder, &mut |progress| bar.show(progress))?;
        bar.clear();
        if first || !taken.is_empty() {
            let cursor = replica.status()?.cursor.map(|cursor| cursor.to_string());
            let files: Vec<String> = taken.iter().map(|path| path.display().to_string()).collect();
            out.answer(&serde_json::json!({"taken": files, "cursor": cursor}), || {
                let stands = cursor.as_ref().map_or("nothing was applied yet".to_owned(), |at| format!("now at {at}"));
                match files.len() {
                    0 => format!("nothing there leads on; {stands}"),
                    _ => format!("{}\n{stands}", files.join("\n")),
                }
            })?;
        }
        first = false;
        match stop.as_ref().map(|stop| stop.recv_timeout(LOOK_EVERY)) {
            Some(Err(RecvTimeoutError::Timeout)) => {}
            None | Some(_) => return replica.close(),
        }
    }
}

/// Receives when Ctrl-C is pressed, or the process is asked to end. The second time ends it as ever.
fn until_told_to_stop() -> Result<Receiver<()>> {
    let failed = |error| Error::io("listening for Ctrl-C", error);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("mlp-signals".to_owned())
        .spawn(move || {
            for (times, signal) in signals.forever().enumerate() {
                // A replica that is being closed already wants nobody to wait for it.
                if times > 0 || tell.send(()).is_err() {
                    std::process::exit(128 + signal);
                }
            }
        })
        .map_err(failed)?;
    Ok(told)
}

fn to_json(info: &SnapshotInfo) -> serde_json::Value {
    serde_json::json!({
        "kind": info.kind,
        "cursor": info.cursor.to_string(),
        "base": info.base.map(|base| base.to_string()),
        "digest": info.digest,
        "records": info.records,
        "removals": info.removals,
        "raw_bytes": info.raw_bytes,
        "bytes": info.bytes,
    })
}

fn shown(info: &SnapshotInfo) -> String {
    let value = to_json(info);
    let rows = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| [name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    table(["what", "value"], rows)
}

/// One line on a terminal, written over itself.
struct Bar {
    terminal: bool,
    shown_at: u64,
}

impl Bar {
    fn new() -> Self {
        Bar { terminal: std::io::stderr().is_terminal(), shown_at: 0 }
    }

    fn show(&mut self, progress: Progress) {
        if progress.bytes < self.shown_at {
            // The next file, or the next pass over this one.
            self.shown_at = 0;
        }
        let done = progress.total_bytes == Some(progress.bytes);
        if !self.terminal || (progress.bytes < self.shown_at + SHOW_BYTES && !done) {
            return;
        }
        self.shown_at = progress.bytes;
        let megabytes = progress.bytes / 1_000_000;
        let line = match progress.total_bytes.filter(|total| *total > 0) {
            Some(total) => {
                let full = (progress.bytes * BAR_CHARS / total) as usize;
                let rest = (BAR_CHARS as usize).saturating_sub(full);
                format!("[{}{}] {megabytes} of {} MB", "#".repeat(full), " ".repeat(rest), total / 1_000_000)
            }
            None => format!("{megabytes} MB"),
        };
        self.put(&format!("\r{line}"));
    }

    /// Leaves the line as it found it.
    fn clear(&mut self) {
        if std::mem::take(&mut self.shown_at) > 0 {
            self.put("\r\u{1b}[K");
        }
    }

    fn put(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        // A terminal that went away takes nothing from the work.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
