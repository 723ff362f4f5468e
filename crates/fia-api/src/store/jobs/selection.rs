//! Translation of a selection of jobs into `FROM` and `WHERE`.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::types::Type;

use crate::model::{Condition, JobState, OrderBy, Selection, TextField, TimeField};
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

/// The jobs to be listed or counted: joined tables and conditions.
pub(super) struct Selected {
    joins: Joins,
    searches: bool,
    conditions: Vec<String>,
    /// Conditions on no row of the selection: PostgreSQL evaluates them once, and scans nothing
    /// if one is false.
    one_time_conditions: Vec<String>,
    pub(super) values: Values,
}

/// The tables that a statement joins with `jobs`. Each job has at most one row of each, so
/// omitting a join that is not needed does not change the result.
#[derive(Default)]
struct Joins {
    runs: bool,
    owners: bool,
    instruments: bool,
}

impl Selected {
    pub(super) fn new(selection: &Selection) -> Self {
        let mut selected = Self {
            joins: Joins::default(),
            searches: false,
            // Implied by the join with runs, but the partial indexes need it.
            conditions: vec![HAS_RUN.to_owned()],
            one_time_conditions: Vec::new(),
            values: Values::default(),
        };
        if let Some(name) = &selection.instrument {
            let name = selected.values.text(name.as_str().to_owned());
            let condition = selected.instrument(&format!("= {name}"));
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
        let column = self.experiment_number();
        let mut condition = format!("{column} = ANY({experiments})");
        if of_one_instrument {
            let user = self.values.bind(viewer.user_number, Type::INT4);
            condition = format!("({condition} OR owners.user_number = {user})");
        }
        self.require(condition);
    }

    /// Whether the selection is limited to certain instruments.
    pub(super) fn is_of_instruments(&self) -> bool {
        self.joins.instruments
    }

    /// Returns the expression of an order.
    pub(super) fn sort_key(&mut self, by: OrderBy) -> &'static str {
        match by {
            OrderBy::Start => "jobs.start",
            OrderBy::End => "jobs.\"end\"",
            OrderBy::State => "jobs.state",
            OrderBy::Id => "jobs.id",
            OrderBy::Outputs => "jobs.outputs",
            OrderBy::RunStart => self.of_run("runs.run_start"),
            OrderBy::RunEnd => self.of_run("runs.run_end"),
            OrderBy::ExperimentTitle => self.of_run("runs.title"),
            OrderBy::Filename => self.of_run("runs.filename"),
            OrderBy::ExperimentNumber => self.experiment_number(),
        }
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

    /// Returns the joins with `jobs`.
    pub(super) fn joins(&self) -> String {
        let run = if self.joins.runs {
            " JOIN runs ON runs.id = jobs.run_id"
        } else {
            ""
        };
        format!("{run}{}", self.joins_of_runs())
    }

    /// Returns the joins with `runs`.
    pub(super) fn joins_of_runs(&self) -> String {
        let mut sql = String::new();
        if self.joins.owners {
            sql.push_str(" JOIN job_owners owners ON owners.id = runs.owner_id");
        }
        if self.joins.instruments {
            sql.push_str(" JOIN instruments ON instruments.id = runs.instrument_id");
        }
        sql
    }

    /// Returns `FROM … WHERE …`.
    pub(super) fn source(&self) -> String {
        let mut sql = format!("FROM jobs{}", self.joins());
        let conditions = self.conditions.iter().chain(&self.one_time_conditions);
        for (i, condition) in conditions.enumerate() {
            let word = if i == 0 { "WHERE" } else { "AND" };
            // Writing to a String cannot fail.
            let _ = write!(sql, " {word} {condition}");
        }
        sql
    }

    fn predicate(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::InstrumentIn(names) => {
                let names = self.values.bind(names.clone(), Type::TEXT_ARRAY);
                self.instrument(&format!("= ANY({names})"))
            }
            Condition::StateIn(states) => self.state_in(states),
            Condition::ExperimentIn(numbers) => {
                let numbers = self.values.bind(numbers.clone(), Type::INT4_ARRAY);
                format!("{} = ANY({numbers})", self.experiment_number())
            }
            Condition::ExperimentAtMost(number) => {
                let number = self.values.bind(*number, Type::INT8);
                format!("{} <= {number}", self.experiment_number())
            }
            Condition::ExperimentAtLeast(number) => {
                let number = self.values.bind(*number, Type::INT8);
                format!("{} >= {number}", self.experiment_number())
            }
            Condition::Contains(field, text) => {
                let pattern = self.values.text(containing(text));
                format!("{} ILIKE {pattern}", self.text_field(*field))
            }
            Condition::Before(field, text) => {
                let timestamp = self.values.timestamp(text.clone());
                format!("{} < {timestamp}", self.time_field(*field))
            }
            Condition::After(field, text) => {
                let timestamp = self.values.timestamp(text.clone());
                format!("{} > {timestamp}", self.time_field(*field))
            }
        }
    }

    /// Compares a single state with `=`, so that an index can return its jobs in order.
    fn state_in(&mut self, states: &[JobState]) -> String {
        if let [state] = states {
            let state = self.values.text(state.name().to_owned());
            return format!("jobs.state = {state}::state");
        }
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let names = self.values.bind(names, Type::TEXT_ARRAY);
        format!("jobs.state = ANY({names}::state[])")
    }

    fn text_field(&mut self, field: TextField) -> &'static str {
        self.searches = true;
        self.of_run(match field {
            TextField::Title => "runs.title",
            TextField::Filename => "runs.filename",
        })
    }

    fn time_field(&mut self, field: TimeField) -> &'static str {
        match field {
            TimeField::JobStart => "jobs.start",
            TimeField::JobEnd => "jobs.\"end\"",
            TimeField::RunStart => self.of_run("runs.run_start"),
            TimeField::RunEnd => self.of_run("runs.run_end"),
        }
    }

    fn of_run(&mut self, column: &'static str) -> &'static str {
        self.joins.runs = true;
        column
    }

    fn experiment_number(&mut self) -> &'static str {
        self.joins.owners = true;
        self.of_run("owners.experiment_number")
    }

    /// Returns the condition that the instrument's name compares so. For a name without runs,
    /// PostgreSQL would otherwise walk the index of the order to its end, in vain.
    fn instrument(&mut self, comparison: &str) -> String {
        self.joins.instruments = true;
        self.one_time_conditions.push(format!(
            "EXISTS (SELECT FROM instruments known \
             JOIN runs of_known ON of_known.instrument_id = known.id \
             WHERE known.instrument_name {comparison})"
        ));
        let column = self.of_run("instruments.instrument_name");
        format!("{column} {comparison}")
    }
}

/// Returns the `LIKE` pattern of texts that contain this one, with its wildcards escaped.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
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
                selection(None, Some(r#"{"instrument_in":["MARI"]}"#)),
                "= ANY($1)",
            ),
        ] {
            let selected = Selected::new(&selection);
            let source = selected.source();
            let looked_up = format!("known.instrument_name {comparison})");
            assert!(source.ends_with(&looked_up), "{source}");
            // It is no condition on a job, whose complement could be counted.
            assert!(selected.only_condition().is_some());
        }
        let others = Selected::new(&selection(None, None));
        assert!(!others.source().contains("EXISTS"));
    }
}
