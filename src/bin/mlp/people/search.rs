//! Searching the registry: `--filter`, `--order-by` and `--explain`, handed on as they are. What is wrong with a filter
//! the registry says, with the place.

use ml_persistence::Result;
use ml_persistence::registry::{DamagedRow, Plan, SearchRequest};

use super::pages::Pages;
use crate::line::{Flag, Line, Wrong};
use crate::out::Out;
use crate::table::{facts, optional, table};

/// The options of a search.
pub const SEARCH: &[Flag] = &[
    Flag::of("filter", "FILTER", "only these, such as \"tags.team = 'mail' and not archived = true\""),
    Flag::of("order-by", "FIELD", "such as 'created_at desc'; again for what it leaves equal"),
    Flag::bare("explain", "say how the page was found"),
];

/// What to search for, and which pages of it to show.
pub struct Search {
    request: SearchRequest,
    pub pages: Pages,
}

impl Search {
    pub fn read(line: &mut Line) -> Result<Self, Wrong> {
        let mut request = SearchRequest::new().explain(line.flag("explain")?);
        if let Some(filter) = line.text("filter")? {
            request = request.filter(filter);
        }
        for term in line.texts("order-by")? {
            request = request.order_by(term);
        }
        Ok(Search { request, pages: Pages::read(line)? })
    }

    /// The same, only for versions of this model.
    pub fn in_model(mut self, model: Option<String>) -> Self {
        if let Some(model) = model {
            self.request = self.request.in_model(model);
        }
        self
    }

    /// The request for one page.
    pub fn page(&self, after: Option<&str>, limit: usize) -> SearchRequest {
        let page = self.request.clone().page_size(limit);
        match after {
            Some(token) => page.page_token(token),
            None => page,
        }
    }
}

/// What stands below a page: rows that can't be shown, each with what is wrong with it, and how the page was found.
pub fn below(out: &mut Out, damaged: &[DamagedRow], plan: Option<&Plan>) -> Result<()> {
    if !damaged.is_empty() {
        let rows = damaged.iter().map(|row| [row.key.clone(), row.error.clone()]);
        out.say(format!("\ncannot be read; see `mlp verify`\n{}", table(["record", "what is wrong"], rows)))?;
    }
    let Some(plan) = plan else { return Ok(()) };
    let conditions = |conditions: &[String]| optional((!conditions.is_empty()).then(|| conditions.join(" and ")));
    let read = match (plan.full_scan, plan.in_index_order) {
        (true, _) => "all of it was read, or may have been",
        (false, true) => "until the page was full",
        (false, false) => "all that the conditions or the model leave, to be put in order",
    };
    let found = facts([
        ("index", plan.index.clone()),
        ("by index", conditions(&plan.by_index)),
        ("asked of each", conditions(&plan.filtered)),
        ("order", plan.order.clone()),
        ("read", read.to_owned()),
        ("records read", plan.examined.to_string()),
    ]);
    out.say(format!("\n{found}"))
}
