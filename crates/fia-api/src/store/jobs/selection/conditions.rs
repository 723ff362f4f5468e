//! The conditions of filters, in SQL.

use tokio_postgres::types::Type;

use super::{NONE, Selected};
use crate::model::{Condition, JobState, TimeField};
use crate::store::jobs::tables::{Column, Tables};

impl Selected {
    /// The condition of a filter.
    pub(super) fn predicate(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::InstrumentIn(names) => self.instrument_in(names),
            Condition::StateIn(states) => self.state_in(states),
            Condition::ExperimentIn(numbers) => {
                let numbers = self.values.bind(numbers.clone(), Type::INT4_ARRAY);
                format!("{} = ANY({numbers})", self.column(Column::ExperimentNumber))
            }
            Condition::ExperimentAtMost(number) => self.compare_experiment("<=", *number),
            Condition::ExperimentAtLeast(number) => self.compare_experiment(">=", *number),
            Condition::Contains(field, text) => {
                self.searches = true;
                let pattern = self.values.text_containing(text);
                format!("{} ILIKE {pattern}", self.column(*field))
            }
            Condition::Before(field, text) => self.compare(*field, "<", text),
            Condition::After(field, text) => self.compare(*field, ">", text),
        }
    }

    fn compare_experiment(&mut self, operator: &str, number: i64) -> String {
        let column = self.column(Column::ExperimentNumber);
        let number = self.values.bind(number, Type::INT8);
        format!("{column} {operator} {number}")
    }

    fn compare(&mut self, field: TimeField, operator: &str, text: &str) -> String {
        self.has_times = true;
        let timestamp = self.values.timestamp(text.to_owned());
        self.comparison(field, format!("{operator} {timestamp}"))
    }

    /// Compares a column of its own table.
    fn comparison(&mut self, column: impl Into<Column>, comparison: String) -> String {
        let column = column.into();
        let condition = format!("{} {comparison}", self.column(column));
        self.comparisons.push((column, comparison));
        condition
    }

    /// Compares a single state with `=`, so that an index can return its jobs in order.
    fn state_in(&mut self, states: &[JobState]) -> String {
        if let [state] = states {
            let state = self.values.text(state.name().to_owned());
            return self.comparison(Column::State, format!("= {state}::state"));
        }
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let names = self.values.bind(names, Type::TEXT_ARRAY);
        self.comparison(Column::State, format!("= ANY({names}::state[])"))
    }

    /// Compares the run's instrument.
    pub(super) fn instrument_in(&mut self, names: &[String]) -> String {
        self.is_of_instruments = true;
        let Tables::ListTable(ids) = &self.tables else {
            return self.instrument_name_in(names);
        };
        let ids: Vec<i32> = names
            .iter()
            .filter_map(|name| ids.get(name).copied())
            .collect();
        match ids.as_slice() {
            [] => NONE.to_owned(),
            [id] => {
                let id = self.values.bind(*id, Type::INT4);
                self.instrument = Some(format!("instrument_id = {id}"));
                self.comparison(Column::Instrument, format!("= {id}"))
            }
            _ => {
                let ids = self.values.bind(ids, Type::INT4_ARRAY);
                self.comparison(Column::Instrument, format!("= ANY({ids})"))
            }
        }
    }

    /// Compares the instrument by name. For a name without runs, PostgreSQL would walk the index of
    /// the order to its end, in vain; a condition that it evaluates first avoids that.
    fn instrument_name_in(&mut self, names: &[String]) -> String {
        let comparison = match names {
            [name] => format!("= {}", self.values.text(name.clone())),
            _ => format!(
                "= ANY({})",
                self.values.bind(names.to_vec(), Type::TEXT_ARRAY)
            ),
        };
        self.one_time_conditions.push(format!(
            "EXISTS (SELECT FROM instruments known \
             JOIN runs of_known ON of_known.instrument_id = known.id \
             WHERE known.instrument_name {comparison})"
        ));
        let column = "instruments.instrument_name";
        self.joins.add(column);
        format!("{column} {comparison}")
    }
}
