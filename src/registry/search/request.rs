//! What to search for, and what is made of it once it is checked.

use super::order::Order;
use super::subject::Searched;
use crate::error::{Error, Result};
use crate::keys::KeyWriter;
use crate::registry::filter::{Filter, Subject};
use crate::registry::name;
use crate::registry::page::{self, PageRequest};

/// What to search for: a filter, an order, and which page. The default: the first 100 of all, in the order of their
/// keys, which is by name for models, by model and number for versions.
///
/// ```
/// use ml_persistence::registry::SearchRequest;
/// let newest = SearchRequest::new()
///     .in_model("spam")
///     .filter("tags.team = 'mail' and metrics.f1 >= 0.9")
///     .order_by("created_at desc")
///     .page_size(20);
/// # let _same = newest.clone();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchRequest {
    model: Option<String>,
    filter: String,
    order_by: Vec<String>,
    page: PageRequest,
    explain: bool,
}

impl SearchRequest {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only versions of this model. A search for models refuses it.
    #[must_use]
    pub fn in_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Only what this filter selects: at most 64 KiB. A blank one selects everything.
    ///
    /// `and` `or` `not` with parentheses; `=` `!=` `<` `<=` `>` `>=`, `like` (`%`, `_`, `\` escapes), `ilike`, `in (…)`,
    /// `between … and …`, `is null`. Texts stand in single quotes, a quote inside doubled; a key with other characters
    /// than letters, digits, `_` and `.` in backquotes or double quotes. An absent field, and one of another type than
    /// the value, make a test unknown: neither it nor its negation selects the record.
    ///
    /// | models | versions | both |
    /// |---|---|---|
    /// | `name` `description` `active_version` | `model` `version` `source` `run_id` `stage` `created_by` `metrics.key` `hyperparams.key` | `archived` `created_at` `updated_at` `tags.key` `properties.key` |
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = filter.into();
        self
    }

    /// Orders by a field, `asc` or `desc` behind it; the next call orders what the ones before leave equal. Indexed
    /// are `name`, `created_at` and `updated_at` of models, `model`, `version`, `stage`, `run_id`, `created_at` and
    /// `updated_at` of versions. What is equal in all of them is ordered by key; what has no such field comes last.
    #[must_use]
    pub fn order_by(mut self, term: impl Into<String>) -> Self {
        self.order_by.push(term.into());
        self
    }

    /// At most this many rows: 1..=1000.
    #[must_use]
    pub fn page_size(mut self, size: usize) -> Self {
        self.page = self.page.size(size);
        self
    }

    /// Goes on where the page that answered this token ended. The filter, the order and the model must be the same.
    #[must_use]
    pub fn page_token(mut self, token: impl Into<String>) -> Self {
        self.page = self.page.token(token);
        self
    }

    /// Whether the page also says how it was found.
    #[must_use]
    pub fn explain(mut self, explain: bool) -> Self {
        self.explain = explain;
        self
    }

    /// Everything, this page of it.
    pub(crate) fn page(page: &PageRequest) -> Self {
        SearchRequest { page: page.clone(), ..Self::default() }
    }

    /// The same, once it is known to make sense for `R`.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub(crate) fn checked<R: Searched>(&self) -> Result<Checked> {
        match (&self.model, R::SUBJECT) {
            (Some(_), Subject::Models) => {
                return Err(Error::invalid("model: models are searched by the field name of the filter"));
            }
            (Some(model), Subject::Versions) => name::check_model(model)?,
            (None, _) => {}
        }
        let filter = Filter::parse(&self.filter, R::SUBJECT)?;
        let order = Order::parse::<R>(&self.order_by, self.model.is_some())?;
        let model = KeyWriter::new().bool(self.model.is_some()).str(self.model.as_deref().unwrap_or_default());
        let listing = model.str(R::schema().name).str(filter.source()).str(&order.to_string()).finish();
        Ok(Checked {
            after: self.page.after(&listing)?,
            size: self.page.checked_size()?,
            model: self.model.clone(),
            explain: self.explain,
            listing,
            filter,
            order,
        })
    }
}

/// A request that makes sense.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(super) model: Option<String>,
    pub(super) filter: Filter,
    pub(super) order: Order,
    pub(super) size: usize,
    /// The place to go on behind.
    pub(super) after: Option<Vec<u8>>,
    pub(super) explain: bool,
    listing: Vec<u8>,
}

impl Checked {
    /// The token that leads behind `place`.
    pub(super) fn token(&self, place: &[u8]) -> String {
        page::token(&self.listing, place)
    }
}
