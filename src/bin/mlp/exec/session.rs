//! One run of `mlp exec`: turns a line into its reply.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ml_persistence::{Durability, Error, ErrorKind, ManualClock, MlPersistence, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ops;
use crate::fields::Fields;

/// What an operation answers: the JSON text behind `ok`.
pub type Answer = Result<String>;

/// Fields that every request may carry.
const COMMON: &[&str] = &["id", "op", "durability"];

/// The open store and what the run has seen so far.
#[derive(Debug)]
pub struct Session {
    pub db: MlPersistence,
    /// The manual clock, when that is the store's.
    pub clock: Option<ManualClock>,
    durability: Durability,
    /// Set before the first buffered write begins, never cleared: from then on a reply could show what is not yet
    /// durable.
    buffered: AtomicBool,
    engine_failed: AtomicBool,
}

/// One request on its way to an operation.
#[derive(Debug)]
pub struct Request<'a> {
    pub session: &'a Session,
    pub fields: &'a Fields<'a>,
    pub durability: Durability,
}

impl Session {
    pub fn new(db: MlPersistence, clock: Option<ManualClock>, durability: Durability) -> Self {
        let flag = || AtomicBool::new(false);
        Session { db, clock, durability, buffered: flag(), engine_failed: flag() }
    }

    /// The first line of output.
    pub fn ready(&self) -> Answer {
        #[derive(Serialize)]
        struct Ready<'a> {
            ready: Opened<'a>,
        }
        #[derive(Serialize)]
        struct Opened<'a> {
            format_version: u32,
            engine: &'a str,
            recovery: Recovery,
        }
        #[derive(Serialize)]
        struct Recovery {
            epoch: u64,
            ms: u64,
            replayed: u64,
            jobs_requeued: u64,
            jobs_discarded: u64,
            jobs_cancelled: u64,
            quarantined: u64,
            repaired: u64,
            rebuilt: bool,
        }
        let report = self.db.recovery();
        json(&Ready {
            ready: Opened {
                format_version: ml_persistence::FORMAT_VERSION,
                engine: self.db.capabilities().engine,
                recovery: Recovery {
                    epoch: report.epoch,
                    ms: report.ms,
                    replayed: report.replayed,
                    jobs_requeued: report.jobs_requeued,
                    jobs_discarded: report.jobs_discarded,
                    jobs_cancelled: report.jobs_cancelled,
                    quarantined: report.quarantined,
                    repaired: report.repaired,
                    rebuilt: report.rebuilt,
                },
            },
        })
    }

    /// The reply to one line.
    pub fn answer(&self, line: &[u8]) -> String {
        let Ok(text) = std::str::from_utf8(line) else {
            return reply(None, &Err(Error::invalid("request: not UTF-8")));
        };
        match Fields::parse(text) {
            Ok(fields) => {
                // A panic is a bug: it costs this request, not the run.
                let answer = catch_unwind(AssertUnwindSafe(|| self.work(&fields)))
                    .unwrap_or_else(|_| Err(Error::internal("this request met a bug; see standard error")));
                reply(fields.raw("id"), &answer)
            }
            Err(error) => reply(None, &Err(error)),
        }
    }

    fn work(&self, fields: &Fields<'_>) -> Answer {
        fields.check(None)?;
        let name = fields.text("op")?;
        let op = ops::find(&name)?;
        fields.check(Some(&[COMMON, op.fields]))?;
        let durability = match fields.text_opt("durability")?.as_deref() {
            None => self.durability,
            Some("power_loss") => Durability::PowerLoss,
            Some("buffered") => Durability::Buffered,
            Some(other) => return Err(Error::invalid(format!("durability: power_loss or buffered, got {other:?}"))),
        };
        if durability == Durability::Buffered {
            self.expect_buffered();
        }
        let answer = (op.run)(&Request { session: self, fields, durability });
        self.settled(durability, answer)
    }

    /// From now on there may be state that a power cut would take back.
    pub fn expect_buffered(&self) {
        self.buffered.store(true, Ordering::SeqCst);
    }

    /// Holds an answer back until nothing it may show can be lost. The flag is looked at after the work: a buffered
    /// write sets it before it begins, so whatever the work has read of it, the flag is seen here.
    fn settled(&self, durability: Durability, mut answer: Answer) -> Answer {
        let over = |error: &Error| matches!(error.kind(), ErrorKind::Closed | ErrorKind::CommitUnknown);
        if durability == Durability::PowerLoss
            && self.buffered.load(Ordering::SeqCst)
            && !answer.as_ref().is_err_and(over)
            && let Err(error) = self.db.sync()
        {
            answer = Err(error);
        }
        if answer.as_ref().is_err_and(over) {
            self.engine_failed.store(true, Ordering::SeqCst);
        }
        answer
    }

    /// Whether the engine has closed itself after a failed write or sync.
    pub fn engine_failed(&self) -> bool {
        self.engine_failed.load(Ordering::SeqCst)
    }

    pub fn close(&self) -> Result<()> {
        self.db.close()
    }
}

/// The line that answers a request.
pub fn reply(id: Option<&RawValue>, answer: &Answer) -> String {
    let id = id.map_or("null", RawValue::get);
    match answer {
        Ok(ok) => format!(r#"{{"id":{id},"ok":{ok}}}"#),
        Err(error) => {
            let error = serde_json::json!({"kind": error.kind().name(), "message": bounded(error.to_string())});
            format!(r#"{{"id":{id},"error":{error}}}"#)
        }
    }
}

/// A message quotes what was wrong with a request, which may be the request's whole 32 MiB: its beginning is enough.
fn bounded(message: String) -> String {
    const MESSAGE_BYTES_MAX: usize = 4 << 10;
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    format!("{}…", message.get(..end).unwrap_or_default())
}

/// JSON text of anything that has one.
pub fn json(value: &(impl Serialize + ?Sized)) -> Answer {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("reply: {error}")))
}

/// `null`, the answer of operations that have nothing to tell.
pub fn null() -> Answer {
    Ok("null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(MlPersistence::in_memory().open().unwrap(), None, Durability::PowerLoss)
    }

    #[test]
    fn requests_after_the_engine_closed_itself_answer_closed_and_the_run_knows() {
        let session = session();
        assert_eq!(session.answer(br#"{"id":1,"op":"kv.count","namespace":"n"}"#), r#"{"id":1,"ok":0}"#);
        // A wrong request is no failure of the engine.
        assert!(session.answer(br#"{"op":"kv.count"}"#).contains("invalid") && !session.engine_failed());
        session.db.close().unwrap();
        let reply = session.answer(br#"{"id":2,"op":"kv.count","namespace":"n"}"#);
        assert!(reply.starts_with(r#"{"id":2,"error":{"kind":"closed","#), "{reply}");
        assert!(session.engine_failed());
    }
}
