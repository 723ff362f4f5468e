//! The tables that a statement joins. Each job has at most one row of each, so omitting a join that
//! is not needed does not change the result.

/// The joined tables.
#[derive(Default)]
pub(super) struct Joins {
    pub(super) jobs: bool,
    pub(super) runs: bool,
    pub(super) owners: bool,
    pub(super) instruments: bool,
}

impl Joins {
    /// Adds the table of a column, and those that lead to it.
    pub(super) fn add(&mut self, column: &str) {
        match column.split_once('.').map(|(table, _)| table) {
            Some("jobs") => self.jobs = true,
            Some("runs") => self.runs = true,
            Some("owners") => (self.runs, self.owners) = (true, true),
            Some("instruments") => (self.runs, self.instruments) = (true, true),
            _ => {}
        }
    }

    /// Returns the joins with `jobs`.
    pub(super) fn of_jobs(&self) -> String {
        let run = if self.runs {
            " JOIN runs ON runs.id = jobs.run_id"
        } else {
            ""
        };
        format!("{run}{}", self.of_runs())
    }

    /// Returns the joins with `runs`.
    pub(super) fn of_runs(&self) -> String {
        let mut sql = String::new();
        if self.owners {
            sql.push_str(" JOIN job_owners owners ON owners.id = runs.owner_id");
        }
        if self.instruments {
            sql.push_str(" JOIN instruments ON instruments.id = runs.instrument_id");
        }
        sql
    }

    /// Returns the joins with the list table.
    pub(super) fn of_list(&self) -> String {
        let mut sql = String::new();
        if self.jobs {
            sql.push_str(" JOIN jobs ON jobs.id = list.id");
        }
        if self.runs {
            sql.push_str(" JOIN runs ON runs.id = list.run_id");
        }
        sql
    }

    /// Returns the joins with a few rows of the list table. Those of each row are looked up; the planner
    /// would rather read many.
    pub(super) fn of_rows(&self) -> String {
        let joins = [(self.jobs, "jobs", "id"), (self.runs, "runs", "run_id")];
        let joined = joins.iter().filter(|(is_joined, ..)| *is_joined);
        joined
            .map(|(_, table, id)| {
                format!(
                    " JOIN LATERAL (SELECT * FROM {table} WHERE {table}.id = list.{id} OFFSET 0) \
                     {table} ON true"
                )
            })
            .collect()
    }
}
