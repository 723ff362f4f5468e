//! What requests about jobs say.

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Fields, FromBody, FromInput, Input, Query, RawBody, ValidationErrors};
use crate::model::{
    BadFilter, Direction, Filters, InstrumentName, JobChanges, JobList, JobState, OrderBy,
    Ordering, Page, Selection, Timestamp,
};
use crate::store::jobs::parse_timestamp;
use crate::store::{Db, StoreError};

/// The segment `{job_id}`. Beyond the database's integers there are no jobs.
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
                by: query.choice("order_by", OrderBy::Start, OrderBy::parse),
                direction: query.choice("order_direction", Direction::Descending, Direction::parse),
            },
            include_run: query.flag("include_run"),
            filters: query.text("filters").map(Into::into),
            as_user: query.flag("as_user"),
        })
    }
}

impl List {
    /// The list for this caller: staff see all jobs, or on demand what they see as users.
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

/// What is to be changed of a job, with the moments as they were sent.
pub(in crate::routes) struct Changes {
    changes: JobChanges,
    start: Option<String>,
    end: Option<String>,
}

impl FromBody for Changes {
    fn parse(body: &RawBody, errors: &mut ValidationErrors) -> Option<Self> {
        let fields = Fields::of(body, errors)?;
        let mut text = |name| {
            let text = fields.optional_string(name, errors)?;
            // What the database cannot store is left out: the watcher would try for ever.
            Some(text.replace('\0', ""))
        };
        let state = text("state");
        let changes = JobChanges {
            state: state.as_deref().and_then(JobState::parse),
            status_message: text("status_message"),
            outputs: text("outputs"),
            stacktrace: text("stacktrace"),
            start: None,
            end: None,
        };
        let (start, end) = (text("start"), text("end"));
        if state.is_some() && changes.state.is_none() {
            errors.add(
                "enum",
                &["body", "state"],
                "Input should be a state of jobs",
            );
        }
        Some(Self {
            changes,
            start: start.filter(|text| is_given(text)),
            end: end.filter(|text| is_given(text)),
        })
    }
}

/// The watcher sends `None` for a moment that it does not know.
fn is_given(moment: &str) -> bool {
    !matches!(moment.trim(), "" | "None")
}

impl Changes {
    /// Has the database read the moments.
    pub(super) async fn resolve_timestamps(self, db: &Db) -> Result<JobChanges, ApiError> {
        let mut errors = ValidationErrors::default();
        let changes = JobChanges {
            start: resolve_timestamp(db, "start", self.start, &mut errors).await?,
            end: resolve_timestamp(db, "end", self.end, &mut errors).await?,
            ..self.changes
        };
        if errors.is_empty() {
            Ok(changes)
        } else {
            Err(errors.into_error())
        }
    }
}

/// What the database reads from a moment's text, or what is wrong with it.
pub(super) async fn resolve_timestamp(
    db: &Db,
    name: &str,
    text: Option<String>,
    errors: &mut ValidationErrors,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let loc = ["body", name];
    match parse_timestamp(db, &text).await {
        Ok(moment) if moment.is_readable() => return Ok(Some(moment)),
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
