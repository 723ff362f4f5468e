//! Moments on their way to and from PostgreSQL.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::model::Timestamp;

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::from_micros(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMP);
}

impl ToSql for Timestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.micros());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMP);
    to_sql_checked!();
}

/// A moment as a text that PostgreSQL is to read: whatever it understands is understood
/// (`2020-01-01`, `now`, `infinity`), and a zone is ignored.
///
/// Sent as the text of a `timestamp`, not as a `text` to be cast: so what cannot be read is
/// found when the statement begins, with or without rows to compare it with.
#[derive(Debug)]
pub(super) struct TimestampText(pub(super) String);

impl ToSql for TimestampText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    accepts!(TIMESTAMP);
    to_sql_checked!();
}
