//! The order of a list, and its part.

use tokio_postgres::types::Type;

use crate::model::{Direction, JobList, Page};
use crate::store::jobs::selection::Selected;
use crate::store::jobs::tables::Column;
use crate::store::jobs::values::Values;

/// The order of a list: its sort key, and the job id among equal keys.
pub(super) struct Order {
    pub(super) key: &'static str,
    pub(super) id: &'static str,
    pub(super) direction: &'static str,
}

impl Order {
    /// The order of a list, whose columns are joined.
    pub(super) fn of(selected: &mut Selected, list: &JobList) -> Self {
        Self {
            key: selected.column(list.ordering.by),
            id: selected.column(Column::Id),
            direction: direction(list),
        }
    }

    /// The columns of a page.
    pub(super) fn columns(&self) -> String {
        format!("{} AS id, {} AS key", self.id, self.key)
    }

    /// The `ORDER BY` of the tables.
    pub(super) fn of_tables(&self) -> String {
        self.by(self.key, self.id)
    }

    /// The `ORDER BY` of a page.
    pub(super) fn of_page(&self) -> String {
        self.by("key", "id")
    }

    pub(super) fn by(&self, key: &str, id: &str) -> String {
        let direction = self.direction;
        format!("ORDER BY {key} {direction}, {id} {direction}")
    }
}

/// Returns `LIMIT` and `OFFSET`; a zero omits either.
pub(super) fn limit_offset(values: &mut Values, page: Page) -> String {
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
