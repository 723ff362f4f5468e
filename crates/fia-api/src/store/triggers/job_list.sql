-- The table fia_api_job_list: a row for each job that has a run, with the values that lists of jobs
-- filter and order by. Triggers keep it in the transaction of each change, whoever makes it. Can be
-- repeated; changes no data of the other tables.
BEGIN;
-- Limits how long this waits for locks, as other statements queue behind it, to less than the time
-- after which PostgreSQL looks for deadlocks and may end the transaction of another client.
SET LOCAL lock_timeout = 500;
SELECT pg_advisory_xact_lock(7305804402566922594);
CREATE TABLE IF NOT EXISTS fia_api_job_list (
  id integer PRIMARY KEY,
  run_id integer NOT NULL,
  instrument_id integer NOT NULL,
  owner_id integer NOT NULL,
  experiment_number integer,
  user_number integer,
  state state NOT NULL,
  start timestamp,
  "end" timestamp,
  run_start timestamp NOT NULL,
  run_end timestamp NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
-- One row. The table may be read only if it is complete.
CREATE TABLE IF NOT EXISTS fia_api_job_list_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  is_complete boolean NOT NULL DEFAULT false
);
INSERT INTO fia_api_job_list_state DEFAULT VALUES ON CONFLICT DO NOTHING;
-- What the table must contain.
CREATE OR REPLACE VIEW fia_api_job_list_source AS
SELECT jobs.id, jobs.run_id, runs.instrument_id, runs.owner_id, job_owners.experiment_number,
       job_owners.user_number, jobs.state, jobs.start, jobs."end", runs.run_start, runs.run_end
FROM jobs JOIN runs ON runs.id = jobs.run_id JOIN job_owners ON job_owners.id = runs.owner_id;

