//! The ids and sort keys of a page.

use std::ops::ControlFlow;

use tokio_postgres::types::Type;

use crate::model::{JobList, OrderBy, Page};
use crate::store::begin::Param;
use crate::store::by_keys::KeyStatement;
use crate::store::jobs::order::{Order, limit_offset};
use crate::store::jobs::selection::{Selected, Viewer};
use crate::store::jobs::tables::Tables;
use crate::store::jobs::texts;
use crate::store::jobs::values::Values;

/// The rows of an order's index that are read first, besides two for each job up to the end of the
/// page.
const NEAR: i64 = 2_000;
/// The last job of a page that is looked for there.
const LAST_WALKED: i64 = 20_000;
/// The most rows that are read in order of a text before all matches are selected: to look up their jobs
/// takes as long as that does in a table of a million jobs.
const FARTHEST: i64 = 80_000;
/// The same if each row's texts are searched.
const FARTHEST_SEARCHED: i64 = 15_000;

/// The rows of an order's index that a lookup of a page may read.
const LOOKED_UP: i64 = 2_000;

/// Selects the ids of a page near the start of an order that an index has, or returns `None`. The
/// best plan is the same for all values, if the planner knows that few rows are read: it does not
/// see the values of `LIMIT` and `OFFSET` when it makes a plan that the server keeps.
pub(super) fn looked_up_ids(selected: &mut Selected, list: &JobList) -> Option<String> {
    let by = list.ordering.by;
    let has_index = match by {
        OrderBy::Start => selected.is_of_all() || selected.is_of_an_instrument(),
        OrderBy::End | OrderBy::State | OrderBy::Id => selected.is_of_all(),
        OrderBy::RunStart | OrderBy::RunEnd => selected.is_of_all() && selected.reads_list_table(),
        _ => false,
    };
    let Page { limit, offset } = list.page;
    if !has_index || limit == 0 || offset.saturating_add(limit) > LOOKED_UP {
        return None;
    }
    let order = Order::of(selected, list);
    let (columns, in_order, of_page) = (order.columns(), order.of_tables(), order.of_page());
    let source = selected.source();
    let limit = selected.values.bind(limit, Type::INT8);
    let offset = selected.values.bind(offset, Type::INT8);
    Some(format!(
        "SELECT id FROM (SELECT {columns} {source} {in_order} LIMIT {LOOKED_UP}) first \
         {of_page} LIMIT {limit} OFFSET {offset}"
    ))
}

/// A list, who reads it, and where.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) list: &'a JobList,
    pub(super) viewer: Option<&'a Viewer>,
    pub(super) tables: &'a Tables,
}

impl Request<'_> {
    /// The jobs of the list that the viewer may see.
    pub(super) fn selected(self) -> Selected {
        let mut selected = Selected::new(&self.list.selection, self.tables.clone());
        if let Some(viewer) = self.viewer {
            selected.restrict(viewer, self.list.selection.instrument.is_some());
        }
        selected
    }
}

/// How much is read to select a page.
#[derive(Clone, Copy)]
enum Step {
    /// So many rows in order, whatever matches.
    Near(i64),
    /// So many rows in order, among which the page is expected.
    Far(i64),
    /// All matches.
    All,
}

/// A statement that selects the ids of a page, in order.
///
/// An index of the list table has all that filters by other columns of it need, so that reading it to its
/// end takes no longer than selecting all matches. With texts it does: rows are read in order, as matches
/// may be frequent, but the planner cannot be left to decide that, as it takes columns for independent.
/// If there are too few matches, their share says whether to read more, or all matches.
pub(super) struct PageIds<'a> {
    request: Request<'a>,
    step: Step,
    /// The most rows to read in order.
    farthest: i64,
    sql: String,
    values: Values,
}

impl<'a> PageIds<'a> {
    pub(super) fn first(request: Request<'a>) -> Self {
        let Page { limit, offset } = request.list.page;
        let end = offset.saturating_add(limit);
        let is_walked =
            limit != 0 && end <= LAST_WALKED && needs_texts(&request.selected(), request.list);
        let step = if is_walked {
            Step::Near(NEAR + 2 * end)
        } else {
            Step::All
        };
        Self::at(request, step)
    }

