//! Which index is read, which part of it, and whether its order is the one asked for.
//!
//! There are no statistics. Of what the filter offers, the first of this list is taken, since it is likely to be the
//! smallest; the model that is searched, when it is one, narrows each of the first four further:
//!
//! ```text
//! 1  one key         name = …, or model = … and version = …
//! 2  equality        run_id = …, then tags.k = …, then stage = …
//! 3  a few of them   the same fields with `in`
//! 4  one model       searched in it, or model = …, with a range of versions where there is one
//! 5  some keys       name or model `in`
//! 6  beginnings      the fields of 2 like 'abc%'
//! 7  ranges          name or model like 'abc%' or between, created_at or updated_at
//! 8  everything      in the order of a time, when that is asked for; else in the order of keys
//! ```
//!
//! 6 and 7 may hold nearly everything. Where their order is not the one asked for, they are taken only when a probe
//! finds at most [`PROBE`] entries; reading everything in order at least stops when the page is full.

use std::ops::Bound;

use super::explain::Plan;
use super::narrow::{Narrow, narrow};
use super::order::Order;
use super::request::Checked;
use super::subject::{CUT_BYTES, Lead, Searched, text_part};
use crate::engine::{Direction, KeyRange};
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::{Index, View};
use crate::registry::filter::{Expr, Field, Subject};

/// Entries up to which an index part is small enough to be read whole for each page.
const PROBE: usize = 1000;

/// One index, the parts of it that hold every record the filter can select, and how they are read.
pub(super) struct Strategy<R: 'static> {
    pub(super) index: &'static Index<R>,
    pub(super) lead: Lead,
    pub(super) ranges: Vec<KeyRange>,
    /// What each key of the one range has in front, when that is the same for all.
    pub(super) prefix: Option<Vec<u8>>,
    pub(super) in_index_order: bool,
    /// Places of the conditions that chose the ranges, among those of the filter.
    chosen_by: Vec<usize>,
    rank: u8,
}

/// Ranks from here on are probed.
const RANK_WIDE: u8 = 6;

impl<R: Searched> Strategy<R> {
    /// The plan for this request.
    pub(super) fn choose(view: &View<'_>, request: &Checked) -> Result<Self> {
        let asked = Asked::of::<R>(request);
        let mut offers = asked.offers::<R>();
        for offer in &mut offers {
            offer.in_index_order = offer.has_order(&request.order);
        }
        // The sort is stable: among equals the first condition of the filter wins, and what has the order goes first.
        offers.sort_by_key(|offer| (offer.rank, !offer.in_index_order));
        for offer in offers {
            if offer.rank < RANK_WIDE || offer.in_index_order || offer.is_small(view)? {
                return Ok(offer);
            }
        }
        Ok(Self::everything(&request.order))
    }

    fn everything(order: &Order) -> Self {
        let timed = order.only_field().and_then(R::by_time);
        let (index, lead) = timed.map_or((R::by_key(), Lead::None), |index| (index, Lead::Time));
        let mut all = Strategy::over(index, lead, 8, vec![KeyRange::all()], Some(Vec::new()), Vec::new());
        all.in_index_order = all.has_order(order);
        all
    }

    fn over(
        index: &'static Index<R>,
        lead: Lead,
        rank: u8,
        ranges: Vec<KeyRange>,
        prefix: Option<Vec<u8>>,
        chosen_by: Vec<usize>,
    ) -> Self {
        Strategy { index, lead, ranges, prefix, in_index_order: false, chosen_by, rank }
    }

    fn has_order(&self, order: &Order) -> bool {
        match (order, self.lead) {
            (Order::Key { .. }, Lead::Time) => false,
            (Order::Key { .. }, _) => self.ranges.len() == 1 && self.prefix.is_some(),
            (Order::Fields(_), Lead::Time) => {
                let own = order.only_field().and_then(R::by_time);
                self.ranges.len() == 1 && own.is_some_and(|own| own.number == self.index.number)
            }
            (Order::Fields(_), _) => false,
        }
    }

