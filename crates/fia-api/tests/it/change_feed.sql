-- Notifies of changes by whichever client: the channel fia_api_instruments of changes of the table
-- instruments, and the channel fia_api_jobs of changes of what lists of jobs show. The payload is the
-- name of an instrument, for jobs that of their run, or empty for all of them. Can be repeated;
-- changes no data.
BEGIN;
-- Limits how long this waits for locks, as other statements queue behind it, to less than the time
-- after which PostgreSQL looks for deadlocks and may end the transaction of another client.
SET LOCAL lock_timeout = 500;
SELECT pg_advisory_xact_lock(7305804402566922593);
CREATE OR REPLACE FUNCTION fia_api_instruments_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  name text;
  names text[];
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN names := ARRAY[NEW.instrument_name];
    WHEN 'DELETE' THEN names := ARRAY[OLD.instrument_name];
    -- PostgreSQL sends equal notifications of a transaction once.
    WHEN 'UPDATE' THEN names := ARRAY[OLD.instrument_name, NEW.instrument_name];
    ELSE names := ARRAY[''];
  END CASE;
  FOREACH name IN ARRAY names LOOP
    -- pg_notify fails on a payload of 8000 bytes, and with it the change.
    PERFORM pg_notify('fia_api_instruments', CASE WHEN octet_length(name) < 8000 THEN name ELSE '' END);
  END LOOP;
  -- Lists of jobs show the name.
  IF TG_OP = 'UPDATE' AND OLD.instrument_name IS DISTINCT FROM NEW.instrument_name THEN
    PERFORM pg_notify('fia_api_jobs', '');
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS fia_api_instruments_row ON instruments;
CREATE TRIGGER fia_api_instruments_row AFTER INSERT OR DELETE ON instruments
  FOR EACH ROW EXECUTE FUNCTION fia_api_instruments_changed();
DROP TRIGGER IF EXISTS fia_api_instruments_value ON instruments;
CREATE TRIGGER fia_api_instruments_value AFTER UPDATE ON instruments
  FOR EACH ROW WHEN (
    (OLD.instrument_name, OLD.latest_run, OLD.specification, OLD.live_data_script, OLD.live_data_support)
    IS DISTINCT FROM
    (NEW.instrument_name, NEW.latest_run, NEW.specification, NEW.live_data_script, NEW.live_data_support))
  EXECUTE FUNCTION fia_api_instruments_changed();
DROP TRIGGER IF EXISTS fia_api_instruments_all ON instruments;
CREATE TRIGGER fia_api_instruments_all AFTER TRUNCATE ON instruments
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_instruments_changed();

-- Jobs: one notification for each instrument that a transaction concerns. A job without a run is in no list.
CREATE OR REPLACE FUNCTION fia_api_jobs_notify(run_ids integer[]) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
  SELECT pg_notify('fia_api_jobs', CASE WHEN octet_length(instrument_name) < 8000 THEN instrument_name ELSE '' END)
  FROM (
    SELECT DISTINCT instrument_name FROM runs JOIN instruments ON instruments.id = runs.instrument_id
    WHERE runs.id = ANY(run_ids)
  ) changed
$$;
CREATE OR REPLACE FUNCTION fia_api_jobs_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A statement that changes very many jobs concerns most instruments; to find which takes longer.
  CASE TG_OP
    WHEN 'INSERT' THEN
      IF NOT EXISTS (SELECT FROM new_rows OFFSET 10000) THEN
        PERFORM fia_api_jobs_notify(ARRAY(SELECT DISTINCT run_id FROM new_rows));
        RETURN NULL;
      END IF;
    WHEN 'DELETE' THEN
      IF NOT EXISTS (SELECT FROM old_rows OFFSET 10000) THEN
        PERFORM fia_api_jobs_notify(ARRAY(SELECT DISTINCT run_id FROM old_rows));
        RETURN NULL;
      END IF;
    WHEN 'UPDATE' THEN
      IF NOT EXISTS (SELECT FROM new_rows OFFSET 10000) THEN
        PERFORM fia_api_jobs_notify(ARRAY(SELECT run_id FROM new_rows UNION SELECT run_id FROM old_rows));
        RETURN NULL;
      END IF;
    ELSE
      NULL;
  END CASE;
  PERFORM pg_notify('fia_api_jobs', '');
  RETURN NULL;
END $$;
-- Runs: a new one has no jobs yet, and one that has jobs cannot be deleted.
CREATE OR REPLACE FUNCTION fia_api_jobs_runs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM pg_notify('fia_api_jobs', CASE WHEN octet_length(instrument_name) < 8000 THEN instrument_name ELSE '' END)
  FROM instruments
  WHERE id IN (SELECT instrument_id FROM new_rows UNION SELECT instrument_id FROM old_rows);
  RETURN NULL;
END $$;
-- Owners and scripts are hardly ever changed.
CREATE OR REPLACE FUNCTION fia_api_jobs_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('fia_api_jobs', '');
  RETURN NULL;
END $$;
-- The functions with the rights of their owner must find that owner's tables.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['notify(integer[])', 'runs()'] LOOP
    EXECUTE format('ALTER FUNCTION fia_api_jobs_%s SET search_path = pg_catalog, %I, pg_temp', name, current_schema());
  END LOOP;
END $$;
DROP TRIGGER IF EXISTS fia_api_jobs_insert ON jobs;
CREATE TRIGGER fia_api_jobs_insert AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_changed();
DROP TRIGGER IF EXISTS fia_api_jobs_update ON jobs;
CREATE TRIGGER fia_api_jobs_update AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_changed();
DROP TRIGGER IF EXISTS fia_api_jobs_delete ON jobs;
CREATE TRIGGER fia_api_jobs_delete AFTER DELETE ON jobs
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_changed();
DROP TRIGGER IF EXISTS fia_api_jobs_truncate ON jobs;
CREATE TRIGGER fia_api_jobs_truncate AFTER TRUNCATE ON jobs
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_changed();
DROP TRIGGER IF EXISTS fia_api_jobs_update ON runs;
CREATE TRIGGER fia_api_jobs_update AFTER UPDATE ON runs
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_runs();
DROP TRIGGER IF EXISTS fia_api_jobs_update ON job_owners;
CREATE TRIGGER fia_api_jobs_update AFTER UPDATE ON job_owners
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_all();
DROP TRIGGER IF EXISTS fia_api_jobs_update ON scripts;
CREATE TRIGGER fia_api_jobs_update AFTER UPDATE ON scripts
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_jobs_all();
COMMIT;
