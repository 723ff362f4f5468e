//! The inputs of requests about jobs.

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{FromInput, Input, Query};
use crate::model::input::{FromObject, SentTimestamp, ValidationErrors};
use crate::model::{
    BadFilter, Direction, Filters, InstrumentName, JobList, OrderBy, Ordering, Page, Selection,
    Timestamp,
};
use crate::store::jobs::parse_timestamp;
use crate::store::{Db, StoreError};

/// The path parameter `{job_id}`, clamped to 64 bits.
pub(in crate::routes) struct JobId(pub(super) i64);

impl FromInput for JobId {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        input.path_integer("job_id", errors).map(Self)
    }
}

/// The query of a count.
pub(in crate::routes) struct Count {
    pub(super) filters: Option<String>,
}

impl FromInput for Count {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let filters = Query::of(input, errors).text("filters");
        Some(Self {
            filters: filters.map(Into::into),
        })
    }
}

/// The query of a list.
pub(in crate::routes) struct List {
    page: Page,
    ordering: Ordering,
    include_run: bool,
    filters: Option<String>,
    as_user: bool,
}

impl FromInput for List {
    fn parse(input: &Input, errors: &mut ValidationErrors) -> Option<Self> {
        let mut query = Query::of(input, errors);
        Some(Self {
            page: Page {
                limit: query.count("limit"),
                offset: query.count("offset"),
            },
            ordering: Ordering {
                by: query.choice("order_by", OrderBy::Start, &OrderBy::ALL, OrderBy::name),
                direction: query.choice(
                    "order_direction",
                    Direction::Descending,
                    &Direction::ALL,
                    Direction::name,
                ),
            },
            include_run: query.flag("include_run"),
            filters: query.text("filters").map(Into::into),
            as_user: query.flag("as_user"),
        })
    }
}

impl List {
    /// The list for a caller: staff see all jobs, or with `as_user` what they see as users.
    pub(super) fn of(
        self,
        instrument: Option<InstrumentName>,
        caller: Caller,
    ) -> Result<JobList, BadFilter> {
        let restricted = self.as_user || matches!(caller, Caller::User { .. });
        Ok(JobList {
            selection: Selection {
                instrument,
                filters: Filters::parse(self.filters.as_deref())?,
            },
            user_number: restricted.then_some(caller.user_number()),
            page: self.page,
            ordering: self.ordering,
            include_run: self.include_run,
        })
    }
}

/// Has the database parse the timestamps of a body.
///
/// # Errors
/// [`ApiError::Invalid`] for texts that are no timestamps and for those that the older server
/// cannot read back; [`ApiError::Unavailable`] if the database fails.
pub(super) async fn resolve_timestamps(
    db: &Db,
    body: &mut impl FromObject,
) -> Result<(), ApiError> {
    let mut errors = ValidationErrors::default();
    let mut found = Vec::new();
    body.timestamps("", &mut found);
    for (name, sent) in found {
        if let SentTimestamp::Text(text) = sent
            && let Some(timestamp) = parse(db, name, text, &mut errors).await?
        {
            *sent = SentTimestamp::Parsed(timestamp);
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.into())
    }
}

async fn parse(
    db: &Db,
    name: &str,
    text: &str,
    errors: &mut ValidationErrors,
) -> Result<Option<Timestamp>, StoreError> {
    let loc = ["body", name];
    match parse_timestamp(db, text).await {
        Ok(timestamp) if timestamp.is_readable() => return Ok(Some(timestamp)),
        Ok(_) => errors.add(
            "datetime_range",
            &loc,
            "Input should be of the years 1 to 9999",
        ),
        Err(StoreError::BadValue(_)) => {
            errors.add("datetime_parsing", &loc, "Input should be a valid datetime");
        }
        Err(error) => return Err(error),
    }
    Ok(None)
}
