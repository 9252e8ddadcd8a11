//! One page of a search.

use super::explain::Plan;
use super::order::Order;
use super::plan::Strategy;
use super::request::Checked;
use super::select::Selection;
use super::subject::{Lead, Searched};
use super::walk::Walk;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyReader};
use crate::record::{Entity, IndexEntry, PAGE_BYTES, View};
use crate::registry::page::{DamagedRow, ModelPage, VersionPage};
use crate::registry::record::{ModelRecord, VersionRecord};
use crate::registry::txn::no_such_model;
use crate::registry::{Model, Version};

/// A page of models.
pub(crate) fn models(view: &View<'_>, request: &Checked) -> Result<ModelPage> {
    let page = page(view, request, &mut Models)?;
    Ok(ModelPage { models: page.rows, next_page_token: page.token, damaged: page.damaged, plan: page.plan })
}

/// A page of versions. `NotFound` for a missing model, when one is named outside the filter.
pub(crate) fn versions(view: &View<'_>, request: &Checked) -> Result<VersionPage> {
    let mut versions = Versions { only: request.model.as_deref(), holder: None };
    if let Some(model) = versions.only {
        let holder = view.get::<ModelRecord>(&keys::model(model))?.ok_or_else(|| no_such_model(model))?;
        versions.holder = Some(holder);
    }
    let page = page(view, request, &mut versions)?;
    Ok(VersionPage { versions: page.rows, next_page_token: page.token, damaged: page.damaged, plan: page.plan })
}

/// Where the rows of a search come from.
trait Rows {
    type Record: Searched;
    type Shown;

    /// The record at `key`; `None` for one of another model, and for a leftover that is being swept away.
    fn load(&mut self, view: &View<'_>, key: &[u8]) -> Result<Option<Self::Record>>;

    /// The record that was loaded last, as it is answered, and about its bytes.
    fn show(&self, record: Self::Record) -> Option<(usize, Self::Shown)>;
}

struct Models;

impl Rows for Models {
    type Record = ModelRecord;
    type Shown = Model;

    fn load(&mut self, view: &View<'_>, key: &[u8]) -> Result<Option<ModelRecord>> {
        present(view.get(key)?).map(Some)
    }

    fn show(&self, record: ModelRecord) -> Option<(usize, Model)> {
        Some((record.weight() + record.aliases_weight(), Model::of(record)))
    }
}

/// Versions, with the model that was needed last: those of one model mostly come one after the other.
struct Versions<'q> {
    /// The only model that is searched, whatever part of which index is read.
    only: Option<&'q str>,
    holder: Option<ModelRecord>,
}

impl Rows for Versions<'_> {
    type Record = VersionRecord;
    type Shown = Version;

    fn load(&mut self, view: &View<'_>, key: &[u8]) -> Result<Option<VersionRecord>> {
        if self.only.is_some_and(|only| keys::parse_version(key).is_ok_and(|(model, _)| model != only)) {
            return Ok(None);
        }
        let record = present(view.get::<VersionRecord>(key)?)?;
        if self.holder.as_ref().is_none_or(|holder| holder.name != record.model) {
            self.holder = view.get(&keys::model(&record.model))?;
        }
        // Without a model of its own it is what a deleted one left behind.
        let of_holder = self.holder.as_ref().is_some_and(|holder| holder.incarnation == record.incarnation);
        Ok(of_holder.then_some(record))
    }

    fn show(&self, record: VersionRecord) -> Option<(usize, Version)> {
        self.holder.as_ref().map(|holder| (record.weight(), Version::of(record, holder)))
    }
}

/// An index entry whose record is gone is damage: both are written in one transaction.
fn present<R: Entity>(record: Option<R>) -> Result<R> {
    record.ok_or_else(|| Error::corrupt(format!("{}: in an index, but not there", R::schema().name)))
}

/// A page that is being filled.
struct Page<T> {
    rows: Vec<T>,
    damaged: Vec<DamagedRow>,
    token: Option<String>,
    plan: Option<Plan>,
    bytes: usize,
    /// The place of the last row, damaged ones included.
    last: Option<Vec<u8>>,
}

