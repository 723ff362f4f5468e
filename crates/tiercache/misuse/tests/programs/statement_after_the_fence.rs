//! All statements precede the fence: only then are their rows locked.

use tiercache::{Cache, Failure, Write};
use tiercache_misuse::{Update, Users};

async fn rename(cache: &Cache, users: &Users) -> Result<(), Failure<std::io::Error>> {
    let key = users.key(&7);
    cache
        .write(async move |write: Write| {
            let mut update = Update;
            update.execute("UPDATE users SET name = 'Grace' WHERE id = 7").await?;
            let fenced = write.fence(update, [key]).await;
            update.execute("UPDATE users SET name = NULL WHERE id = 8").await?;
            fenced.commit().await
        })
        .await
}

fn main() {}
