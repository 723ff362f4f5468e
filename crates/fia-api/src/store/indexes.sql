-- Indexes that keep lists, filters and counts of jobs fast with a million jobs. The server works
-- without them. None can make a write fail: a text of unlimited length is in none.

-- The orders by a job's own columns. Lists are of jobs with a run only. Each index holds what
-- filters look at, too, so that a job that does not fit costs no look into the table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_id ON jobs (id) INCLUDE (run_id, state, start, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_start ON jobs (start, id) INCLUDE (run_id, state, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_end ON jobs ("end", id) INCLUDE (run_id, state, start) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state ON jobs (state, id) INCLUDE (run_id, start, "end") WHERE run_id IS NOT NULL;
-- The jobs of one state, the latest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state_start ON jobs (state, start, id) INCLUDE (run_id, "end") WHERE run_id IS NOT NULL;

-- From a run to its jobs; from a job to its run; from an owner and an instrument to their runs.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_run ON jobs (run_id, id) INCLUDE (state, start, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_id ON runs (id) INCLUDE (owner_id, instrument_id, run_start, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_owner ON runs (owner_id, id) INCLUDE (instrument_id, run_start, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_instrument ON runs (instrument_id, id) INCLUDE (owner_id, run_start, run_end);

-- The orders by a run's columns.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_start ON runs (run_start, id) INCLUDE (owner_id, instrument_id, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_end ON runs (run_end, id) INCLUDE (owner_id, instrument_id, run_start);

-- The orders by texts: the short ones are in order, the few long ones (an index entry has a
-- largest size) are found and sorted. The conditions are those of the lists. The indexes of
-- lengths also tell the planner how few the long ones are.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_outputs ON jobs (outputs, id) INCLUDE (run_id) WHERE run_id IS NOT NULL AND (octet_length(outputs) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_outputs_length ON jobs (octet_length(outputs)) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_title ON runs (title, id) WHERE (octet_length(title) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_title_length ON runs (octet_length(title));
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename ON runs (filename, id) WHERE (octet_length(filename) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename_length ON runs (octet_length(filename));

-- From a data file to its run and from a hash to its script, for new jobs. By hash: a name of any
-- length fits.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_file ON runs USING hash (filename);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_scripts_hash ON scripts USING hash (script_hash);
