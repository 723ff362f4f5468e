//! Search for names in a folder and its sub-folders: one walk for all names of a request, shared
//! by concurrent requests for the same names (single flight).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cap_std::fs::Dir;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use crate::files::walk::{Limits, WalkEntry, walk};
use crate::files::workers::Workers;
use crate::files::{FileError, Folder, Name};

/// Maximum number of concurrent walks.
const MAX_WALKS: usize = 4;
/// Maximum wait of a walk for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The kind of entry that is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Files only.
    File,
    /// Files and folders.
    Any,
}

/// The first match of each name that was found, as a path below the folder.
pub(super) type Matches = Arc<HashMap<Name, PathBuf>>;

type SearchResult = Result<Matches, FileError>;
type Flight = BoxFuture<'static, SearchResult>;

/// The key of a flight: searches with equal keys share one walk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SearchKey {
    folder: Folder,
    wanted: Wanted,
    /// Sorted and deduplicated.
    names: Vec<Name>,
}

/// The searches in flight.
pub(super) struct Searches {
    workers: Workers,
    flights: Mutex<HashMap<SearchKey, WeakShared<Flight>>>,
}

impl Searches {
    pub(super) fn new() -> Self {
        Self {
            workers: Workers::new(MAX_WALKS, PERMIT_TIMEOUT),
            flights: Mutex::default(),
        }
    }

    /// Searches for bare names in a folder and all its sub-folders. The walk is cancelled when all
    /// its waiters are gone.
    pub(super) async fn find(
        &self,
        root: &Path,
        folder: &Folder,
        mut names: Vec<Name>,
        wanted: Wanted,
    ) -> SearchResult {
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Matches::default());
        }
        let key = SearchKey {
            folder: folder.clone(),
            wanted,
            names,
        };
        self.join_or_start(root, key).await
    }

    fn join_or_start(&self, root: &Path, key: SearchKey) -> Shared<Flight> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        // Remove finished and cancelled flights.
        flights.retain(|_, flight| flight.upgrade().is_some());
        let workers = self.workers.clone();
        let (root, search) = (root.to_owned(), key.clone());
        let flight = async move {
            // Dropped with the flight, which cancels the walk.
            let waiting = Arc::new(());
            let waiters = Arc::downgrade(&waiting);
            let found = workers
                .run(move || search_folder(&root, &search, &waiters))
                .await?
                .map(Arc::new);
            drop(waiting);
            found
        };
        let flight = flight.boxed().shared();
        flights.extend(flight.downgrade().map(|weak| (key, weak)));
        flight
    }
}

/// Walks the folder until all names are found or there are no waiters.
fn search_folder(
    root: &Path,
    key: &SearchKey,
    waiters: &Weak<()>,
) -> Result<HashMap<Name, PathBuf>, FileError> {
    let folder = key.folder.open(root)?;
    let names: HashMap<&OsStr, &Name> = key
        .names
        .iter()
        .map(|name| (name.as_path().as_os_str(), name))
        .collect();
    let mut found = HashMap::new();
    let has_waiters = || waiters.strong_count() > 0;
    walk(&folder, Limits::default(), has_waiters, |entry| {
        if let Some(name) = names.get(entry.name)
            && !found.contains_key(*name)
            && is_wanted(&folder, entry, key.wanted)
        {
            found.insert((*name).clone(), entry.path());
        }
        if found.len() == names.len() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// Whether an entry is of the wanted kind. A symbolic link counts as its target, which must be
/// within the folder.
fn is_wanted(folder: &Dir, entry: &WalkEntry<'_>, wanted: Wanted) -> bool {
    let kind = if entry.kind.is_symlink() {
        match folder.metadata(entry.path()) {
            Ok(metadata) => metadata.file_type(),
            Err(_) => return false,
        }
    } else {
        entry.kind
    };
    kind.is_file() || (wanted == Wanted::Any && kind.is_dir())
}
