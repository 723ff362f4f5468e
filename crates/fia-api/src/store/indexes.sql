-- Indexes that keep lists, filters and counts of jobs fast with a million jobs. The server works
-- without them. None can make a write fail: none holds a text of unlimited length.

-- From a run to its jobs, from an experiment and an instrument to their runs.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_run ON jobs (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_owner ON runs (owner_id, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_instrument ON runs (instrument_id, id);

-- The orders by a job's own columns; lists are of jobs with a run only.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_start ON jobs (start, id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_end ON jobs ("end", id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state ON jobs (state, id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_id ON jobs (id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state_start ON jobs (state, start, id, run_id) WHERE run_id IS NOT NULL;

-- The orders by a run's columns.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_start ON runs (run_start, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_end ON runs (run_end, id);

-- From a data file to its run, from a script's hash to the script. By hash: a file's name may be
-- longer than an ordered index takes.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename ON runs USING hash (filename);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_scripts_hash ON scripts USING hash (script_hash);