    fn is_small(&self, view: &View<'_>) -> Result<bool> {
        let mut room = PROBE;
        for range in &self.ranges {
            let page = view.index_range(self.index, range.clone(), Direction::Ascending, None, room + 1)?;
            match room.checked_sub(page.entries.len()) {
                Some(left) => room = left,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The plan in words, for a page that examined so many records.
    pub(super) fn explain(&self, request: &Checked, examined: u64) -> Plan {
        let conditions = request.filter.conditions();
        let text = |(place, condition): (usize, &&Expr)| (place, request.filter.text_of(condition).to_owned());
        let (by_index, filtered): (Vec<_>, Vec<_>) =
            conditions.iter().enumerate().map(text).partition(|(place, _)| self.chosen_by.contains(place));
        let texts = |part: Vec<(usize, String)>| part.into_iter().map(|(_, text)| text).collect();
        // Only what reads everything leaves the model to the filter.
        let full_scan = self.rank == 8;
        Plan {
            index: self.index.name.to_owned(),
            by_index: texts(by_index),
            model: request.model.clone().filter(|_| !full_scan),
            filtered: texts(filtered),
            order: request.order.to_string(),
            in_index_order: self.in_index_order,
            full_scan,
            examined,
        }
    }
}

/// What the request offers to an index.
struct Asked<'q> {
    narrows: Vec<(usize, &'q Field, Narrow)>,
    /// The only model that is searched, and the conditions that say so.
    model: Option<(String, Vec<usize>)>,
    /// The versions from which to which, and the conditions that say so.
    versions: Option<(u32, u32, Vec<usize>)>,
}

impl<'q> Asked<'q> {
    fn of<R: Searched>(request: &'q Checked) -> Self {
        let conditions = request.filter.conditions().into_iter().enumerate();
        let narrows: Vec<_> = conditions
            .filter_map(|(place, condition)| narrow(condition).map(|(field, narrow)| (place, field, narrow)))
            .collect();
        let mut asked =
            Asked { model: request.model.clone().map(|model| (model, Vec::new())), versions: None, narrows };
        if asked.model.is_none() && R::SUBJECT == Subject::Versions {
            asked.model = asked.only_text(&Field::Model);
        }
        asked.versions = asked.wholes(&Field::Version, 0, u64::from(u32::MAX)).map(|(low, high, by)| {
            // Clamped above, so both fit.
            (u32::try_from(low).unwrap_or(u32::MAX), u32::try_from(high).unwrap_or(u32::MAX), by)
        });
        asked
    }

    fn only_text(&self, of: &Field) -> Option<(String, Vec<usize>)> {
        self.narrows.iter().find_map(|(place, field, narrow)| match narrow {
            Narrow::Texts(texts) if *field == of => match texts.as_slice() {
                [only] => Some((only.clone(), vec![*place])),
                _ => None,
            },
            _ => None,
        })
    }

    /// What all conditions on `of` leave of `low..=high`; `None` when there is no condition.
    fn wholes(&self, of: &Field, mut low: u64, mut high: u64) -> Option<(u64, u64, Vec<usize>)> {
        let mut by = Vec::new();
        for (place, field, narrow) in &self.narrows {
            if let (true, Narrow::Whole(from, to)) = (*field == of, narrow) {
                (low, high) = (low.max(*from), high.min(*to));
                by.push(*place);
            }
        }
        (!by.is_empty()).then_some((low, high, by))
    }

    fn offers<R: Searched>(&self) -> Vec<Strategy<R>> {
        let mut offers = Vec::new();
        for (place, field, narrow) in &self.narrows {
            offers.extend(self.by_text::<R>(*place, field, narrow));
            if matches!(field, Field::Name | Field::Model) {
                offers.extend(by_key(*place, narrow));
            }
        }
        offers.extend(self.in_one_model());
        for field in [Field::CreatedAt, Field::UpdatedAt] {
            if let (Some(index), Some((low, high, by))) = (R::by_time(&field), self.wholes(&field, 0, u64::MAX)) {
                let range = included(KeyWriter::new().u64(low), KeyWriter::new().u64(high));
                offers.push(Strategy::over(index, Lead::Time, 7, ranges(low <= high, range), None, by));
            }
        }
        offers
    }

    /// Tags, stages and runs: `(text, key)` or `(tag, text, key)`.
    fn by_text<R: Searched>(&self, place: usize, field: &Field, narrow: &Narrow) -> Option<Strategy<R>> {
        let (index, lead, before, rank) = match field {
            Field::Tag(key) => (R::by_tag(), Lead::Texts(2), KeyWriter::new().bytes(&text_part(key)), 2),
            _ => (R::by_text(field)?, Lead::Texts(1), KeyWriter::new(), if *field == Field::RunId { 1 } else { 3 }),
        };
        match narrow {
            Narrow::Texts(texts) => {
                let (mut by, mut prefixes) = (vec![place], Vec::new());
                let mut parts = Vec::new();
                for text in texts {
                    let (prefix, range) = self.keys_behind(before.clone().bytes(&text_part(text)), &mut by);
                    prefixes.push(prefix);
                    parts.extend(range);
                }
                let one = prefixes.len() == 1;
                let rank = if one { rank } else { 4 };
                Some(Strategy::over(index, lead, rank, parts, prefixes.pop().filter(|_| one), by))
            }
            // Entries are cut behind this, so a longer beginning is not found in them.
            Narrow::Prefix(prefix) if prefix.len() <= CUT_BYTES => {
                let start = before.starts_with(prefix.as_bytes());
                Some(Strategy::over(index, lead, 6, vec![included(start.clone(), start)], None, vec![place]))
            }
            // The order of entries that are cut is not that of their texts.
            Narrow::Prefix(_) | Narrow::Between(..) | Narrow::Whole(..) => None,
        }
    }

    /// The versions of the one model.
    fn in_one_model<R: Searched>(&self) -> Option<Strategy<R>> {
        self.model.as_ref()?;
        let mut by = Vec::new();
        let (prefix, range) = self.keys_behind(KeyWriter::new(), &mut by);
        let one = self.versions.as_ref().is_some_and(|(low, high, _)| low >= high);
        let rank = if one { 0 } else { 5 };
        Some(Strategy::over(R::by_key(), Lead::None, rank, range.into_iter().collect(), Some(prefix), by))
    }

    /// The range of keys that stand behind `before`: all of them, or those of the one model, or some of its versions.
    /// No range when no version can be meant. Names in `by` the conditions that say so.
    fn keys_behind(&self, before: KeyWriter, by: &mut Vec<usize>) -> (Vec<u8>, Option<KeyRange>) {
        let prefix = before.clone().finish();
        let Some((model, named_by)) = &self.model else {
            return (prefix, Some(included(before.clone(), before)));
        };
        let before = before.str(model);
        by.extend(named_by);
        let range = match &self.versions {
            None => Some(included(before.clone(), before)),
            Some((low, high, said_by)) => {
                by.extend(said_by);
                (low <= high).then(|| included(before.clone().u32(*low), before.u32(*high)))
            }
        };
        (prefix, range)
    }
}

/// Names of models, in the index of all keys.
fn by_key<R: Searched>(place: usize, narrow: &Narrow) -> Option<Strategy<R>> {
    let text = |text: &str| KeyWriter::new().str(text);
    let (rank, parts) = match narrow {
        Narrow::Texts(texts) => {
            let rank = if texts.len() == 1 { 0 } else { 5 };
            (rank, texts.iter().map(|name| included(text(name), text(name))).collect())
        }
        Narrow::Prefix(prefix) => {
            let start = KeyWriter::new().starts_with(prefix.as_bytes());
            (7, vec![included(start.clone(), start)])
        }
        Narrow::Between(low, high) => {
            let key = |bound: &Bound<String>| bound.as_ref().map(|name| text(name).finish());
            let range = KeyRange { start: key(low), end: key(high) };
            (7, ranges(!range.is_empty(), range))
        }
        Narrow::Whole(..) => return None,
    };
    Some(Strategy::over(R::by_key(), Lead::None, rank, parts, Some(Vec::new()), vec![place]))
}

/// Everything that begins with a part from the first to the second.
fn included(from: KeyWriter, to: KeyWriter) -> KeyRange {
    KeyRange { start: Bound::Included(from.finish()), end: Bound::Included(to.finish()) }
}

fn ranges(any: bool, range: KeyRange) -> Vec<KeyRange> {
    if any { vec![range] } else { Vec::new() }
}
