//! The parameters of a list or count of jobs.

use serde_json::{Map, Value};

use crate::model::canonical::digest;
use crate::model::{Condition, Filters, InstrumentName};

/// The jobs that a list or count covers, before restriction to a user.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The instrument of their runs; `None` for all.
    pub instrument: Option<InstrumentName>,
    /// The filters that they match.
    pub filters: Filters,
}

/// A page of a list of jobs.
#[derive(Debug, Clone)]
pub struct JobList {
    /// The jobs.
    pub selection: Selection,
    /// The user that the list is restricted to; `None` for all. −1 is the API key.
    pub user_number: Option<i32>,
    /// The part of the list.
    pub page: Page,
    /// The order.
    pub ordering: Ordering,
    /// Includes the run of each job.
    pub include_run: bool,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The most jobs; 0 for all.
    pub limit: i64,
    /// The number of jobs to skip.
    pub offset: i64,
}

/// An order of jobs; equal ones are ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordering {
    /// The value that is compared.
    pub by: OrderBy,
    /// The direction.
    pub direction: Direction,
}

/// The values that jobs can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderBy {
    /// The start of the job.
    Start,
    /// The end of the job.
    End,
    /// The state, in the order of the database's type.
    State,
    /// The id of the job.
    Id,
    /// The start of the run.
    RunStart,
    /// The end of the run.
    RunEnd,
    /// The outputs, as a text.
    Outputs,
    /// The experiment number of the run's owner.
    ExperimentNumber,
    /// The run's title.
    ExperimentTitle,
    /// The run's file name.
    Filename,
}

/// The direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending, NULL last.
    Ascending,
    /// Descending, NULL first.
    Descending,
}

impl OrderBy {
    /// Every order.
    pub const ALL: [Self; 10] = [
        Self::Start,
        Self::End,
        Self::State,
        Self::Id,
        Self::RunStart,
        Self::RunEnd,
        Self::Outputs,
        Self::ExperimentNumber,
        Self::ExperimentTitle,
        Self::Filename,
    ];

    /// Returns true if texts are compared.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Outputs | Self::ExperimentTitle | Self::Filename)
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::State => "state",
            Self::Id => "id",
            Self::RunStart => "run_start",
            Self::RunEnd => "run_end",
            Self::Outputs => "outputs",
            Self::ExperimentNumber => "experiment_number",
            Self::ExperimentTitle => "experiment_title",
            Self::Filename => "filename",
        }
    }
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Ascending, Self::Descending];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

impl Selection {
    /// The digest at the end of the count's cache key.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&Value::Object(self.members()))
    }

    /// Returns true if the older server counts the same jobs.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.filters.conditions().iter().all(Condition::is_literal)
    }

    fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("filters".to_owned(), self.filters.value().clone());
        if let Some(instrument) = &self.instrument {
            members.insert("instrument".to_owned(), instrument.as_str().into());
        }
        members
    }
}

impl JobList {
    /// Lists with more rows are streamed instead of cached.
    const LONG: i64 = 1000;

    /// Returns true if the list may be too long to be held in memory as a whole.
    #[must_use]
    pub fn is_long(&self) -> bool {
        !(1..=Self::LONG).contains(&self.page.limit)
    }

    /// The digest at the end of its cache key.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut members = self.selection.members();
        for (name, value) in [
            ("include_run", self.include_run.into()),
            ("limit", self.page.limit.into()),
            ("offset", self.page.offset.into()),
            ("order_by", self.ordering.by.name().into()),
            ("order_direction", self.ordering.direction.name().into()),
            ("user_number", self.user_number.into()),
        ] {
            members.insert(name.to_owned(), value);
        }
        digest(&Value::Object(members))
    }

    /// Returns true if the older server lists the same jobs. It ignores `instrument_in` in a
    /// user's list of all instruments.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let unrestricted = self.user_number.is_some()
            && self.selection.instrument.is_none()
            && (self.selection.filters.conditions().iter())
                .any(|condition| matches!(condition, Condition::InstrumentIn(_)));
        self.selection.is_shared() && !unrestricted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(instrument: Option<&str>, filters: &str, user_number: Option<i32>) -> JobList {
        JobList {
            selection: Selection {
                instrument: instrument.and_then(InstrumentName::new),
                filters: Filters::parse(Some(filters)).unwrap(),
            },
            user_number,
            page: Page {
                limit: 2,
                offset: 0,
            },
            ordering: Ordering {
                by: OrderBy::Id,
                direction: Direction::Ascending,
            },
            include_run: false,
        }
    }

    #[test]
    fn digests_have_the_members_of_the_older_server() {
        assert_eq!(
            list(Some("mari"), "null", None).digest(),
            "b3bf7eded9bc8748d3c311c0261b2332f19e461933fb752281a6fbbd977357f7"
        );
        assert_eq!(
            list(Some("MARI"), "null", None).selection.digest(),
            "e22c1dd7b0a39ae0ea9ac65273fa348dab68c4e2f5a3678acbdd657cd209e2d7"
        );
        assert_eq!(
            list(None, "{}", None).selection.digest(),
            "c75966b2403b0433db40c05898902c770a510d4961bc52dbdbca2885fc7e9d9d"
        );
    }

    #[test]
    fn lists_that_differ_from_the_older_servers_are_not_shared() {
        let by_name = r#"{"instrument_in": ["MARI"]}"#;
        for (instrument, filters, user, shared) in [
            (None, "{}", Some(1), true),
            (None, by_name, None, true),
            (None, by_name, Some(1), false),
            (Some("MARI"), by_name, Some(1), true),
            (None, r#"{"title": "a_b"}"#, None, false),
            (None, r#"{"filename": "100%"}"#, Some(1), false),
            (None, r#"{"title": "a b"}"#, Some(1), true),
        ] {
            let list = list(instrument, filters, user);
            assert_eq!(
                list.is_shared(),
                shared,
                "{instrument:?} {filters} {user:?}"
            );
        }
    }

    #[test]
    fn lists_without_a_small_limit_are_long() {
        for (limit, long) in [(0, true), (1, false), (1000, false), (1001, true)] {
            let mut list = list(None, "", None);
            list.page.limit = limit;
            assert_eq!(list.is_long(), long, "{limit}");
        }
    }
}
