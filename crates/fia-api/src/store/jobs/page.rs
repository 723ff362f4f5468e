//! The ids and sort keys of a page.

use tokio_postgres::types::Type;

use crate::model::{JobList, OrderBy, Page};
use crate::store::jobs::order::{Order, limit_offset};
use crate::store::jobs::selection::Selected;
use crate::store::jobs::texts;
use crate::store::jobs::values::Values;

/// The rows of an order's index that are read before all matches are selected.
const WALK: i64 = 4_000;
/// The last job of a page that is looked for there.
const LAST_WALKED: i64 = 20_000;

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

/// Selects the ids and sort keys of a page, in order.
pub(super) fn ids(mut selected: Selected, list: &JobList) -> (String, Values) {
    let Page { limit, offset } = list.page;
    let end = limit.saturating_add(offset);
    let is_text = list.ordering.by.is_text();
    let is_filtered = selected.reads_list_table() && !selected.is_of_all();
    let sql = if limit == 0 {
        plain(&mut selected, list)
    } else if is_text && is_filtered && end <= LAST_WALKED {
        texts::walk(&mut selected, list)
    } else if is_text && selected.is_of_instruments() {
        plain(&mut selected, list)
    } else if is_text {
        texts::page(&mut selected, list, end)
    } else if is_filtered {
        walk(&mut selected, list)
    } else {
        plain(&mut selected, list)
    };
    (sql, selected.values)
}

fn plain(selected: &mut Selected, list: &JobList) -> String {
    let order = Order::of(selected, list);
    let window = limit_offset(&mut selected.values, list.page);
    format!(
        "SELECT {} {} {}{window}",
        order.columns(),
        selected.source(),
        order.of_tables()
    )
}

/// Reads a limited number of rows in the order of its index. If too few match, selects all matches
/// and sorts them: the planner takes columns for independent, and would read an index to its end
/// where the matches are far from the page. `OFFSET 0` keeps the order out of that selection.
fn walk(selected: &mut Selected, list: &JobList) -> String {
    let order = Order::of(selected, list);
    let Page { limit, offset } = list.page;
    let end = offset.saturating_add(limit);
    let rows = if end > LAST_WALKED { 0 } else { WALK + 2 * end };
    let rows = selected.values.bind(rows, Type::INT8);
    let window = limit_offset(&mut selected.values, list.page);
    let limit = selected.values.bind(limit, Type::INT8);
    // The index of an instrument's jobs has the order of their start.
    let instrument = match selected.instrument() {
        Some(condition) if order.key == "list.start" => format!(" WHERE {condition}"),
        _ => String::new(),
    };
    let in_order = order.of_tables();
    let first =
        format!("(SELECT * FROM fia_api_job_list list{instrument} {in_order} LIMIT {rows})");
    let (columns, all) = (order.columns(), selected.source());
    let near = selected.source_of(&first);
    let of_page = order.of_page();
    format!(
        "WITH near AS MATERIALIZED (SELECT {columns} {near} {in_order}{window}), \
         found AS MATERIALIZED (SELECT count(*) AS rows FROM near) \
         SELECT id, key FROM near WHERE (SELECT rows FROM found) = {limit} \
         UNION ALL (SELECT id, key FROM ( \
           SELECT {columns} {all} AND (SELECT rows FROM found) < {limit} OFFSET 0 \
         ) matches {of_page}{window})"
    )
}
