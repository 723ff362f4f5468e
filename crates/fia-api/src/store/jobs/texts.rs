//! Pages in order of a text, whose index has only the short ones.

use tokio_postgres::types::Type;

use crate::model::{Direction, JobList, OrderBy};
use crate::store::jobs::order::{Order, direction, limit_offset};
use crate::store::jobs::selection::Selected;
use crate::store::jobs::tables::Column;

/// Maximum size of an indexed text in bytes, as in `indexes.sql`.
const LONG_TEXT: u32 = 512;

/// Selects a page in order of a text. Only short texts are indexed, so short and long ones are
/// selected separately, each up to the `end` of the page. Not with an instrument filter: its name
/// is in each text, so that all matches may be at the far end of such an index.
pub(super) fn page(selected: &mut Selected, list: &JobList, end: i64) -> String {
    let order = Order::of(selected, list);
    let window = limit_offset(&mut selected.values, list.page);
    let end = selected.values.bind(end, Type::INT8);
    let text = Text::of(list.ordering.by);
    let (short, long) = (text.is_short(), text.is_long());
    let found = format!("SELECT {} {}", order.columns(), selected.source());
    let in_order = order.of_tables();
    format!(
        "SELECT id, key FROM (\
         ({found} AND {short} {in_order} LIMIT {end}) UNION ALL \
         ({found} AND {long} {in_order} LIMIT {end})) parts {}{window}",
        order.of_page()
    )
}

/// Selects the matches up to the end of a page among the first entries of a text's index that meet
/// the conditions on its other columns, from the list table.
///
/// The texts of runs are in order of the run among equal texts, not of the job. So jobs with the
/// last text are left out, of which there may be more. Long texts that precede the last are added;
/// if there are not so many entries, all long texts.
pub(super) fn walk(selected: &mut Selected, list: &JobList, entries: i64) -> String {
    let end = list.page.offset + list.page.limit;
    let entries = selected.values.bind(entries, Type::INT8);
    let text = Text::of(list.ordering.by);
    let Text {
        table,
        id,
        key,
        of_list,
        is_of_run,
        indexed,
    } = text;
    let direction = direction(list);
    let entries_of_index = format!(
        "FROM {table} WHERE {short}{conditions} ORDER BY {key} {direction}, {id} {direction}",
        short = text.is_short(),
        conditions = selected.conditions_on(indexed),
    );
    // Before the order adds its join, which the entries do not need.
    let first = selected.source_of(&format!(
        "(SELECT list.*, entry.key FROM ( \
           SELECT {id} AS entry_id, {key} AS key {entries_of_index} LIMIT {entries} \
         ) entry JOIN fia_api_job_list list ON list.{of_list} = entry.entry_id)",
    ));
    let last = "(SELECT key FROM last)";
    let no_last = "NOT EXISTS (SELECT FROM last)";
    let other_than_last = if is_of_run {
        format!("AND ({no_last} OR list.key IS DISTINCT FROM {last})")
    } else {
        String::new()
    };
    // NULL is the greatest.
    let precedes = match list.ordering.direction {
        Direction::Ascending => format!("coalesce({key} < {last}, true)"),
        Direction::Descending => format!("coalesce({key} > {last}, false)"),
    };
    let order = Order::of(selected, list);
    let (columns, all, long) = (order.columns(), selected.source(), text.is_long());
    let (in_order, of_page) = (order.of_tables(), order.of_page());
    let in_key_order = order.by("list.key", "list.id");
    let end = selected.values.bind(end, Type::INT8);
    format!(
        "WITH last AS MATERIALIZED ( \
           SELECT {key} AS key {entries_of_index} OFFSET {entries} - 1 LIMIT 1) \
         SELECT id, key FROM ( \
           (SELECT list.id, list.key {first} {other_than_last} {in_key_order} LIMIT {end}) \
           UNION ALL \
           (SELECT {columns} {all} AND {long} AND ({no_last} OR {precedes}) \
              {in_order} LIMIT {end}) \
         ) parts {of_page} LIMIT {end}"
    )
}

/// Where a text is.
struct Text {
    table: &'static str,
    id: &'static str,
    key: &'static str,
    /// The column of the list table with the id.
    of_list: &'static str,
    is_of_run: bool,
    /// The other columns of its index.
    indexed: &'static [Column],
}

impl Text {
    fn of(order: OrderBy) -> Self {
        let of_run = |key| Self {
            table: "runs",
            id: "runs.id",
            key,
            of_list: "run_id",
            is_of_run: true,
            indexed: &[Column::Instrument, Column::RunStart, Column::RunEnd],
        };
        match order {
            OrderBy::Filename => of_run("runs.filename"),
            OrderBy::Outputs => Self {
                table: "jobs",
                id: "jobs.id",
                key: "jobs.outputs",
                of_list: "id",
                is_of_run: false,
                indexed: &[Column::State, Column::Start, Column::End],
            },
            _ => of_run("runs.title"),
        }
    }

    fn is_short(&self) -> String {
        format!("{}({} IS NOT TRUE)", self.listed(), self.exceeds_limit())
    }

    fn is_long(&self) -> String {
        format!("{}{}", self.listed(), self.exceeds_limit())
    }

    fn exceeds_limit(&self) -> String {
        format!("(octet_length({}) > {LONG_TEXT})", self.key)
    }

    /// What the indexes of outputs require, as they have only those of listed jobs.
    fn listed(&self) -> &'static str {
        if self.is_of_run {
            ""
        } else {
            "jobs.run_id IS NOT NULL AND "
        }
    }
}
