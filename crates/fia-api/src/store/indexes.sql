-- Optional indexes that keep lists, filters and counts of jobs fast with a million jobs. None can
-- make a write fail: no text of unlimited length is indexed.

-- Orders by a job's own columns. Lists contain only jobs with a run. Each index includes the
-- columns that filters test, so that a job that does not match costs no table access.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_id ON jobs (id) INCLUDE (run_id, state, start, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_start ON jobs (start, id) INCLUDE (run_id, state, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_end ON jobs ("end", id) INCLUDE (run_id, state, start) WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state ON jobs (state, id) INCLUDE (run_id, start, "end") WHERE run_id IS NOT NULL;
-- The jobs of one state, latest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_state_start ON jobs (state, start, id) INCLUDE (run_id, "end") WHERE run_id IS NOT NULL;

-- Joins: the jobs of a run, the run of a job, the runs of an owner and of an instrument.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_run ON jobs (run_id, id) INCLUDE (state, start, "end") WHERE run_id IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_id ON runs (id) INCLUDE (owner_id, instrument_id, run_start, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_owner ON runs (owner_id, id) INCLUDE (instrument_id, run_start, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_instrument ON runs (instrument_id, id) INCLUDE (owner_id, run_start, run_end);

-- Orders by a run's columns.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_start ON runs (run_start, id) INCLUDE (owner_id, instrument_id, run_end);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_end ON runs (run_end, id) INCLUDE (owner_id, instrument_id, run_start);

-- Orders by texts: short texts are read in index order, the few long ones (an index entry has a
-- maximum size) are fetched and sorted. The conditions match those of the lists. The indexes of
-- lengths also give the planner statistics of how few long texts there are.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_short_outputs ON jobs (outputs, id) INCLUDE (run_id, state, start, "end") WHERE run_id IS NOT NULL AND (octet_length(outputs) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_outputs_length ON jobs (octet_length(outputs)) WHERE run_id IS NOT NULL;
-- The planner uses statistics of an index without a condition only.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_jobs_outputs_size ON jobs (octet_length(outputs));
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_short_title ON runs (title, id) INCLUDE (instrument_id, run_start, run_end) WHERE (octet_length(title) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_title_length ON runs (octet_length(title));
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_short_filename ON runs (filename, id) INCLUDE (instrument_id, run_start, run_end) WHERE (octet_length(filename) > 512) IS NOT TRUE;
-- File names have the name of their instrument.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename_of_instrument ON runs (instrument_id, filename, id) INCLUDE (run_start, run_end) WHERE (octet_length(filename) > 512) IS NOT TRUE;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename_length ON runs (octet_length(filename));

-- Lookups for new jobs: the run of a data file, the script of a hash. Hash indexes accept names of
-- any length.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_file ON runs USING hash (filename);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_scripts_hash ON scripts USING hash (script_hash);

-- Those of earlier versions, with fewer columns.
DROP INDEX CONCURRENTLY IF EXISTS fia_jobs_outputs;
DROP INDEX CONCURRENTLY IF EXISTS fia_runs_title;
DROP INDEX CONCURRENTLY IF EXISTS fia_runs_filename;
