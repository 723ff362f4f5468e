-- Searches in titles and file names. They need the extension pg_trgm, which ships with PostgreSQL;
-- the database's owner may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_title_words ON runs USING gin (title gin_trgm_ops);
CREATE INDEX CONCURRENTLY IF NOT EXISTS fia_runs_filename_words ON runs USING gin (filename gin_trgm_ops);
