-- Indexes of the table fia_api_job_list: its orders, and the filters that may select few jobs.
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_start ON fia_api_job_list (start, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_end ON fia_api_job_list ("end", id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_run_start ON fia_api_job_list (run_start, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_run_end ON fia_api_job_list (run_end, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_by_state ON fia_api_job_list (state, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_experiment ON fia_api_job_list (experiment_number, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_user ON fia_api_job_list (user_number) WHERE user_number IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_instrument ON fia_api_job_list (instrument_id, start, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_run ON fia_api_job_list (run_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_api_job_list_owner ON fia_api_job_list (owner_id);
