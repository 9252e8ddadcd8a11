//! The registry of ml-persistence over sled.

use std::path::Path;

use ml_persistence::registry::{PageRequest, VersionPage};
use ml_persistence::{Change, Durability, MlPersistence, NewVersion, Registry, SearchRequest, Version};

use super::{ALIAS, Draft, MODEL, PAGE, Page, Seen, Shop, TAG, audit};
use crate::Failure;
use crate::systems::{Held, Item, Session, System};

/// Versions that one transaction of a filling registers.
const FILLED_AT_ONCE: u32 = 100;

struct Ours(MlPersistence);

pub(super) fn open(folder: &Path) -> Result<Box<dyn Shop>, Failure> {
    Ok(Box::new(Ours(MlPersistence::open(folder)?)))
}

fn version(draft: Draft) -> NewVersion {
    NewVersion::new()
        .run_id(draft.run)
        .source("git://models/train")
        .tag(TAG, draft.shard)
        .tag("team", "mail")
        .metric("f1", draft.f1)
        .hyperparam("depth", serde_json::json!(6))
}

fn seen(version: Version) -> Result<Seen, Failure> {
    Ok(Seen {
        number: version.version,
        run: version.run_id.ok_or("a version without a run")?,
        shard: version.tags.get(TAG).cloned().ok_or("a version without the tag")?,
        f1: version.metrics.get("f1").ok_or("a version without the metric")?.as_str().parse()?,
        tags: version.tags.len(),
        aliases: version.aliases,
    })
}

fn page(page: VersionPage) -> Result<Page, Failure> {
    if let Some(damaged) = page.damaged.first() {
        return Err(format!("{}: {}", damaged.key, damaged.error).into());
    }
    let versions = page.versions.into_iter().map(seen).collect::<Result<_, _>>()?;
    Ok(Page { versions, next: page.next_page_token })
}

impl System for Ours {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        Ok(Box::new(Caller(self.0.registry())))
    }

    fn held(&self) -> Result<Held, Failure> {
        audit::held(self)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.close()?)
    }
}

struct Caller<'s>(&'s Registry);

impl Session for Caller<'_> {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        self.0.register_version(MODEL, version(Draft::of(items)))?;
        Ok(1)
    }
}

impl Shop for Ours {
    fn fill(&self, versions: u32) -> Result<(), Failure> {
        let buffered = self.0.registry().with_durability(Durability::Buffered);
        for first in (0..versions).step_by(FILLED_AT_ONCE as usize) {
            let last = (first + FILLED_AT_ONCE).min(versions);
            buffered.transact(|registry| {
                let mut drafts = (first..last).map(|seed| version(Draft::new(u64::from(seed))));
                drafts.try_for_each(|new| registry.register_version(MODEL, new).map(drop))
            })?;
        }
        buffered.set_alias(MODEL, ALIAS, versions / 2, &Change::new())?;
        Ok(self.0.checkpoint()?)
    }

    fn by_number(&self, number: u32) -> Result<Option<Seen>, Failure> {
        self.0.registry().get(MODEL, number)?.map(seen).transpose()
    }

    fn by_alias(&self, alias: &str) -> Result<Option<Seen>, Failure> {
        self.0.registry().get(MODEL, alias)?.map(seen).transpose()
    }

    fn list(&self, after: Option<&str>) -> Result<Page, Failure> {
        let request = PageRequest::new().size(PAGE);
        let request = after.into_iter().fold(request, PageRequest::token);
        page(self.0.registry().list_versions(MODEL, &request)?)
    }

    fn search(&self, shard: &str, after: Option<&str>) -> Result<Page, Failure> {
        let request = SearchRequest::new().in_model(MODEL).filter(format!("tags.{TAG} = '{shard}'")).page_size(PAGE);
        let request = after.into_iter().fold(request, SearchRequest::page_token);
        page(self.0.registry().search_versions(&request)?)
    }

    fn marks(&self) -> Result<(u32, u32), Failure> {
        let model = self.0.registry().get_model(MODEL)?.ok_or("no such model")?;
        Ok((model.last_version, model.versions))
    }
}
