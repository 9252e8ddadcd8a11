//! `store.*`: the store as a whole.

use super::session::{Answer, Request, json};

pub fn digest(request: &Request<'_>) -> Answer {
    json(&request.session.db.digest()?)
}

pub fn verify(request: &Request<'_>) -> Answer {
    json(&request.session.db.verify()?)
}

pub fn repair(request: &Request<'_>) -> Answer {
    json(&request.session.db.repair()?)
}

pub fn sync(request: &Request<'_>) -> Answer {
    json(&request.session.db.sync()?.to_string())
}

pub fn cursor(request: &Request<'_>) -> Answer {
    json(&request.session.db.cursor().to_string())
}

pub fn stats(request: &Request<'_>) -> Answer {
    json(&request.session.db.stats()?)
}