    fn at(request: Request<'a>, step: Step) -> Self {
        let (mut selected, list) = (request.selected(), request.list);
        let sql = match step {
            Step::Near(rows) | Step::Far(rows) if list.ordering.by.is_text() => {
                texts::walk(&mut selected, list, rows)
            }
            Step::Near(rows) | Step::Far(rows) => walk(&mut selected, list, rows),
            Step::All => all(&mut selected, list),
        };
        Self {
            request,
            step,
            farthest: if selected.searches() {
                FARTHEST_SEARCHED
            } else {
                FARTHEST
            },
            sql,
            values: selected.values,
        }
    }
}

impl KeyStatement for PageIds<'_> {
    fn sql(&self) -> &str {
        &self.sql
    }

    fn params(&self) -> Vec<Param<'_>> {
        self.values.params()
    }

    fn after(self, mut selected: Vec<i32>) -> ControlFlow<Vec<i32>, Self> {
        let Page { limit, offset } = self.request.list.page;
        let end = offset.saturating_add(limit);
        let found = i64::try_from(selected.len()).unwrap_or(i64::MAX);
        let step = match self.step {
            Step::All => return ControlFlow::Break(selected),
            Step::Near(_) | Step::Far(_) if found == end => {
                let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
                return ControlFlow::Break(selected.split_off(skipped.min(selected.len())));
            }
            // Half as many again as if the matches were evenly distributed.
            Step::Near(rows) => match (rows * end * 3 / 2).checked_div(found) {
                Some(rows) if rows <= self.farthest => Step::Far(rows),
                _ => Step::All,
            },
            Step::Far(_) => Step::All,
        };
        ControlFlow::Continue(Self::at(self.request, step))
    }
}

/// Whether some of the jobs in the list table are selected by texts or in order of one.
fn needs_texts(selected: &Selected, list: &JobList) -> bool {
    let is_filtered = selected.reads_list_table() && !selected.is_of_all();
    is_filtered && (selected.searches() || list.ordering.by.is_text())
}

/// Selects the ids and sort keys of a page, in order, from all matches.
pub(super) fn all(selected: &mut Selected, list: &JobList) -> String {
    let Page { limit, offset } = list.page;
    let needs_texts = limit != 0 && needs_texts(selected, list);
    if !needs_texts && limit != 0 && list.ordering.by.is_text() && !selected.is_of_instruments() {
        return texts::page(selected, list, limit.saturating_add(offset));
    }
    let order = Order::of(selected, list);
    let (columns, source) = (order.columns(), selected.source());
    let window = limit_offset(&mut selected.values, list.page);
    if needs_texts {
        // `OFFSET 0` keeps the order out of the selection.
        let of_page = order.of_page();
        format!(
            "SELECT id, key FROM (SELECT {columns} {source} OFFSET 0) matches {of_page}{window}"
        )
    } else {
        format!("SELECT {columns} {source} {}{window}", order.of_tables())
    }
}

/// Selects the matches up to the end of the page among the first rows of an order.
fn walk(selected: &mut Selected, list: &JobList, rows: i64) -> String {
    let order = Order::of(selected, list);
    let rows = selected.values.bind(rows, Type::INT8);
    let end = selected
        .values
        .bind(list.page.offset + list.page.limit, Type::INT8);
    // The index of an instrument's jobs has the order of their start.
    let instrument = match selected.instrument() {
        Some(condition) if order.key == "list.start" => format!(" WHERE {condition}"),
        _ => String::new(),
    };
    let (columns, in_order) = (order.columns(), order.of_tables());
    let first =
        format!("(SELECT * FROM fia_api_job_list list{instrument} {in_order} LIMIT {rows})");
    let near = selected.source_of(&first);
    format!("SELECT {columns} {near} {in_order} LIMIT {end}")
}
