-- The tables of FIA. Creates what is missing, alters nothing that is there.
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
-- Messages that RabbitMQ has not confirmed yet. Written in the transaction of their job; whoever
-- has claimed one publishes it and deletes it, and a claim that lapsed is anybody's.
CREATE TABLE IF NOT EXISTS fia_api_outbox (
  id bigserial PRIMARY KEY,
  queue varchar NOT NULL,
  body varchar NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  claimed_until timestamptz
);
COMMIT;
