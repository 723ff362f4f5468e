//! A log of committed versions, in commit order, that triggers write into the database.

use tokio_postgres::Client;

use super::keys::{Field, Keys};
use crate::checker;
use devstack::{Error, Result};

/// The trigger runs in the transaction of the change and under the row's lock, so an entry exists
/// exactly if the change was committed, and entries of a key are in commit order.
const COMMIT_LOG: &str = "
CREATE TABLE committed (id bigserial PRIMARY KEY, name text NOT NULL, version bigint NOT NULL);
CREATE FUNCTION log_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.specification IS DISTINCT FROM OLD.specification THEN
        INSERT INTO committed (name, version) VALUES (
            'specification/' || NEW.instrument_name, (NEW.specification->>'version')::bigint);
    END IF;
    IF NEW.live_data_script IS DISTINCT FROM OLD.live_data_script THEN
        INSERT INTO committed (name, version) VALUES (
            'live_data_script/' || NEW.instrument_name, NEW.live_data_script::bigint);
    END IF;
    IF NEW.latest_run IS DISTINCT FROM OLD.latest_run THEN
        INSERT INTO committed (name, version) VALUES (
            'latest_run/' || NEW.instrument_name, NEW.latest_run::bigint);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER log_commit AFTER UPDATE ON instruments FOR EACH ROW EXECUTE FUNCTION log_commit();
CREATE FUNCTION log_commit_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO committed (name, version)
    SELECT 'status_message/' || instrument_name, NEW.status_message::bigint
    FROM instruments WHERE id = NEW.instrument_id;
    RETURN NULL;
END $$;
CREATE TRIGGER log_commit AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION log_commit_of_job();";

/// Adds a job of an instrument, with a run.
const JOB: &str = "
WITH run AS (
    INSERT INTO runs (filename, instrument_id, title, users, run_start, run_end, good_frames,
                      raw_frames, owner_id)
    SELECT 'schedule ' || instrument_name, id, '', '', now(), now(), 0, 0,
           (SELECT min(id) FROM job_owners)
    FROM instruments WHERE instrument_name = $1
    RETURNING id, instrument_id, owner_id
)
INSERT INTO jobs (id, state, status_message, inputs, owner_id, instrument_id, job_type, run_id)
SELECT $2::text::integer, 'NOT_STARTED', '0', '{}', owner_id, instrument_id, 'AUTOREDUCTION', id FROM run";

/// Sets every key to version 0 and installs the commit log.
pub(super) async fn prepare(client: &Client, keys: &Keys) -> Result<()> {
    for key in keys.all() {
        let sql = "UPDATE instruments SET specification = '{\"version\": 0}', \
                   live_data_script = '0', latest_run = '0' WHERE instrument_name = $1";
        client
            .execute(sql, &[&key.instrument])
            .await
            .map_err(failed("setting the initial versions"))?;
        if let Field::Jobs = key.field {
            let job = key.job().to_string();
            let added = client.execute(JOB, &[&key.instrument, &job]).await;
            added.map_err(failed("adding a job"))?;
        }
    }
    let installed = client.batch_execute(COMMIT_LOG).await;
    installed.map_err(failed("installing the commit log"))
}

/// Returns the keys with their committed versions.
pub(super) async fn committed(client: &Client, keys: &Keys) -> Result<Vec<checker::Key>> {
    let mut all = Vec::new();
    for key in keys.all() {
        let name = key.name();
        let sql = "SELECT version FROM committed WHERE name = $1 ORDER BY id";
        let rows = client.query(sql, &[&name]).await;
        let rows = rows.map_err(failed("reading the commit log"))?;
        let versions = rows
            .iter()
            .map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(u64::MAX));
        all.push(checker::Key {
            committed: std::iter::once(0).chain(versions).collect(),
            ttl: key.ttl(),
            name,
        });
    }
    Ok(all)
}

/// Converts an error of the database, with the attempted action.
pub(super) fn failed(doing: &str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let doing = doing.to_owned();
    move |source| Error::Database { doing, source }
}
