//! The ids and sort keys of a page.

use tokio_postgres::types::Type;

use crate::model::{Direction, JobList, OrderBy, Page};
use crate::store::jobs::selection::Selected;
use crate::store::jobs::tables::Column;
use crate::store::jobs::values::Values;

/// Maximum size of an indexed text in bytes, as in `indexes.sql`.
const LONG_TEXT: u32 = 512;
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
    let order = Order::of(&mut selected, list);
    let Page { limit, offset } = list.page;
    let is_text = list.ordering.by.is_text();
    let sql = if limit == 0 {
        plain(&mut selected, &order, list.page)
    } else if is_text && !selected.is_of_instruments() {
        let end = limit.saturating_add(offset);
        of_texts(&mut selected, &order, list.page, end)
    } else if !is_text && selected.reads_list_table() && !selected.is_of_all() {
        walk(&mut selected, &order, list.page)
    } else {
        plain(&mut selected, &order, list.page)
    };
    (sql, selected.values)
}

struct Order {
    key: &'static str,
    id: &'static str,
    direction: &'static str,
}

impl Order {
    fn of(selected: &mut Selected, list: &JobList) -> Self {
        Self {
            key: selected.column(list.ordering.by),
            id: selected.column(Column::Id),
            direction: direction(list),
        }
    }

    /// The columns of a page.
    fn columns(&self) -> String {
        format!("{} AS id, {} AS key", self.id, self.key)
    }

    fn of_tables(&self) -> String {
        self.by(self.key, self.id)
    }

    fn of_page(&self) -> String {
        self.by("key", "id")
    }

    fn by(&self, key: &str, id: &str) -> String {
        let direction = self.direction;
        format!("ORDER BY {key} {direction}, {id} {direction}")
    }
}

fn plain(selected: &mut Selected, order: &Order, page: Page) -> String {
    let window = limit_offset(&mut selected.values, page);
    format!(
        "SELECT {} {} {}{window}",
        order.columns(),
        selected.source(),
        order.of_tables()
    )
}

/// Only short texts are indexed, so short and long texts are selected separately, each up to the
/// `end` of the page. Not with an instrument filter: its name is in each text, so that all matches
/// may be at the far end of such an index.
fn of_texts(selected: &mut Selected, order: &Order, page: Page, end: i64) -> String {
    let window = limit_offset(&mut selected.values, page);
    let end = selected.values.bind(end, Type::INT8);
    let is_long = format!("octet_length({}) > {LONG_TEXT}", order.key);
    let found = format!("SELECT {} {}", order.columns(), selected.source());
    let in_order = order.of_tables();
    format!(
        "SELECT id, key FROM (\
         ({found} AND ({is_long}) IS NOT TRUE {in_order} LIMIT {end}) UNION ALL \
         ({found} AND {is_long} {in_order} LIMIT {end})) parts {}{window}",
        order.of_page()
    )
}

/// Reads a limited number of rows in the order of its index. If too few match, selects all matches
/// and sorts them: the planner takes columns for independent, and would read an index to its end
/// where the matches are far from the page. `OFFSET 0` keeps the order out of that selection.
fn walk(selected: &mut Selected, order: &Order, page: Page) -> String {
    let Page { limit, offset } = page;
    let end = offset.saturating_add(limit);
    let rows = if end > LAST_WALKED { 0 } else { WALK + 2 * end };
    let rows = selected.values.bind(rows, Type::INT8);
    let window = limit_offset(&mut selected.values, page);
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

/// Returns `LIMIT` and `OFFSET`; a zero omits either.
fn limit_offset(values: &mut Values, page: Page) -> String {
    let mut sql = String::new();
    for (word, rows) in [("LIMIT", page.limit), ("OFFSET", page.offset)] {
        if rows != 0 {
            let rows = values.bind(rows, Type::INT8);
            sql.push_str(&format!(" {word} {rows}"));
        }
    }
    sql
}

pub(super) fn direction(list: &JobList) -> &'static str {
    match list.ordering.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}