-- Makes the rows of these jobs equal to their source; returns how many it changed. The locks, until
-- the end of the transaction, exclude changes by others that could not see these rows yet. Each lock
-- is a statement of its own: one that waited for another transaction must see what that committed.
CREATE OR REPLACE FUNCTION fia_api_job_list_fill(ids integer[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  removed bigint;
  stored bigint;
BEGIN
  PERFORM FROM runs WHERE id IN (SELECT run_id FROM jobs WHERE jobs.id = ANY(ids)) ORDER BY id FOR SHARE;
  PERFORM FROM job_owners WHERE id IN (
    SELECT owner_id FROM runs WHERE runs.id IN (SELECT run_id FROM jobs WHERE jobs.id = ANY(ids))
  ) ORDER BY id FOR SHARE;
  DELETE FROM fia_api_job_list list
  WHERE list.id = ANY(ids) AND NOT EXISTS (SELECT FROM fia_api_job_list_source source WHERE source.id = list.id);
  GET DIAGNOSTICS removed = ROW_COUNT;
  INSERT INTO fia_api_job_list AS list SELECT * FROM fia_api_job_list_source source WHERE source.id = ANY(ids)
  ON CONFLICT (id) DO UPDATE SET
    run_id = excluded.run_id, instrument_id = excluded.instrument_id, owner_id = excluded.owner_id,
    experiment_number = excluded.experiment_number, user_number = excluded.user_number,
    state = excluded.state, start = excluded.start, "end" = excluded."end",
    run_start = excluded.run_start, run_end = excluded.run_end
  WHERE list IS DISTINCT FROM excluded;
  GET DIAGNOSTICS stored = ROW_COUNT;
  RETURN removed + stored;
END $$;

-- Fills the rows of a range of job ids that existed before the triggers. A job that is being changed is
-- waited for: the trigger of that change found no row here.
CREATE OR REPLACE FUNCTION fia_api_job_list_fill_range(first integer, last integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM FROM jobs WHERE id BETWEEN first AND last ORDER BY id FOR SHARE;
  RETURN fia_api_job_list_fill(ARRAY(
    SELECT id FROM jobs WHERE id BETWEEN first AND last
    UNION SELECT id FROM fia_api_job_list WHERE id BETWEEN first AND last
  ));
END $$;

CREATE OR REPLACE FUNCTION fia_api_job_list_jobs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN
      -- As fia_api_job_list_fill, without what only older rows need.
      PERFORM FROM runs WHERE id IN (SELECT run_id FROM new_rows) ORDER BY id FOR SHARE;
      PERFORM FROM job_owners WHERE id IN (
        SELECT owner_id FROM runs WHERE runs.id IN (SELECT run_id FROM new_rows)
      ) ORDER BY id FOR SHARE;
      INSERT INTO fia_api_job_list
      SELECT source.* FROM new_rows JOIN fia_api_job_list_source source ON source.id = new_rows.id
      ON CONFLICT DO NOTHING;
    WHEN 'DELETE' THEN
      DELETE FROM fia_api_job_list list USING old_rows WHERE list.id = old_rows.id;
    WHEN 'UPDATE' THEN
      -- The values of the table, not of new_rows: another trigger may have changed the rows since.
      UPDATE fia_api_job_list list SET state = jobs.state, start = jobs.start, "end" = jobs."end"
      FROM new_rows JOIN jobs ON jobs.id = new_rows.id
      WHERE list.id = new_rows.id
        AND (list.state, list.start, list."end") IS DISTINCT FROM (jobs.state, jobs.start, jobs."end");
      PERFORM fia_api_job_list_fill(ids) FROM (
        SELECT array_agg(id) AS ids FROM new_rows after FULL JOIN old_rows before USING (id)
        WHERE after.run_id IS DISTINCT FROM before.run_id
      ) moved WHERE ids IS NOT NULL;
    ELSE
      DELETE FROM fia_api_job_list;
  END CASE;
  RETURN NULL;
END $$;

-- Runs and owners: a new one has no jobs yet, and one that has jobs cannot be deleted.
CREATE OR REPLACE FUNCTION fia_api_job_list_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NOT EXISTS (
    SELECT id, run_start, run_end, instrument_id, owner_id FROM new_rows
    EXCEPT SELECT id, run_start, run_end, instrument_id, owner_id FROM old_rows
  ) THEN
    RETURN NULL;
  END IF;
  PERFORM FROM job_owners WHERE id IN (SELECT owner_id FROM new_rows) ORDER BY id FOR SHARE;
  UPDATE fia_api_job_list list SET
    instrument_id = runs.instrument_id, owner_id = runs.owner_id,
    experiment_number = job_owners.experiment_number, user_number = job_owners.user_number,
    run_start = runs.run_start, run_end = runs.run_end
  FROM new_rows JOIN runs ON runs.id = new_rows.id JOIN job_owners ON job_owners.id = runs.owner_id
  WHERE list.run_id = new_rows.id;
  PERFORM fia_api_job_list_check_isolation();
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION fia_api_job_list_owners() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  UPDATE fia_api_job_list list
  SET experiment_number = job_owners.experiment_number, user_number = job_owners.user_number
  FROM new_rows JOIN job_owners ON job_owners.id = new_rows.id
  WHERE list.owner_id = new_rows.id AND (list.experiment_number, list.user_number)
    IS DISTINCT FROM (job_owners.experiment_number, job_owners.user_number);
  PERFORM fia_api_job_list_check_isolation();
  RETURN NULL;
END $$;

-- In a transaction with an older snapshot, a change of a run does not see the jobs that others have
-- added to it since.
CREATE OR REPLACE FUNCTION fia_api_job_list_check_isolation() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Also if it is false: this excludes that `schema --lists` finds the table complete until the end.
    UPDATE fia_api_job_list_state SET is_complete = false;
  END IF;
END $$;

-- The functions have the rights of their owner, and must find that owner's tables.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['fill(integer[])', 'fill_range(integer, integer)', 'jobs()', 'runs()',
                              'owners()', 'check_isolation()'] LOOP
    EXECUTE format('ALTER FUNCTION fia_api_job_list_%s SET search_path = pg_catalog, %I, pg_temp',
                   name, current_schema());
  END LOOP;
END $$;
-- A plan for any number of jobs uses indexes; one for each call would cost more than it does.
ALTER FUNCTION fia_api_job_list_fill(integer[]) SET plan_cache_mode = force_generic_plan;
REVOKE EXECUTE ON FUNCTION fia_api_job_list_fill(integer[]), fia_api_job_list_fill_range(integer, integer),
  fia_api_job_list_check_isolation() FROM PUBLIC;

DROP TRIGGER IF EXISTS fia_api_job_list_insert ON jobs;
CREATE TRIGGER fia_api_job_list_insert AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_jobs();
DROP TRIGGER IF EXISTS fia_api_job_list_update ON jobs;
CREATE TRIGGER fia_api_job_list_update AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_jobs();
DROP TRIGGER IF EXISTS fia_api_job_list_delete ON jobs;
CREATE TRIGGER fia_api_job_list_delete AFTER DELETE ON jobs
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_jobs();
DROP TRIGGER IF EXISTS fia_api_job_list_truncate ON jobs;
CREATE TRIGGER fia_api_job_list_truncate AFTER TRUNCATE ON jobs
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_jobs();
DROP TRIGGER IF EXISTS fia_api_job_list_update ON runs;
CREATE TRIGGER fia_api_job_list_update AFTER UPDATE ON runs
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_runs();
DROP TRIGGER IF EXISTS fia_api_job_list_update ON job_owners;
CREATE TRIGGER fia_api_job_list_update AFTER UPDATE ON job_owners
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_job_list_owners();
COMMIT;
