-- The tables of FIA. Creates what is missing, and leaves existing columns and rows unchanged.
BEGIN;
-- One at a time: CREATE … IF NOT EXISTS races with itself.
SELECT pg_advisory_xact_lock(7305804402566922593);
DO $$ BEGIN
  CREATE TYPE jobtype AS ENUM ('RERUN', 'SIMPLE', 'AUTOREDUCTION');
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN
  CREATE TYPE state AS ENUM ('SUCCESSFUL', 'UNSUCCESSFUL', 'ERROR', 'NOT_STARTED');
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE TABLE IF NOT EXISTS instruments (
  instrument_name varchar NOT NULL UNIQUE,
  latest_run varchar,
  specification jsonb,
  live_data_script varchar,
  live_data_support boolean NOT NULL,
  id serial PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS job_owners (
  experiment_number integer UNIQUE,
  user_number integer UNIQUE,
  id serial PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS scripts (
  script varchar NOT NULL,
  sha varchar,
  script_hash varchar NOT NULL,
  id serial PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS runs (
  filename varchar NOT NULL,
  instrument_id integer NOT NULL REFERENCES instruments (id),
  title varchar NOT NULL,
  users varchar NOT NULL,
  run_start timestamp NOT NULL,
  run_end timestamp NOT NULL,
  good_frames integer NOT NULL,
  raw_frames integer NOT NULL,
  owner_id integer NOT NULL REFERENCES job_owners (id),
  id serial PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS jobs (
  start timestamp,
  "end" timestamp,
  state state NOT NULL,
  status_message varchar,
  inputs jsonb NOT NULL,
  script_id integer REFERENCES scripts (id),
  outputs varchar,
  stacktrace varchar,
  runner_image varchar,
  owner_id integer NOT NULL REFERENCES job_owners (id),
  instrument_id integer REFERENCES instruments (id),
  job_type jobtype NOT NULL,
  run_id integer REFERENCES runs (id),
  id serial PRIMARY KEY
);
-- Messages that RabbitMQ has not confirmed. A message is inserted in the transaction of its job; a
-- replica claims it, publishes it and deletes it. `claimed_by` is an advisory lock that the
-- claiming replica holds; `claimed_until` is the expiry of the claim or the time of the next
-- attempt, and infinite for a parked message.
CREATE TABLE IF NOT EXISTS fia_api_outbox (
  id bigserial PRIMARY KEY,
  queue varchar NOT NULL,
  body varchar NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  claimed_until timestamptz,
  claimed_by bigint,
  attempts integer NOT NULL DEFAULT 0,
  error varchar,
  parked_at timestamptz
);
-- Columns of later versions. Rewrites no row; replicas of earlier versions are not affected. The
-- lock is taken only where a column is missing.
DO $$ BEGIN
  IF (SELECT count(*) < 4 FROM pg_attribute
      WHERE attrelid = 'fia_api_outbox'::regclass AND NOT attisdropped
        AND attname IN ('claimed_by', 'attempts', 'error', 'parked_at')) THEN
    SET LOCAL lock_timeout = '5s';
    ALTER TABLE fia_api_outbox
      ADD COLUMN IF NOT EXISTS claimed_by bigint,
      ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
      ADD COLUMN IF NOT EXISTS error varchar,
      ADD COLUMN IF NOT EXISTS parked_at timestamptz;
  END IF;
END $$;
COMMIT;
