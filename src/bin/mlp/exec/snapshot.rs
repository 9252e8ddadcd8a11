//! `snapshot.*` and `store.changes`: copies of the store as files, and what changed since a cursor.

use std::path::PathBuf;

use ml_persistence::{Cursor, MlPersistence, SnapshotInfo, SnapshotKind};
use serde::Serialize;

use super::page_limit;
use super::session::{Answer, Request, json};

/// What an export or an import did.
#[derive(Serialize)]
struct Done {
    cursor: String,
    digest: Option<String>,
    records: u64,
    bytes: u64,
    kind: SnapshotKind,
}

impl Done {
    fn of(info: SnapshotInfo) -> Self {
        let SnapshotInfo { cursor, digest, records, bytes, kind, .. } = info;
        Done { cursor: cursor.to_string(), digest, records, bytes, kind }
    }
}

fn path(request: &Request<'_>) -> ml_persistence::Result<PathBuf> {
    request.fields.text("path").map(PathBuf::from)
}

pub fn export(request: &Request<'_>) -> Answer {
    let since = request.fields.text_opt("since")?.map(|since| since.parse::<Cursor>()).transpose()?;
    json(&Done::of(request.session.db.export_snapshot(path(request)?, since)?))
}

pub fn import(request: &Request<'_>) -> Answer {
    let replace = request.fields.flag_opt("replace")?.unwrap_or(false);
    json(&Done::of(request.session.db.import_snapshot(path(request)?, replace)?))
}

pub fn inspect(request: &Request<'_>) -> Answer {
    #[derive(Serialize)]
    struct Inspected {
        kind: SnapshotKind,
        cursor: String,
        base: Option<String>,
        digest: Option<String>,
        records: u64,
        removals: u64,
        raw_bytes: u64,
        bytes: u64,
    }
    let info = MlPersistence::inspect_snapshot(path(request)?)?;
    json(&Inspected {
        kind: info.kind,
        cursor: info.cursor.to_string(),
        base: info.base.map(|base| base.to_string()),
        digest: info.digest,
        records: info.records,
        removals: info.removals,
        raw_bytes: info.raw_bytes,
        bytes: info.bytes,
    })
}

pub fn changes(request: &Request<'_>) -> Answer {
    #[derive(Serialize)]
    struct Changed {
        cursor: String,
        namespace: String,
        key: String,
        deleted: bool,
    }
    #[derive(Serialize)]
    struct Page {
        changes: Vec<Changed>,
        cursor: String,
    }
    let after = request.fields.text("after")?.parse::<Cursor>()?;
    let page = request.session.db.changes(&after, page_limit(request.fields, "limit")?)?;
    let changes = page.changes.into_iter().map(|change| Changed {
        cursor: change.cursor.to_string(),
        namespace: change.namespace,
        key: change.key,
        deleted: change.deleted,
    });
    json(&Page { changes: changes.collect(), cursor: page.cursor.to_string() })
}
