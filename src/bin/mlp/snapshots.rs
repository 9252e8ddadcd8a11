//! `mlp snapshot` and `mlp replica`: copies of a store as files, and a copy that follows.
//!
//! On a terminal they show how far they have come, on standard error; the answer goes to standard output.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ml_persistence::snapshot::Progress;
use ml_persistence::{Cursor, MlPersistence, SnapshotInfo};

use crate::engine_kind;
use crate::line::{Flag, Line, Shape, Wrong};
use crate::out::Out;
use crate::table::table;

/// Bytes between two updates of the line on a terminal.
const SHOW_BYTES: u64 = 1 << 20;
const BAR_CHARS: u64 = 30;

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
        words: "replica follow",
        operands: "FOLDER",
        about: "apply what leads on among the folder's *.mlsnap files",
        flags: &[&[DATA, ENGINE, JSON]],
    },
];

/// Reads what stands behind a command's words.
pub fn read(words: &str, mut line: Line) -> Result<SnapshotOptions, Wrong> {
    let path = PathBuf::from(line.operand("FILE or FOLDER")?);
    let json = line.flag("json")?;
    let (data, engine) = (line.path("data")?, line.text("engine")?.unwrap_or_else(|| "sled".to_owned()));
    let data = || data.clone().ok_or_else(|| format!("{words}: --data DIR is required: which store?"));
    let task = match words {
        "snapshot export" => Task::Export { data: data()?, file: path, since: line.text("since")? },
        "snapshot import" => Task::Import { data: data()?, file: path, replace: line.flag("replace")? },
        "replica follow" => Task::Follow { data: data()?, folder: path },
        _ => Task::Verify { file: path },
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
    Follow {
        data: PathBuf,
        folder: PathBuf,
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
    match work(options).and_then(|answer| out.say(answer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.refuse(&error);
            ExitCode::FAILURE
        }
    }
}

fn work(options: &SnapshotOptions) -> ml_persistence::Result<String> {
    let open = |folder: &Path| MlPersistence::builder(folder).engine(engine_kind(&options.engine)?).open();
    let mut bar = Bar::new();
    let info = match &options.task {
        Task::Export { data, file, since } => {
            let since = since.as_ref().map(|since| since.parse::<Cursor>()).transpose()?;
            let db = open(data)?;
            let info = db.export_snapshot_with(file, since, &mut |progress| bar.show(progress))?;
            db.close()?;
            info
        }
        Task::Import { data, file, replace } => {
            // A wrong file must not leave an empty store behind.
            MlPersistence::inspect_snapshot(file)?;
            let db = open(data)?;
            let info = db.import_snapshot_with(file, *replace, &mut |progress| bar.show(progress))?;
            db.close()?;
            info
        }
        Task::Verify { file } => MlPersistence::inspect_snapshot_with(file, &mut |progress| bar.show(progress))?,
        Task::Follow { data, folder } => return follow(data, folder, options),
    };
    drop(bar);
    Ok(if options.json { to_json(&info).to_string() } else { shown(&info) })
}

fn follow(data: &Path, folder: &Path, options: &SnapshotOptions) -> ml_persistence::Result<String> {
    let replica = MlPersistence::builder(data).engine(engine_kind(&options.engine)?).open_replica()?;
    let taken = replica.follow(folder)?;
    let cursor = replica.status()?.cursor.map(|cursor| cursor.to_string());
    replica.close()?;
    let files: Vec<String> = taken.iter().map(|path| path.display().to_string()).collect();
    if options.json {
        return Ok(serde_json::json!({"taken": files, "cursor": cursor}).to_string());
    }
    let stands = cursor.map_or("nothing was applied yet".to_owned(), |cursor| format!("now at {cursor}"));
    Ok(match files.len() {
        0 => format!("nothing there leads on; {stands}"),
        _ => format!("{}\n{stands}", files.join("\n")),
    })
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

    fn put(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        // A terminal that went away takes nothing from the work.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown_at > 0 {
            self.put("\r\u{1b}[K");
        }
    }
}
