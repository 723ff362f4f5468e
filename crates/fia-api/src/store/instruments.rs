//! The table `instruments`.

use tokio_postgres::types::Type;

use crate::model::InstrumentName;
use crate::store::db::Param;
use crate::store::{Db, StoreError};

/// Names of the instruments with live data, in the order they were added.
///
/// # Errors
/// When the database fails.
pub async fn with_live_data(db: &Db) -> Result<Vec<String>, StoreError> {
    let rows = db
        .query(
            "SELECT instrument_name FROM instruments WHERE live_data_support ORDER BY id",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A column that an instrument's clients read and set as a whole.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// The live-data script.
    LiveDataScript,
    /// The specification; its text is JSON, in `jsonb`'s key order when read.
    Specification,
    /// The latest run.
    LatestRun,
}

impl Field {
    fn select(self) -> &'static str {
        match self {
            Self::LiveDataScript => {
                "SELECT live_data_script FROM instruments WHERE instrument_name = $1"
            }
            Self::Specification => {
                "SELECT specification::text FROM instruments WHERE instrument_name = $1"
            }
            Self::LatestRun => "SELECT latest_run FROM instruments WHERE instrument_name = $1",
        }
    }

    fn update(self) -> &'static str {
        match self {
            Self::LiveDataScript => {
                "UPDATE instruments SET live_data_script = $2 WHERE instrument_name = $1"
            }
            Self::Specification => {
                "UPDATE instruments SET specification = $2::text::jsonb WHERE instrument_name = $1"
            }
            Self::LatestRun => "UPDATE instruments SET latest_run = $2 WHERE instrument_name = $1",
        }
    }
}

/// A field of an instrument. The outer `None`: there is no such instrument.
///
/// # Errors
/// When the database fails.
pub async fn field(
    db: &Db,
    field: Field,
    name: &InstrumentName,
) -> Result<Option<Option<String>>, StoreError> {
    let rows = db.query(field.select(), &[text(&name.as_str())]).await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Sets a field of an instrument; `before_commit` runs while its row is locked. Returns whether
/// there is such an instrument.
///
/// # Errors
/// When the database fails; the change may have been made all the same.
pub async fn set_field(
    db: &Db,
    field: Field,
    name: &InstrumentName,
    value: &str,
    before_commit: impl Future<Output = ()>,
) -> Result<bool, StoreError> {
    let name = name.as_str();
    let params = [text(&name), text(&value)];
    db.update(field.update(), &params, before_commit).await
}

fn text<'a>(value: &'a &'a str) -> Param<'a> {
    (value, Type::TEXT)
}
