//! The table `instruments`.

use tokio_postgres::types::Type;

use crate::model::{CachedColumn, ColumnKind, InstrumentName};
use crate::store::begin::Param;
use crate::store::{Db, StoreError, Transaction};

/// The columns by which instruments are selected: their change affects cached reads, too.
const NAME: &str = "instrument_name";
const HAS_LIVE_DATA: &str = "live_data_support";

/// The columns whose change affects a cached read.
pub(super) fn changing_columns() -> impl Iterator<Item = &'static str> {
    let cached = CachedColumn::ALL.into_iter();
    let cached = cached.map(|column| column.declaration().column);
    [NAME].into_iter().chain(cached).chain([HAS_LIVE_DATA])
}

/// Names of the instruments with live data, in the order in which they were added.
///
/// # Errors
/// When the database fails.
pub async fn with_live_data(db: &Db) -> Result<Vec<String>, StoreError> {
    let sql = format!("SELECT {NAME} FROM instruments WHERE {HAS_LIVE_DATA} ORDER BY id");
    let rows = db.lookup(&sql, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The value of an instrument's column; of `jsonb`, its text. The outer `None`: there is no such
/// instrument.
///
/// # Errors
/// When the database fails.
pub async fn column(
    db: &Db,
    column: CachedColumn,
    name: &InstrumentName,
) -> Result<Option<Option<String>>, StoreError> {
    let rows = db.lookup(&select(column), &[text(&name.as_str())]).await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Sets an instrument's column in a transaction that is yet to be committed; `None` if there is
/// no such instrument.
///
/// # Errors
/// When the database fails.
pub async fn set_column(
    db: &Db,
    column: CachedColumn,
    name: &InstrumentName,
    value: &str,
) -> Result<Option<Transaction>, StoreError> {
    let name = name.as_str();
    let params = [text(&name), text(&value)];
    let updated = db.update(&update(column), &params, value.len()).await?;
    Ok(updated.map(|(transaction, _)| transaction))
}

fn select(column: CachedColumn) -> String {
    let declaration = column.declaration();
    let cast = match declaration.kind {
        ColumnKind::Text => "",
        ColumnKind::Json => "::text",
    };
    let column = declaration.column;
    format!("SELECT {column}{cast} FROM instruments WHERE {NAME} = $1")
}

fn update(column: CachedColumn) -> String {
    let declaration = column.declaration();
    let cast = match declaration.kind {
        ColumnKind::Text => "",
        ColumnKind::Json => "::text::jsonb",
    };
    let column = declaration.column;
    format!("UPDATE instruments SET {column} = $2{cast} WHERE {NAME} = $1 RETURNING id")
}

fn text<'a>(value: &'a &'a str) -> Param<'a> {
    (value, Type::TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_the_declared_column() {
        let specification = CachedColumn::Specification;
        assert_eq!(
            select(specification),
            "SELECT specification::text FROM instruments WHERE instrument_name = $1"
        );
        assert_eq!(
            update(specification),
            "UPDATE instruments SET specification = $2::text::jsonb WHERE instrument_name = $1 \
             RETURNING id"
        );
        assert_eq!(
            select(CachedColumn::LatestRun),
            "SELECT latest_run FROM instruments WHERE instrument_name = $1"
        );
        assert_eq!(
            update(CachedColumn::LatestRun),
            "UPDATE instruments SET latest_run = $2 WHERE instrument_name = $1 RETURNING id"
        );
    }
}
