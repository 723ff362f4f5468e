//! Translation of a selection of jobs into `FROM` and `WHERE`.

mod conditions;

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::types::Type;

use crate::model::Selection;
use crate::store::jobs::joins::Joins;
use crate::store::jobs::tables::{Column, Tables};
use crate::store::jobs::values::Values;

/// A user who may see only their own jobs.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The user number.
    pub user_number: i32,
    /// The numbers of the experiments they take part in.
    pub experiments: Arc<[i64]>,
}

/// The condition on every job that is listed or counted.
pub(super) const HAS_RUN: &str = "jobs.run_id IS NOT NULL";

/// The condition that selects no job. PostgreSQL reads nothing for it.
const NONE: &str = "false";

/// The jobs to be listed or counted: joined tables and conditions.
pub(super) struct Selected {
    tables: Tables,
    joins: Joins,
    searches: bool,
    has_times: bool,
    is_of_instruments: bool,
    instrument: Option<String>,
    conditions: Vec<String>,
    /// The conditions on one column, without its name.
    comparisons: Vec<(Column, String)>,
    /// Conditions on no row of the selection: PostgreSQL evaluates them once, and scans nothing
    /// if one is false.
    one_time_conditions: Vec<String>,
    pub(super) values: Values,
}

impl Selected {
    pub(super) fn new(selection: &Selection, tables: Tables) -> Self {
        let conditions = match tables {
            // Implied by the join with runs, but the partial indexes need it.
            Tables::Sources => vec![HAS_RUN.to_owned()],
            Tables::ListTable(_) => Vec::new(),
        };
        let mut selected = Self {
            tables,
            joins: Joins::default(),
            searches: false,
            has_times: false,
            is_of_instruments: false,
            instrument: None,
            conditions,
            comparisons: Vec::new(),
            one_time_conditions: Vec::new(),
            values: Values::default(),
        };
        if let Some(name) = &selection.instrument {
            let condition = selected.instrument_in(&[name.as_str().to_owned()]);
            selected.require(condition);
        }
        for condition in selection.filters.conditions() {
            let condition = selected.predicate(condition);
            selected.require(condition);
        }
        selected
    }

    /// Restricts the selection to jobs that a user may see: for all instruments, those of their
    /// experiments; for one instrument, their own as well (inherited from the legacy server).
    pub(super) fn restrict(&mut self, viewer: &Viewer, of_one_instrument: bool) {
        // The column holds no larger numbers.
        let experiments = viewer.experiments.iter();
        let experiments: Vec<i32> = experiments.filter_map(|n| i32::try_from(*n).ok()).collect();
        let experiments = self.values.bind(experiments, Type::INT4_ARRAY);
        let column = self.column(Column::ExperimentNumber);
        let mut condition = format!("{column} = ANY({experiments})");
        if of_one_instrument {
            let user = self.values.bind(viewer.user_number, Type::INT4);
            let column = self.column(Column::UserNumber);
            condition = format!("({condition} OR {column} = {user})");
        }
        self.require(condition);
    }

    /// Whether the selection is limited to certain instruments.
    pub(super) fn is_of_instruments(&self) -> bool {
        self.is_of_instruments
    }

    /// Whether texts are searched.
    pub(super) fn searches(&self) -> bool {
        self.searches
    }

    /// Whether the list table is read.
    pub(super) fn reads_list_table(&self) -> bool {
        matches!(self.tables, Tables::ListTable(_))
    }

    /// Whether all listed jobs are selected.
    pub(super) fn is_of_all(&self) -> bool {
        match self.tables {
            Tables::Sources => self.conditions == [HAS_RUN],
            Tables::ListTable(_) => self.conditions.is_empty(),
        }
    }

    /// Whether no job is selected, as the instruments are unknown, and no value can be invalid:
    /// PostgreSQL checks timestamps.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_times && self.conditions.iter().any(|condition| condition == NONE)
    }

    /// Whether the jobs of one instrument are selected from the list table, all of them.
    pub(super) fn is_of_an_instrument(&self) -> bool {
        self.instrument.is_some() && self.conditions.len() == 1
    }

    /// The condition of the list table on the only instrument.
    pub(super) fn instrument(&self) -> Option<&str> {
        self.instrument.as_deref()
    }

    /// The conditions on these columns of a source table, each after `AND`.
    pub(super) fn conditions_on(&self, columns: &[Column]) -> String {
        let comparisons = self.comparisons.iter();
        comparisons
            .filter(|(column, _)| columns.contains(column))
            .map(|(column, comparison)| {
                format!(" AND {} {comparison}", Tables::Sources.column(*column))
            })
            .collect()
    }

    /// Returns a column, and joins its table.
    pub(super) fn column(&mut self, column: impl Into<Column>) -> &'static str {
        let name = self.tables.column(column.into());
        self.joins.add(name);
        name
    }

    pub(super) fn require(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// Returns the only condition besides [`HAS_RUN`] and its complement, NULL included. `None`
    /// if there are more or none, if it is not on runs, or if it searches texts.
    pub(super) fn only_condition(&self) -> Option<(&str, String)> {
        let [_, condition] = self.conditions.as_slice() else {
            return None;
        };
        if !self.joins.runs || self.searches {
            return None;
        }
        // Only the experiment number may be NULL. An index supports NOT, but not IS NOT TRUE.
        let others = if self.joins.owners {
            format!("({condition}) IS NOT TRUE")
        } else {
            format!("NOT ({condition})")
        };
        Some((condition, others))
    }

    /// The joined tables.
    pub(super) fn joins(&self) -> &Joins {
        &self.joins
    }

    /// Returns `FROM … WHERE …`.
    pub(super) fn source(&self) -> String {
        match &self.tables {
            Tables::Sources => {
                format!("FROM jobs{}{}", self.joins.of_jobs(), self.conditions())
            }
            Tables::ListTable(_) => format!(
                "FROM fia_api_job_list list{}{}",
                self.joins.of_list(),
                self.conditions()
            ),
        }
    }

    /// Returns `FROM … WHERE …` of a few rows of the list table.
    pub(super) fn source_of(&self, rows: &str) -> String {
        format!(
            "FROM {rows} list{}{}",
            self.joins.of_rows(),
            self.conditions()
        )
    }

    fn conditions(&self) -> String {
        let mut sql = " WHERE true".to_owned();
        for condition in self.conditions.iter().chain(&self.one_time_conditions) {
            // Writing to a String cannot fail.
            let _ = write!(sql, " AND {condition}");
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Filters, InstrumentName};

    #[test]
    fn an_instrument_is_looked_up_before_its_jobs() {
        let selection = |name: Option<&str>, filters| Selection {
            instrument: name.and_then(InstrumentName::new),
            filters: Filters::parse(filters).unwrap(),
        };
        for (selection, comparison) in [
            (selection(Some("mari"), None), "= $1"),
            (
                selection(None, Some(r#"{"instrument_in":["MARI","LET"]}"#)),
                "= ANY($1)",
            ),
        ] {
            let selected = Selected::new(&selection, Tables::Sources);
            let source = selected.source();
            let looked_up = format!("known.instrument_name {comparison})");
            assert!(source.ends_with(&looked_up), "{source}");
            // It is no condition on a job, whose complement could be counted.
            assert!(selected.only_condition().is_some());
        }
        let others = Selected::new(&selection(None, None), Tables::Sources);
        assert!(!others.source().contains("EXISTS"));
    }
}
