-- Tells listeners on fia_api_instruments what has changed in the table instruments: the name of
-- an instrument, or nothing for all of them. Can be repeated; touches no data.
BEGIN;
-- Nobody waits behind this for longer.
SET LOCAL lock_timeout = 5000;
SELECT pg_advisory_xact_lock(7305804402566922593);
CREATE OR REPLACE FUNCTION fia_api_instruments_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  name text;
  names text[];
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN names := ARRAY[NEW.instrument_name];
    WHEN 'DELETE' THEN names := ARRAY[OLD.instrument_name];
    -- Where both are the same, PostgreSQL sends one.
    WHEN 'UPDATE' THEN names := ARRAY[OLD.instrument_name, NEW.instrument_name];
    ELSE names := ARRAY[''];
  END CASE;
  FOREACH name IN ARRAY names LOOP
    -- A longer one would be an error, and the change would fail.
    PERFORM pg_notify('fia_api_instruments', CASE WHEN octet_length(name) < 8000 THEN name ELSE '' END);
  END LOOP;
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
COMMIT;
