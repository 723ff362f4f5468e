//! A string may be no key of the cache: it would be fenced and never read.

use tiercache::{Cache, Failure, Write};
use tiercache_misuse::{Update, Users};

async fn rename(cache: &Cache, users: &Users) -> Result<(), Failure<std::io::Error>> {
    let key = users.key(&7);
    cache
        .write(async move |write: Write| {
            let mut update = Update;
            update.execute("UPDATE users SET name = 'Grace' WHERE id = 7").await?;
            write.fence(update, ["app:user:7"]).await.commit().await
        })
        .await
}

fn main() {}
