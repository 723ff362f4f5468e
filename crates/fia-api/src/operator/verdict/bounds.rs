//! The bounds of staleness, from the settings.

use std::sync::Arc;
use std::time::Duration;

use crate::cached::ReadFacts;
use crate::operator::at::duration_text;

/// The longest that a write takes to be seen by other replicas: without a heartbeat for so long,
/// they do not use their memory.
const PROPAGATION: u64 = 1;

/// The bounds of staleness of the cached reads, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) struct Bounds {
    /// The largest TTL of the reads that writes invalidate.
    columns: u64,
    /// The largest TTL of lists and counts of jobs.
    jobs: u64,
    experiments: u64,
    images: u64,
    /// The largest sum of TTL and time past it of the reads from the database.
    longest: u64,
    /// That of the runner images.
    images_longest: u64,
    /// Whether changes by other clients invalidate.
    has_feed: bool,
    /// Whether writes of jobs invalidate.
    has_job_groups: bool,
}

/// The group of a read.
#[derive(PartialEq)]
enum Group {
    Columns,
    Jobs,
    Experiments,
    Images,
}

fn group(read: &ReadFacts) -> Group {
    match read.name {
        "experiments" => Group::Experiments,
        "runner_images" => Group::Images,
        name if name.contains("job_") => Group::Jobs,
        _ => Group::Columns,
    }
}

impl Bounds {
    /// The bounds of these reads. With a change feed, changes by other clients invalidate; with
    /// groups, writes of jobs.
    pub(in crate::operator) fn new(
        reads: &[Arc<ReadFacts>],
        has_feed: bool,
        has_job_groups: bool,
    ) -> Self {
        let largest = |of: Group, value: fn(&ReadFacts) -> Duration| {
            let reads = reads.iter().filter(|read| group(read) == of);
            let values = reads.map(|read| value(read).as_secs());
            values.max().unwrap_or_default()
        };
        let ttl = |of| largest(of, |read| read.ttl);
        let longest = |of| largest(of, |read| read.ttl + read.max_stale);
        Self {
            columns: ttl(Group::Columns),
            jobs: ttl(Group::Jobs),
            experiments: ttl(Group::Experiments),
            images: ttl(Group::Images),
            longest: longest(Group::Columns).max(longest(Group::Jobs)),
            images_longest: longest(Group::Images),
            has_feed,
            has_job_groups,
        }
    }

    /// The TTL after which a missed invalidation has no effect.
    pub(super) fn columns(self) -> u64 {
        self.columns
    }

    /// The age of a response at most, this long after the database was last reached.
    pub(super) fn without_database(self, elapsed: Duration) -> u64 {
        let before = if self.has_feed && self.has_job_groups {
            PROPAGATION
        } else if self.has_feed {
            self.jobs.max(PROPAGATION)
        } else {
            self.columns.max(self.jobs)
        };
        self.longest.min(before + elapsed.as_secs() + 1)
    }

    /// The age of the list of runner images at most, this long after the last call of GitHub.
    pub(super) fn without_github(self, elapsed: Duration) -> u64 {
        let before = self.images;
        self.images_longest.min(before + elapsed.as_secs() + 1)
    }

    /// The bounds that matter most: `a write shows within 1 s, an edit past the API within 2 min`.
    pub(super) fn short(self) -> String {
        let mut text = format!("a write shows within {PROPAGATION} s");
        if !self.has_job_groups {
            text.push_str(&format!(", a change to jobs within {} s", self.jobs));
        }
        if !self.has_feed {
            let edit = duration_text(Duration::from_secs(self.columns.max(self.jobs)));
            text.push_str(&format!(", an edit past the API within {edit}"));
        }
        text
    }

    /// All bounds in normal operation.
    pub(super) fn text(self) -> String {
        let text = |seconds| duration_text(Duration::from_secs(seconds));
        let jobs = match self.has_job_groups {
            true => "lists and counts of jobs likewise".to_owned(),
            false => format!("lists and counts of jobs follow within {}", text(self.jobs)),
        };
        let edits = match self.has_feed {
            true => "likewise".to_owned(),
            false => format!(
                "within {} (instruments) and {} (jobs), as there is no change feed",
                text(self.columns),
                text(self.jobs)
            ),
        };
        format!(
            "In normal operation a write shows on its replica at once and on all others within \
             {PROPAGATION} s, {jobs}; an edit past the API {edits}; the experiments of a user \
             follow within {}, runner images within {}.",
            text(self.experiments),
            text(self.images),
        )
    }
}

#[cfg(test)]
impl Bounds {
    /// Those of the default settings.
    pub(super) fn with_defaults(has_feed: bool) -> Self {
        Self {
            columns: 120,
            jobs: 15,
            experiments: 120,
            images: 300,
            longest: 420,
            images_longest: 3_900,
            has_feed,
            has_job_groups: true,
        }
    }
}
