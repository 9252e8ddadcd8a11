//! `mlp exec`: the store on standard input and output, one JSON object a line each way.
//!
//! ```text
//! stdin -> lines -> [channel -> N workers] -> session: fields -> ops table -> façade -> reply -> stdout, flushed
//! ```
//!
//! Promises: one reply a request, the `id` echoed as it was written; a reply to a write is printed after the write has
//! the durability it asked for; no reply to a `power_loss` request shows state that a power cut could take back; bad
//! input never ends the run. It refuses to guess: an unknown field is an error, not a hint.

mod aliases;
mod clock;
mod jobs;
mod kv;
mod lines;
mod models;
mod ops;
mod session;
mod snapshot;
mod store;
mod versions;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ml_persistence::{Error, Ids, ManualClock, MlPersistence, Result};

use crate::args::ExecOptions;
use crate::engine_kind;
use crate::fields::Fields;
use lines::{LINE_BYTES_MAX, Line, Lines};
use session::Session;

/// Runs the store on standard input and output until the input ends.
pub fn run(options: &ExecOptions) -> ExitCode {
    match open(options) {
        Ok(session) => serve(&session, options.parallel),
        Err(error) => {
            // The exit code says what there is to say when even this line can't be written.
            match print(&session::reply(None, &Err(error))) {
                Ok(()) | Err(_) => ExitCode::from(1),
            }
        }
    }
}

fn open(options: &ExecOptions) -> Result<Session> {
    let clock = options.manual_now_ms.map(ManualClock::at);
    let engine = engine_kind(&options.engine)?;
    let mut builder = match &options.data {
        Some(folder) => MlPersistence::builder(folder).engine(engine),
        None => MlPersistence::in_memory(),
    };
    if let Some(clock) = &clock {
        builder = builder.clock(Arc::new(clock.clone()));
    }
    if let Some(seed) = options.seed {
        builder = builder.ids(Ids::seeded(seed));
    }
    Ok(Session::new(builder.open()?, clock, options.durability))
}

fn serve(session: &Session, parallel: usize) -> ExitCode {
    let printed = session.ready().map_err(io::Error::other).and_then(|ready| print(&ready));
    let served = printed.and_then(|()| if parallel == 1 { in_order(session) } else { at_once(session, parallel) });
    let closed = session.close();
    if session.engine_failed() || closed.is_err() {
        return ExitCode::from(3);
    }
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mlp exec: {error}");
            ExitCode::from(1)
        }
    }
}

fn in_order(session: &Session) -> io::Result<()> {
    let mut lines = Lines::new(io::stdin().lock(), LINE_BYTES_MAX);
    while let Some(line) = lines.next_line()? {
        print(&answer(session, &line))?;
    }
    Ok(())
}

/// Works on up to `parallel` requests at once. The channel holds no line back, so memory stays bounded by the lines
/// that are being worked on and the one just read.
fn at_once(session: &Session, parallel: usize) -> io::Result<()> {
    let (send, receive) = crossbeam::channel::bounded::<Line>(0);
    let reader_gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            let receive = receive.clone();
            scope.spawn(|| {
                for line in receive {
                    if print(&answer(session, &line)).is_err() {
                        reader_gone.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        let mut lines = Lines::new(io::stdin().lock(), LINE_BYTES_MAX);
        while let Some(line) = lines.next_line()? {
            if reader_gone.load(Ordering::SeqCst) || send.send(line).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        drop(send);
        Ok(())
    })
}

fn answer(session: &Session, line: &Line) -> String {
    match line {
        Line::Whole(bytes) => session.answer(bytes),
        Line::TooLong => {
            session::reply(None, &Err(Error::invalid(format!("request: at most {LINE_BYTES_MAX} bytes a line"))))
        }
    }
}

/// The size of a page: 1..=1000, default 100.
fn page_limit(fields: &Fields<'_>, name: &str) -> Result<usize> {
    Ok(fields.integer_opt(name, 1..=1000)?.map_or(100, |limit| limit as usize))
}

/// Writes one line in one piece and flushes it.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}
