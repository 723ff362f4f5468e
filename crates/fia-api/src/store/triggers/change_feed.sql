-- Notifies the channel fia_api_instruments of changes of the table instruments; the payload is the
-- name of an instrument, or empty for all of them. Can be repeated; changes no data.
BEGIN;
-- Limits how long this waits for locks, as other statements queue behind it.
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
    -- PostgreSQL sends equal notifications of a transaction once.
    WHEN 'UPDATE' THEN names := ARRAY[OLD.instrument_name, NEW.instrument_name];
    ELSE names := ARRAY[''];
  END CASE;
  FOREACH name IN ARRAY names LOOP
    -- pg_notify fails on a payload of 8000 bytes, and with it the change.
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
    ({old})
    IS DISTINCT FROM
    ({new}))
  EXECUTE FUNCTION fia_api_instruments_changed();
DROP TRIGGER IF EXISTS fia_api_instruments_all ON instruments;
CREATE TRIGGER fia_api_instruments_all AFTER TRUNCATE ON instruments
  FOR EACH STATEMENT EXECUTE FUNCTION fia_api_instruments_changed();
COMMIT;
