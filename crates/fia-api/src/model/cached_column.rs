//! The cached columns of the table `instruments`: one declaration each.
//!
//! From a declaration follow the column's cache namespace, its TTL setting, its statements, its
//! invalidation and its part in the change feed's trigger. A further column also needs a line in
//! `cached/columns.rs` (without which that file does not compile), its route and its OpenAPI
//! entry.

/// The declaration of a cached column.
#[derive(Debug)]
pub struct Declaration {
    /// The name of the column in PostgreSQL.
    pub column: &'static str,
    /// The type of its values.
    pub kind: ColumnKind,
    /// The cache namespace, as metrics name it.
    pub namespace: &'static str,
    /// The prefix of its keys in Valkey; the instrument's name follows.
    pub key_prefix: &'static str,
    /// The only field of the payload in Valkey, which is an object.
    pub payload_field: &'static str,
    /// Whether a payload without the field means `null`, as for the legacy server, or is a miss.
    pub is_null_if_absent: bool,
    /// The form of the response body.
    pub body: BodyForm,
    /// The setting of its TTL.
    pub ttl: TtlSetting,
    /// Whether a write clears the traceback of the instrument's live-data processor.
    pub clears_traceback: bool,
}

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `varchar`: a JSON string or `null` on the wire.
    Text,
    /// `jsonb`: any JSON value on the wire.
    Json,
}

/// The form of a column's response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// The value alone.
    Value,
    /// The payload as stored in Valkey: `{"<field>":<value>}`.
    Payload,
}

/// The setting of a TTL, in seconds.
#[derive(Debug)]
pub struct TtlSetting {
    /// The environment variable.
    pub variable: &'static str,
    /// The default.
    pub default_seconds: u64,
    /// The help text.
    pub help: &'static str,
}

macro_rules! cached_columns {
    ($($(#[$doc:meta])* $Column:ident = $declaration:expr;)+) => {
        /// A column of the table `instruments` that clients read and set as a whole.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum CachedColumn {
            $($(#[$doc])* $Column,)+
        }

        impl CachedColumn {
            /// All columns; the position of each is its discriminant.
            pub const ALL: [Self; [$(Self::$Column),+].len()] = [$(Self::$Column),+];

            /// The declaration of the column.
            #[must_use]
            pub const fn declaration(self) -> &'static Declaration {
                match self {
                    $(Self::$Column => const { &$declaration },)+
                }
            }
        }
    };
}

cached_columns! {
    /// The latest run that was recorded.
    LatestRun = Declaration {
        column: "latest_run",
        kind: ColumnKind::Text,
        namespace: "latest_run",
        key_prefix: "fia_api:instrument:latest_run:",
        payload_field: "latest_run",
        is_null_if_absent: false,
        body: BodyForm::Payload,
        ttl: TtlSetting {
            variable: "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
            default_seconds: 15,
            help: "TTL of latest runs in seconds; 0 = not cached.",
        },
        clears_traceback: false,
    };
    /// The specification; read in `jsonb`'s key order.
    Specification = Declaration {
        column: "specification",
        kind: ColumnKind::Json,
        namespace: "specification",
        key_prefix: "fia_api:instrument:spec:",
        payload_field: "specification",
        is_null_if_absent: true,
        body: BodyForm::Value,
        ttl: TtlSetting {
            variable: "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
            default_seconds: 120,
            help: "TTL of specifications in seconds; 0 = not cached.",
        },
        clears_traceback: false,
    };
    /// The live-data script. A new one clears the traceback of the one before.
    LiveDataScript = Declaration {
        column: "live_data_script",
        kind: ColumnKind::Text,
        namespace: "live_data_script",
        key_prefix: "fia_api:live_data:script:",
        payload_field: "script",
        is_null_if_absent: true,
        body: BodyForm::Value,
        ttl: TtlSetting {
            variable: "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
            default_seconds: 60,
            help: "TTL of live-data scripts in seconds; 0 = not cached.",
        },
        clears_traceback: true,
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_columns_share_a_column_a_namespace_a_key_or_a_setting() {
        let parts: [fn(&Declaration) -> &'static str; 4] = [
            |one| one.column,
            |one| one.namespace,
            |one| one.key_prefix,
            |one| one.ttl.variable,
        ];
        for part in parts {
            let distinct = CachedColumn::ALL.map(|column| part(column.declaration()));
            let distinct = BTreeSet::from(distinct);
            assert_eq!(distinct.len(), CachedColumn::ALL.len(), "{distinct:?}");
        }
        for (position, column) in CachedColumn::ALL.into_iter().enumerate() {
            assert_eq!(column as usize, position);
        }
    }
}
