//! `kv.*`: the plain contract.

use ml_persistence::kv::{KeyValue, Kv, KvWrite};
use ml_persistence::{Json, Result};
use serde::Serialize;

use super::session::{Answer, Request, json, null};
use crate::fields::Fields;

/// Most writes in one `kv.batch`.
const BATCH_WRITES_MAX: usize = 1_000;

fn kv(request: &Request<'_>) -> Kv {
    request.session.db.kv().with_durability(request.durability)
}

pub fn put(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    kv(request).put(&fields.text("namespace")?, &fields.text("key")?, &fields.json("value")?)?;
    null()
}

pub fn get(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    match kv(request).get(&fields.text("namespace")?, &fields.text("key")?)? {
        Some(value) => Ok(format!(r#"{{"value":{}}}"#, value.as_str())),
        None => null(),
    }
}

pub fn delete(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    kv(request).delete(&fields.text("namespace")?, &fields.text("key")?)?;
    null()
}

pub fn list(request: &Request<'_>) -> Answer {
    #[derive(Serialize)]
    struct Page {
        entries: Vec<(String, Json)>,
        next: Option<String>,
    }
    let fields = request.fields;
    let (namespace, prefix, after) = (fields.text("namespace")?, fields.text_opt("prefix")?, fields.text_opt("after")?);
    let limit = super::page_limit(fields, "limit")?;
    let page = kv(request).list(&namespace, prefix.as_deref().unwrap_or(""), after.as_deref(), limit)?;
    json(&Page { entries: page.entries, next: page.next })
}

pub fn count(request: &Request<'_>) -> Answer {
    json(&kv(request).count(&request.fields.text("namespace")?)?)
}

pub fn clear(request: &Request<'_>) -> Answer {
    json(&kv(request).clear(&request.fields.text("namespace")?)?)
}

pub fn batch(request: &Request<'_>) -> Answer {
    let writes: Result<Vec<KvWrite>> =
        request.fields.objects("ops", BATCH_WRITES_MAX)?.iter().map(|fields| write(fields)).collect();
    kv(request).batch(&writes?)?;
    null()
}

fn write(fields: &Fields<'_>) -> Result<KvWrite> {
    fields.check(Some(&[&["op", "namespace", "key", "value"]]))?;
    let (op, namespace, key) = (fields.text("op")?, fields.text("namespace")?, fields.text("key")?);
    match op.as_str() {
        "put" => Ok(KvWrite::Put { namespace, key, value: fields.json("value")? }),
        // The page lists `value` for both kinds; a delete has no use for one.
        "delete" => Ok(KvWrite::Delete { namespace, key }),
        other => Err(fields.wrong("op", format!("put or delete, got {other:?}"))),
    }
}
