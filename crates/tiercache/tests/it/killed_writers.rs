//! A writer that is killed by SIGKILL after its COMMIT in PostgreSQL.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use sqlx::PgPool;
use tiercache::CommitWith;
use tokio::process::Command;

use crate::adapters::{SELECT, UPDATE, database, users};
use crate::support::{Fixture, Gate, expire_fence, local_settings, long_timeouts, wait_until};

/// The variables of the killed process: the URLs of Valkey and of the database.
const VARIABLES: [&str; 2] = ["TIERCACHE_TEST_VALKEY", "TIERCACHE_TEST_DATABASE"];
const KEY: &str = "test:user:7";

async fn select(pool: PgPool) -> sqlx::Result<String> {
    sqlx::query_scalar(SELECT).fetch_one(&pool).await
}

#[limited::test]
#[ignore = "is the process that the other test kills"]
#[expect(clippy::disallowed_methods, reason = "parameters of the process")]
async fn the_writer() {
    let [Ok(valkey), Ok(database)] = VARIABLES.map(std::env::var) else {
        return;
    };
    let pool = PgPool::connect(&database).await.unwrap();
    let (cache, _rows) = crate::support::cache(long_timeouts(valkey)).await;
    let key = users::<sqlx::Error>(&cache).key(&7);
    let write = cache.write(async move |write| {
        let mut transaction = pool.begin().await?;
        let update = sqlx::query(UPDATE).bind("Grace");
        update.execute(&mut *transaction).await?;
        let commit = CommitWith(async move || {
            transaction.commit().await?;
            // It is killed here.
            std::future::pending::<sqlx::Result<()>>().await
        });
        write.fence(commit, [key]).await.commit().await
    });
    write.await.unwrap();
}

#[limited::test]
async fn after_a_writer_is_killed_no_process_reads_the_older_value() {
    let (postgres, database) = database().await;
    let url = postgres.url(&database);
    let pool = PgPool::connect(&url).await.unwrap();
    let fixture = Fixture::with(local_settings).await;
    let other = fixture.replica(local_settings).await;
    let readers = [users(&fixture.cache), users(&other.cache)];
    let read = async |reader: usize| {
        let pool = pool.clone();
        let read = readers[reader].get(&7, move || select(pool));
        limited::waiting("a user", read).await.unwrap()
    };
    let (mut gate, block) = Gate::after(|| ());
    let (reader, loading) = (readers[0].clone(), pool.clone());
    let before = tokio::spawn(async move {
        let load = async move || {
            let name = select(loading).await;
            block().await;
            name
        };
        reader.get(&7, load).await
    });
    gate.entered().await;

    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args(["--exact", "killed_writers::the_writer", "--ignored"]);
    writer.envs(VARIABLES.into_iter().zip([fixture.valkey.url(), url]));
    writer.stdout(Stdio::null()).kill_on_drop(true);
    let mut writer = writer.spawn().unwrap();
    wait_until("COMMIT", async || {
        select(pool.clone()).await.unwrap() == "Grace"
    })
    .await;
    writer.start_kill().unwrap();
    let status = limited::waiting("the end of the writer", writer.wait()).await;
    assert_eq!(status.unwrap().signal(), Some(9));

    gate.open();
    assert_eq!(before.await.unwrap().unwrap(), "Ada", "it began before");
    for reader in [0, 1, 0, 1] {
        assert_eq!(read(reader).await, "Grace", "the fence stands");
    }
    expire_fence(&fixture.raw, KEY).await;
    for reader in [0, 1] {
        assert_eq!(read(reader).await, "Grace");
    }
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), b"\"Grace\"");
    pool.close().await;
}
