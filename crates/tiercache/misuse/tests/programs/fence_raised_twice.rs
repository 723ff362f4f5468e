//! The fences of a write are raised together.

use tiercache::{Cache, Failure, Write};
use tiercache_misuse::{Update, Users};

async fn rename(cache: &Cache, users: &Users) -> Result<(), Failure<std::io::Error>> {
    let key = users.key(&7);
    cache
        .write(async move |write: Write| {
            let mut update = Update;
            update.execute("UPDATE users SET name = 'Grace' WHERE id = 7").await?;
            let fenced = write.fence(Update, [key.clone()]).await;
            let other = write.fence(update, [key]).await;
            fenced.commit().await?;
            other.commit().await
        })
        .await
}

fn main() {}
