//! Scripts as GitHub has them, asked for as seldom as will do.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;

use crate::config;
use crate::scripts::last_known::{Copy, Folder};
use crate::scripts::transforms::Transform;
use crate::upstream::{News, ScriptRepository};

/// How long GitHub may take where there is a copy to fall back to.
const WITH_COPY: Duration = Duration::from_secs(2);
/// How long it may take where there is none.
const WITHOUT_COPY: Duration = Duration::from_secs(5);
/// How long it may take to name its latest commit.
const COMMIT: Duration = Duration::from_secs(2);
/// How long GitHub is left alone after a failure: those who waited for the failed attempt do
/// not each make another.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The instrument has none.
    #[error("script missing")]
    Missing,
    /// GitHub cannot be asked, and no copy is recent enough.
    #[error("script unavailable")]
    Unavailable,
}

/// A script before its transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The text.
    pub text: String,
    /// The commit that the repository was at, where that is known.
    pub sha: Option<String>,
}

/// The scripts of the instruments that have a transform.
pub struct Scripts {
    repository: ScriptRepository,
    folder: Folder,
    ttl: Duration,
    /// By the name of the instrument's folder. Held while GitHub is asked: one request at a
    /// time for each.
    known: HashMap<String, Mutex<Known<Copy>>>,
    head: Mutex<Known<Commit>>,
}

struct Commit {
    sha: String,
    tag: Option<String>,
}

/// What was learnt last, and when to ask again.
struct Known<T> {
    value: Option<T>,
    ask_from: Option<Instant>,
}

impl<T> Known<T> {
    const NOTHING: Self = Self {
        value: None,
        ask_from: None,
    };

    fn is_due(&self) -> bool {
        self.ask_from.is_none_or(|from| Instant::now() >= from)
    }

    fn ask_after(&mut self, pause: Duration) {
        self.ask_from = Some(Instant::now() + pause);
    }
}

impl Scripts {
    /// No script is known yet, but for those in the folder of copies.
    #[must_use]
    pub fn new(repository: ScriptRepository, config: &config::GitHub) -> Self {
        let folders = Transform::all().map(|transform| transform.folder());
        Self {
            repository,
            folder: Folder(config.script_dir.clone()),
            ttl: config.script_ttl,
            known: folders
                .map(|folder| (folder, Mutex::new(Known::NOTHING)))
                .collect(),
            head: Mutex::new(Known::NOTHING),
        }
    }

    /// The script that an instrument's transform works on. Asks GitHub once in a while, one
    /// request at a time; while GitHub is away its last answer serves for 24 h.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub async fn fetch(&self, transform: Transform) -> Result<Script, ScriptError> {
        let instrument = transform.folder();
        let known = self.known.get(&instrument).ok_or(ScriptError::Missing)?;
        let mut known = known.lock().await;
        if known.is_due() {
            self.refresh(&instrument, &mut known).await?;
        }
        match &known.value {
            Some(copy) if copy.usable(SystemTime::now()) => Ok(Script {
                text: copy.text.clone(),
                sha: copy.sha.clone(),
            }),
            _ => Err(ScriptError::Unavailable),
        }
    }

    async fn refresh(&self, instrument: &str, known: &mut Known<Copy>) -> Result<(), ScriptError> {
        if known.value.is_none() {
            known.value = self.folder.read(instrument).await;
        }
        let limit = match known.value {
            Some(_) => WITH_COPY,
            None => WITHOUT_COPY,
        };
        let tag = known.value.as_ref().and_then(|copy| copy.tag.as_deref());
        let (news, sha) = tokio::join!(
            self.repository.script(instrument, tag, limit),
            self.commit()
        );
        let seen = SystemTime::now();
        match (news, known.value.take()) {
            (Ok(News::Changed(text, tag)), _) => {
                known.value = Some(Copy {
                    text,
                    sha,
                    tag,
                    seen,
                });
            }
            (Ok(News::Unchanged), Some(copy)) => {
                let sha = sha.or(copy.sha);
                known.value = Some(Copy { sha, seen, ..copy });
            }
            (Ok(News::Missing | News::Unchanged), _) => return Err(ScriptError::Missing),
            (Err(error), copy) => {
                tracing::warn!(%error, instrument, copy = copy.is_some(), "a script could not be fetched");
                known.value = copy;
                known.ask_after(PAUSE);
                return Ok(());
            }
        }
        known.ask_after(self.ttl);
        if let Some(copy) = &known.value {
            self.folder.write(instrument, copy).await;
        }
        Ok(())
    }

    /// The id of the latest commit; a script is as good without it.
    async fn commit(&self) -> Option<String> {
        let mut head = self.head.lock().await;
        if head.is_due() {
            let tag = head.value.as_ref().and_then(|commit| commit.tag.as_deref());
            match self.repository.commit(tag, COMMIT).await {
                Ok(News::Changed(sha, tag)) => head.value = Some(Commit { sha, tag }),
                Ok(News::Unchanged) => {}
                Ok(News::Missing) => head.value = None,
                Err(error) => {
                    tracing::warn!(%error, "the commit of the scripts could not be looked up");
                    head.value = None;
                }
            }
            // A refusal (too many requests) passes sooner when nobody insists.
            head.ask_after(self.ttl.max(PAUSE));
        }
        head.value.as_ref().map(|commit| commit.sha.clone())
    }
}
