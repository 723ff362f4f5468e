//! Scripts from GitHub, cached and revalidated when their TTL expires.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;

use crate::config;
use crate::scripts::cached_script::{CachedScript, ScriptDir};
use crate::scripts::transforms::Transform;
use crate::upstream::{Revalidated, ScriptRepository};

/// Timeout for GitHub if there is a cached script to fall back to.
const REVALIDATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for GitHub if there is none.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for the latest commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without a further attempt after a failed one: requests that waited for it do not each
/// retry.
const RETRY_BACKOFF: Duration = Duration::from_secs(1);

/// A script cannot be provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The instrument has no script.
    #[error("script missing")]
    Missing,
    /// GitHub is unavailable, and no cached script is recent enough.
    #[error("script unavailable")]
    Unavailable,
}

/// A script before its transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its text.
    pub text: String,
    /// The latest commit of the repository, if entry.
    pub sha: Option<String>,
}

/// The scripts of the instruments that have a transform.
pub struct Scripts {
    repository: ScriptRepository,
    dir: ScriptDir,
    ttl: Duration,
    /// By the name of the instrument's folder. Locked during a fetch: one in-flight request per
    /// script.
    cache: HashMap<String, Mutex<Entry<CachedScript>>>,
    head: Mutex<Entry<Commit>>,
}

struct Commit {
    sha: String,
    etag: Option<String>,
}

/// A cached value, and when to revalidate it.
struct Entry<T> {
    value: Option<T>,
    revalidate_at: Option<Instant>,
}

impl<T> Entry<T> {
    const EMPTY: Self = Self {
        value: None,
        revalidate_at: None,
    };

    fn is_stale(&self) -> bool {
        self.revalidate_at.is_none_or(|at| Instant::now() >= at)
    }

    fn revalidate_after(&mut self, delay: Duration) {
        self.revalidate_at = Some(Instant::now() + delay);
    }
}

impl Scripts {
    /// Starts with an empty memory cache; scripts on disk are read when they are needed.
    #[must_use]
    pub fn new(repository: ScriptRepository, config: &config::GitHub) -> Self {
        let folders = Transform::all().map(|transform| transform.folder());
        Self {
            repository,
            dir: ScriptDir(config.script_dir.clone()),
            ttl: config.script_ttl,
            cache: folders
                .map(|folder| (folder, Mutex::new(Entry::EMPTY)))
                .collect(),
            head: Mutex::new(Entry::EMPTY),
        }
    }

    /// Returns the script that an instrument's transform edits. Revalidates it with GitHub when
    /// its TTL has expired, with one in-flight request per script; while GitHub is unavailable
    /// the last version serves for 24 h.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub async fn fetch(&self, transform: Transform) -> Result<Script, ScriptError> {
        let instrument = transform.folder();
        let entry = self.cache.get(&instrument).ok_or(ScriptError::Missing)?;
        let mut entry = entry.lock().await;
        if entry.is_stale() {
            self.refresh(&instrument, &mut entry).await?;
        }
        match &entry.value {
            Some(script) if script.is_usable(SystemTime::now()) => Ok(Script {
                text: script.text.clone(),
                sha: script.sha.clone(),
            }),
            _ => Err(ScriptError::Unavailable),
        }
    }

    async fn refresh(
        &self,
        instrument: &str,
        entry: &mut Entry<CachedScript>,
    ) -> Result<(), ScriptError> {
        if entry.value.is_none() {
            entry.value = self.dir.read(instrument).await;
        }
        let limit = match entry.value {
            Some(_) => REVALIDATE_TIMEOUT,
            None => FETCH_TIMEOUT,
        };
        let etag = entry
            .value
            .as_ref()
            .and_then(|script| script.etag.as_deref());
        let (result, sha) = tokio::join!(
            self.repository.script(instrument, etag, limit),
            self.commit()
        );
        let validated_at = SystemTime::now();
        match (result, entry.value.take()) {
            (Ok(Revalidated::Modified(text, etag)), _) => {
                entry.value = Some(CachedScript {
                    text,
                    sha,
                    etag,
                    validated_at,
                });
            }
            (Ok(Revalidated::NotModified), Some(script)) => {
                let sha = sha.or(script.sha);
                entry.value = Some(CachedScript {
                    sha,
                    validated_at,
                    ..script
                });
            }
            (Ok(Revalidated::Missing | Revalidated::NotModified), _) => {
                return Err(ScriptError::Missing);
            }
            (Err(error), cached) => {
                let has_cached = cached.is_some();
                tracing::warn!(%error, instrument, has_cached, "script not fetched from GitHub");
                entry.value = cached;
                entry.revalidate_after(RETRY_BACKOFF);
                return Ok(());
            }
        }
        entry.revalidate_after(self.ttl);
        if let Some(script) = &entry.value {
            self.dir.write(instrument, script).await;
        }
        Ok(())
    }

    /// Returns the id of the latest commit; without it a script is still usable.
    async fn commit(&self) -> Option<String> {
        let mut head = self.head.lock().await;
        if head.is_stale() {
            let etag = head
                .value
                .as_ref()
                .and_then(|commit| commit.etag.as_deref());
            match self.repository.commit(etag, COMMIT_TIMEOUT).await {
                Ok(Revalidated::Modified(sha, etag)) => head.value = Some(Commit { sha, etag }),
                Ok(Revalidated::NotModified) => {}
                Ok(Revalidated::Missing) => head.value = None,
                Err(error) => {
                    tracing::warn!(%error, "latest commit of the scripts unavailable: jobs get none");
                    head.value = None;
                }
            }
            // After an error as well: a rate limit must not be met with more requests.
            head.revalidate_after(self.ttl.max(RETRY_BACKOFF));
        }
        head.value.as_ref().map(|commit| commit.sha.clone())
    }
}
