//! Encoding of timestamps for PostgreSQL.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::model::Timestamp;
use crate::model::input::SentTimestamp;

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

/// Fails for a timestamp that was not parsed: its year could be one that makes the older server's
/// lists fail.
impl ToSql for SentTimestamp {
    fn to_sql(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Parsed(timestamp) => timestamp.to_sql(of, out),
            Self::Text(_) => Err("a timestamp was not parsed before it was stored".into()),
        }
    }

    accepts!(TIMESTAMP);
    to_sql_checked!();
}

/// A timestamp as text that PostgreSQL parses: it accepts whatever PostgreSQL does (`2020-01-01`,
/// `now`, `infinity`), and a time zone is ignored.
///
/// Sent in the text format of `timestamp`, not as a `text` to be cast: an invalid value is then
/// rejected when the statement starts, whether or not there are rows to compare it with.
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
