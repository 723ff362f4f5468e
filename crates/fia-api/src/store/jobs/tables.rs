//! The tables that lists and counts read.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use crate::model::{Condition, OrderBy, Selection, TextField, TimeField};
use crate::store::{Db, StoreError};

/// The tables with the values that lists of jobs filter and order by.
#[derive(Clone)]
pub(super) enum Tables {
    /// `jobs` and `runs`, and the owners and instruments of runs.
    Sources,
    /// The list table, with the ids of the instruments that the selection names: the planner has
    /// statistics of ids.
    ListTable(HashMap<String, i32>),
}

/// A value that lists filter or order by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Start,
    End,
    State,
    Outputs,
    RunStart,
    RunEnd,
    Title,
    Filename,
    Instrument,
    ExperimentNumber,
    UserNumber,
}

impl Tables {
    /// The tables to read now.
    async fn of(db: &Db, selection: &Selection) -> Result<Self, StoreError> {
        if !db.list_table.is_usable() {
            return Ok(Self::Sources);
        }
        let names = names(selection);
        if names.is_empty() {
            return Ok(Self::ListTable(HashMap::new()));
        }
        let sql = "SELECT instrument_name, id FROM instruments WHERE instrument_name = ANY($1)";
        let rows = db.lookup(sql, &[(&names, Type::TEXT_ARRAY)]).await?;
        let ids = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(Self::ListTable(ids.collect::<Result<_, StoreError>>()?))
    }

    /// The name of a column.
    pub(super) fn column(&self, column: Column) -> &'static str {
        let is_list_table = matches!(self, Self::ListTable(_));
        let of_list = |list, source| if is_list_table { list } else { source };
        match column {
            Column::Id => of_list("list.id", "jobs.id"),
            Column::Start => of_list("list.start", "jobs.start"),
            Column::End => of_list("list.\"end\"", "jobs.\"end\""),
            Column::State => of_list("list.state", "jobs.state"),
            Column::Instrument => of_list("list.instrument_id", "runs.instrument_id"),
            Column::RunStart => of_list("list.run_start", "runs.run_start"),
            Column::RunEnd => of_list("list.run_end", "runs.run_end"),
            Column::ExperimentNumber => {
                of_list("list.experiment_number", "owners.experiment_number")
            }
            Column::UserNumber => of_list("list.user_number", "owners.user_number"),
            Column::Outputs => "jobs.outputs",
            Column::Title => "runs.title",
            Column::Filename => "runs.filename",
        }
    }
}

/// Reads from the list table if it is usable. If the database rejects that, the table may have been
/// dropped, and the sources are read.
pub(super) async fn read<'a, T>(
    db: &'a Db,
    selection: &'a Selection,
    attempt: impl Fn(Tables) -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let tables = Tables::of(db, selection).await?;
    let is_list_table = matches!(tables, Tables::ListTable(_));
    match attempt(tables).await {
        Err(StoreError::Refused(error)) if is_list_table => {
            tracing::debug!(error = %error, "list table not readable");
            db.list_table.set(false);
            attempt(Tables::Sources).await
        }
        done => done,
    }
}

fn names(selection: &Selection) -> Vec<&str> {
    let path = selection.instrument.iter().map(|name| name.as_str());
    let conditions = selection.filters.conditions().iter();
    let filters = conditions.flat_map(|condition| match condition {
        Condition::InstrumentIn(names) => names.as_slice(),
        _ => &[],
    });
    path.chain(filters.map(String::as_str)).collect()
}

impl From<OrderBy> for Column {
    fn from(order: OrderBy) -> Self {
        match order {
            OrderBy::Start => Self::Start,
            OrderBy::End => Self::End,
            OrderBy::State => Self::State,
            OrderBy::Id => Self::Id,
            OrderBy::Outputs => Self::Outputs,
            OrderBy::RunStart => Self::RunStart,
            OrderBy::RunEnd => Self::RunEnd,
            OrderBy::ExperimentTitle => Self::Title,
            OrderBy::Filename => Self::Filename,
            OrderBy::ExperimentNumber => Self::ExperimentNumber,
        }
    }
}

impl From<TimeField> for Column {
    fn from(field: TimeField) -> Self {
        match field {
            TimeField::JobStart => Self::Start,
            TimeField::JobEnd => Self::End,
            TimeField::RunStart => Self::RunStart,
            TimeField::RunEnd => Self::RunEnd,
        }
    }
}

impl From<TextField> for Column {
    fn from(field: TextField) -> Self {
        match field {
            TextField::Title => Self::Title,
            TextField::Filename => Self::Filename,
        }
    }
}
