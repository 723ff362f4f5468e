-- Indexes of the table fia_api_job_list. Those of its orders include the columns that filters test: where the matches
-- are far from a page, its index is read to its end, which must not take longer than all of the table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_start ON fia_api_job_list (start, id) INCLUDE (run_id, state, "end", run_start, run_end, instrument_id, experiment_number, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_end ON fia_api_job_list ("end", id) INCLUDE (run_id, state, start, run_start, run_end, instrument_id, experiment_number, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_run_start ON fia_api_job_list (run_start, id) INCLUDE (run_id, state, start, "end", run_end, instrument_id, experiment_number, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_run_end ON fia_api_job_list (run_end, id) INCLUDE (run_id, state, start, "end", run_start, instrument_id, experiment_number, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_state ON fia_api_job_list (state, id) INCLUDE (run_id, start, "end", run_start, run_end, instrument_id, experiment_number, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_experiment ON fia_api_job_list (experiment_number, id) INCLUDE (run_id, state, start, "end", run_start, run_end, instrument_id, user_number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_order_of_instrument ON fia_api_job_list (instrument_id, start, id) INCLUDE (run_id, state, "end", run_start, run_end, experiment_number, user_number);
-- The filters that may select few jobs, and the rows of a run and of an owner.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_user ON fia_api_job_list (user_number) WHERE user_number IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_run ON fia_api_job_list (run_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_owner ON fia_api_job_list (owner_id);
-- Those of earlier versions, with fewer columns.
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_start;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_end;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_run_start;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_run_end;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_by_state;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_experiment;
DROP INDEX CONCURRENTLY IF EXISTS fia_api_job_list_instrument;