fn page<W: Rows>(view: &View<'_>, request: &Checked, rows: &mut W) -> Result<Page<W::Shown>> {
    let strategy = Strategy::<W::Record>::choose(view, request)?;
    let mut page = Page { rows: Vec::new(), damaged: Vec::new(), token: None, plan: None, bytes: 0, last: None };
    // Behind a row that could not be read no time index can go on: its place holds no time.
    let timed = strategy.lead != Lead::Time || !request.after.as_deref().is_some_and(Order::is_unread);
    let examined = if strategy.in_index_order && timed {
        page.fill_in_order(view, request, rows, &strategy)?
    } else {
        page.fill_by_selection(view, request, rows, &strategy)?
    };
    page.plan = request.explain.then(|| strategy.explain(request, examined));
    Ok(page)
}

impl<T> Page<T> {
    /// Takes rows as they come, until one is found that no longer fits.
    fn fill_in_order<W: Rows<Shown = T>>(
        &mut self,
        view: &View<'_>,
        request: &Checked,
        rows: &mut W,
        strategy: &Strategy<W::Record>,
    ) -> Result<u64> {
        let mut examined = 0;
        let mut walk = Walk::in_order(strategy, &request.order, request.after.as_deref(), request.size)?;
        while let Some(entry) = walk.next(view)? {
            examined += 1;
            let found = selected(view, request, rows, &entry)?;
            if matches!(found, Found::Nothing) {
                continue;
            }
            if self.is_full(request) {
                self.token = self.last.as_deref().map(|last| request.token(last));
                break;
            }
            let key = strategy.lead.key(&entry.parts)?;
            let place = match strategy.lead {
                Lead::Time => request.order.place_in_time(KeyReader::new(&entry.parts).u64()?, key),
                Lead::None | Lead::Texts(_) => request.order.place_of_key(key),
            };
            self.push(rows, found, place);
        }
        Ok(examined)
    }

    /// Looks at everything, keeps the places of the first rows, and reads those again.
    fn fill_by_selection<W: Rows<Shown = T>>(
        &mut self,
        view: &View<'_>,
        request: &Checked,
        rows: &mut W,
        strategy: &Strategy<W::Record>,
    ) -> Result<u64> {
        let mut examined = 0;
        let mut selection = Selection::new(request.after.clone(), request.size + 1);
        for range in &strategy.ranges {
            let mut walk = Walk::all(strategy.index, range.clone());
            while let Some(entry) = walk.next(view)? {
                examined += 1;
                let place = {
                    let key = strategy.lead.key(&entry.parts)?;
                    match selected(view, request, rows, &entry)? {
                        Found::Nothing => continue,
                        Found::Row(record) => request.order.place(&record, key),
                        Found::Damaged(_) => request.order.place_unread(key),
                    }
                };
                selection.offer(place, entry);
            }
        }
        for (place, entry) in selection.into_rows() {
            if self.is_full(request) {
                self.token = self.last.as_deref().map(|last| request.token(last));
                break;
            }
            let found = selected(view, request, rows, &entry)?;
            self.push(rows, found, place);
        }
        Ok(examined)
    }

    fn is_full(&self, request: &Checked) -> bool {
        self.rows.len() + self.damaged.len() >= request.size || self.bytes >= PAGE_BYTES
    }

    fn push<W: Rows<Shown = T>>(&mut self, rows: &W, found: Found<W::Record>, place: Vec<u8>) {
        match found {
            Found::Nothing => return,
            Found::Damaged(row) => self.damaged.push(row),
            Found::Row(record) => {
                if let Some((bytes, shown)) = rows.show(record) {
                    self.bytes += bytes;
                    self.rows.push(shown);
                }
            }
        }
        self.last = Some(place);
    }
}

/// What stands behind an index entry.
enum Found<R> {
    /// Nothing that the filter selects.
    Nothing,
    /// A record that it selects.
    Row(R),
    /// A record of which nobody can say whether it does.
    Damaged(DamagedRow),
}

fn selected<W: Rows>(view: &View<'_>, request: &Checked, rows: &mut W, entry: &IndexEntry) -> Result<Found<W::Record>> {
    match rows.load(view, &entry.primary) {
        Ok(Some(record)) if request.filter.selects(|field| record.held(field)) => Ok(Found::Row(record)),
        Ok(_) => Ok(Found::Nothing),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
            let key = String::from_utf8_lossy(&entry.primary).into_owned();
            Ok(Found::Damaged(DamagedRow { key, error: error.to_string() }))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_weighs_its_aliases_in_a_page_too() {
        let aliases = (0..256).map(|n| (format!("{n:0>255}"), 1)).collect();
        let record = ModelRecord { aliases, ..ModelRecord::default() };
        assert_eq!(record.weight(), 0);
        assert!(Models.show(record).unwrap().0 > 256 * 255);
    }
}
