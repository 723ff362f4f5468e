//! Scripts cached on disk, for use across restarts while GitHub is unavailable.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Maximum age of a cached script since it was last validated with GitHub.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The last known version of a script. Its fields are the format of the cache files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CachedScript {
    pub(super) text: String,
    /// The latest commit of the repository at that time.
    pub(super) sha: Option<String>,
    /// The `ETag` of this version of the file.
    #[serde(rename = "tag")]
    pub(super) etag: Option<String>,
    /// Time of the last validation with GitHub.
    #[serde(rename = "seen")]
    pub(super) validated_at: SystemTime,
}

impl CachedScript {
    /// Whether it may be used without a validation.
    pub(super) fn is_usable(&self, now: SystemTime) -> bool {
        // An age is zero if the clock was set back.
        now.duration_since(self.validated_at).unwrap_or_default() <= MAX_AGE
    }
}

/// The folder of cached scripts; without one nothing is cached on disk.
pub(super) struct ScriptDir(pub(super) Option<PathBuf>);

impl ScriptDir {
    /// Reads the cached script of an instrument.
    pub(super) async fn read(&self, instrument: &str) -> Option<CachedScript> {
        let file = self.file(instrument)?;
        let text = match tokio::fs::read(&file).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, instrument, "cached script unreadable: ignored");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!(%error, instrument, "cached script corrupt: ignored");
            })
            .ok()
    }

    /// Writes a script to disk. A failure is logged and does not fail the job.
    pub(super) async fn write(&self, instrument: &str, script: &CachedScript) {
        let Some(file) = self.file(instrument) else {
            return;
        };
        let text = serde_json::to_vec(script).unwrap_or_default();
        // Written to a temporary file and renamed, so that readers never see a partial file.
        let temporary = file.with_extension(format!("new-{}", std::process::id()));
        let written = async {
            tokio::fs::write(&temporary, text).await?;
            tokio::fs::rename(&temporary, &file).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, instrument, "script not cached on disk");
        }
    }

    fn file(&self, instrument: &str) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(format!("{instrument}.json")))
    }
}
