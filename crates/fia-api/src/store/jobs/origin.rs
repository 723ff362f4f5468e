//! Origins of jobs, which determine where their files are.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use crate::model::{InstrumentName, JobOrigin};
use crate::store::jobs::row::{ColumnCursor, JOIN_OWNER, OWNER};
use crate::store::{Db, StoreError};

/// Returns the origins of jobs by id, without those that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn origins(db: &Db, ids: &[i64]) -> Result<HashMap<i64, JobOrigin>, StoreError> {
    let sql = format!(
        "SELECT {OWNER}, jobs.id::bigint, instruments.instrument_name, \
         jobs.job_type::text = 'SIMPLE' FROM jobs {JOIN_OWNER} \
         LEFT JOIN instruments ON instruments.id = jobs.instrument_id WHERE jobs.id = ANY($1)"
    );
    let rows = db.lookup(&sql, &[(&ids, Type::INT8_ARRAY)]).await?;
    let origin = |row| {
        let mut columns = ColumnCursor::of(row);
        let owner = columns.owner()?;
        let id = columns.take()?;
        let instrument: Option<&str> = columns.take()?;
        let origin = JobOrigin {
            owner,
            instrument: instrument.and_then(InstrumentName::new),
            is_simple: columns.take()?,
        };
        Ok((id, origin))
    };
    rows.iter().map(origin).collect()
}
