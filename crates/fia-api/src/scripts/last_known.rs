//! Copies of scripts that outlive the process, for when GitHub is away.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How long after GitHub last vouched for it a copy may be used.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);

/// A script as GitHub last had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copy {
    pub(super) text: String,
    /// The commit that the repository was at.
    pub(super) sha: Option<String>,
    /// GitHub's name for this version of the file.
    pub(super) tag: Option<String>,
    /// When GitHub last had it so.
    pub(super) seen: SystemTime,
}

impl Copy {
    /// Whether it may stand in for what GitHub would say at this time.
    pub(super) fn usable(&self, now: SystemTime) -> bool {
        // A clock that was set back since makes no copy old.
        now.duration_since(self.seen).unwrap_or_default() <= USABLE
    }
}

/// The folder with the copies; without one there are none.
pub(super) struct Folder(pub(super) Option<PathBuf>);

impl Folder {
    /// The copy of the script in an instrument's folder.
    pub(super) async fn read(&self, instrument: &str) -> Option<Copy> {
        let file = self.file(instrument)?;
        let text = match tokio::fs::read(&file).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, instrument, "the copy of a script cannot be read");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!(%error, instrument, "the copy of a script is damaged");
            })
            .ok()
    }

    /// Keeps a copy. Failing to is no reason to fail a job.
    pub(super) async fn write(&self, instrument: &str, copy: &Copy) {
        let Some(file) = self.file(instrument) else {
            return;
        };
        let text = serde_json::to_vec(copy).unwrap_or_default();
        // Written aside first: a reader finds the old copy or the new one, whole.
        let aside = file.with_extension(format!("new-{}", std::process::id()));
        let written = async {
            tokio::fs::write(&aside, text).await?;
            tokio::fs::rename(&aside, &file).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, instrument, "the copy of a script cannot be written");
        }
    }

    fn file(&self, instrument: &str) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(format!("{instrument}.json")))
    }
}
