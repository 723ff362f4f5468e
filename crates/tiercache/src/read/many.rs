//! Reads of several keys: the fetches of the missing ones run together, with one load.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join, try_join_all};
use futures_util::{FutureExt, StreamExt, stream};

use crate::namespace::{Inner, Namespace};
use crate::read::Start;
use crate::read::fetch::fill::Begin;
use crate::read::fetch::look_up::Lookup;
use crate::read::fetch::{Fetch, Grant};
use crate::read::outcome::Failure;
use crate::read::serve::serve;
use crate::seams::{self, RandomState};

/// The most commands of a read of several keys in one pipeline. More could fill the connection's
/// buffer and time out.
const PIPELINE: usize = 256;

/// Loads the existing values of keys.
type LoadMany<K, T, E> =
    Arc<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, T>, E>> + Send + Sync>;

impl<K, T, E> Namespace<K, Option<T>, E>
where
    K: Display + Eq + Hash + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the existing values of these keys, each as [`get`](Self::get) does.
    ///
    /// The shared level is read in one pipeline, and `load` is called once, with the keys that
    /// neither level has, to return the existing values among them; a key that it leaves out has
    /// none, which is cached, too.
    ///
    /// Keys that other reads are loading already are awaited. `load` is called again with those
    /// that another process does not store within
    /// [`lease_wait`](crate::CacheBuilder::lease_wait), or with a single key if the result of the
    /// other read does not apply to this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::collections::HashMap;
    /// use std::io;
    /// use tiercache::{Cache, Json};
    ///
    /// let cache = Cache::local_builder().memory(1 << 20).connect()?;
    /// let users = cache.namespace::<u64, Option<String>, io::Error>("app:user:", Json).build()?;
    /// // SELECT id, name FROM users WHERE id = ANY($1)
    /// let load = async |ids: Vec<u64>| Ok(ids.into_iter().zip(["Ada".to_owned()]).collect());
    /// let found: HashMap<u64, String> = users.get_many([7], move |ids| load(ids)).await?;
    /// assert_eq!(found[&7], "Ada");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup), of the first key that failed.
    pub async fn get_many<F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: F,
    ) -> Result<HashMap<K, T>, Failure<Arc<E>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
    {
        let load: LoadMany<K, T, E> = Arc::new(move |keys| load(keys).boxed());
        let (mut found, mut queued, mut fetches) = (HashMap::new(), Vec::new(), Vec::new());
        let distinct: HashSet<K, RandomState> = keys.into_iter().collect();
        for key in distinct {
            let (one, load_one) = (key.clone(), Arc::clone(&load));
            let load_one = move || async move {
                let mut rows = load_one(vec![one.clone()]).await?;
                Ok(rows.remove(&one))
            };
            match self.start(&key, load_one) {
                Start::Hit(hit) => found.extend(hit.value.map(|value| (key, value))),
                Start::Queued(mut read) => {
                    let fetch = read.fetch.take();
                    fetches.extend(fetch.map(|fetch| (key.clone(), fetch)));
                    queued.push((key, read));
                }
            }
        }
        if !fetches.is_empty() {
            let fetching = fetch_all(Arc::clone(&self.0), fetches, load);
            drop(self.0.shared.spawn(fetching));
        }
        let waiting = queued.into_iter().map(async |(key, read)| {
            let value = self.0.wait(&key, read.reply, read.limit).await?.value;
            Ok(value.map(|value| (key, value)))
        });
        found.extend(try_join_all(waiting).await?.into_iter().flatten());
        Ok(found)
    }
}

/// A fetch that missed.
struct Missing<K, V, E> {
    key: K,
    fetch: Fetch<V, E>,
    grant: Option<Grant>,
}

/// Runs the fetches. Those that nobody else is loading are not delayed by the others.
async fn fetch_all<K, T, E>(
    namespace: Arc<Inner<Option<T>, E>>,
    fetches: Vec<(K, Fetch<Option<T>, E>)>,
    load: LoadMany<K, T, E>,
) where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let (missing, busy) = look_up_all(fetches, Duration::ZERO).await;
    let others = async {
        let wait = namespace.shared.settings.lease_wait;
        let (mut missing, busy) = look_up_all(busy, wait).await;
        missing.extend(busy.into_iter().map(|(key, fetch)| Missing {
            key,
            fetch,
            grant: None,
        }));
        load_all(&namespace, missing, &load).await;
    };
    join(load_all(&namespace, missing, &load), others).await;
}

/// Delivers the hits; returns the fetches that missed, and those that another process is loading.
async fn look_up_all<K, V, E>(
    fetches: Vec<(K, Fetch<V, E>)>,
    wait: Duration,
) -> (Vec<Missing<K, V, E>>, Vec<(K, Fetch<V, E>)>)
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let (mut missing, mut busy) = (Vec::new(), Vec::new());
    let mut looked_up = stream::iter(fetches)
        .map(async |(key, mut fetch): (K, Fetch<V, E>)| {
            let found = fetch.look_up(wait).await;
            (key, fetch, found)
        })
        .buffer_unordered(PIPELINE);
    while let Some((key, mut fetch, found)) = looked_up.next().await {
        match found {
            Lookup::Hit(value, age) => {
                fetch.deliver_hit(value, age);
                hand_over(fetch);
            }
            Lookup::Miss(grant) => missing.push(Missing { key, fetch, grant }),
            Lookup::Busy => busy.push((key, fetch)),
        }
    }
    (missing, busy)
}

/// Loads the values of all fetches with one call of the loader.
async fn load_all<K, T, E>(
    namespace: &Inner<Option<T>, E>,
    missing: Vec<Missing<K, Option<T>, E>>,
    load: &LoadMany<K, T, E>,
) where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let mut loading = Vec::with_capacity(missing.len());
    for mut one in missing {
        match one.fetch.begin_load() {
            Some((_, begin)) => loading.push((one, begin)),
            None => {
                if let Some(grant) = one.grant {
                    one.fetch.release(grant).await;
                }
                hand_over(one.fetch);
            }
        }
    }
    if loading.is_empty() {
        return;
    }
    let keys = loading.iter().map(|(one, _)| one.key.clone()).collect();
    let load = Arc::clone(load);
    let result = namespace.run(Box::new(move || load(keys))).await;
    let finish = async |(mut one, begin): (Missing<K, Option<T>, E>, Begin)| {
        let result = match &result {
            Ok(rows) => Ok(rows.get(&one.key).cloned()),
            Err(failure) => Err(failure.clone()),
        };
        one.fetch.finish_load(one.grant, begin, result).await;
        hand_over(one.fetch);
    };
    stream::iter(loading)
        .for_each_concurrent(PIPELINE, finish)
        .await;
}

/// Serves the waiters that came later, if there are any.
fn hand_over<V, E>(mut fetch: Fetch<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    if !fetch.flight.end_if_empty() {
        seams::spawn(serve(fetch));
    }
}
