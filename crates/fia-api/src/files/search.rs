//! Looking for names in a folder's sub-folders: one walk for all names of a request, and for
//! all requests that ask the same at the same time.

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

use crate::files::walk::{Limits, Passed, walk};
use crate::files::workers::Workers;
use crate::files::{FileError, Folder, Name};

/// Walks at once.
const WALKS: usize = 4;
/// How long a walk may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// What may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Files only.
    File,
    /// Files and folders.
    Any,
}

/// The first place of each name that was found, below the folder.
pub(super) type Places = Arc<HashMap<Name, PathBuf>>;

type Answer = Result<Places, FileError>;
type Flight = BoxFuture<'static, Answer>;

/// What is asked: walks for the same are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    folder: Folder,
    wanted: Wanted,
    /// Sorted, each once.
    names: Vec<Name>,
}

/// The walks under way.
pub(super) struct Searches {
    workers: Workers,
    flights: Mutex<HashMap<Question, WeakShared<Flight>>>,
}

impl Searches {
    pub(super) fn new() -> Self {
        Self {
            workers: Workers::new(WALKS, PATIENCE),
            flights: Mutex::default(),
        }
    }

    /// Looks for bare names in a folder and all its sub-folders. When all who ask have gone,
    /// the walk ends.
    pub(super) async fn find(
        &self,
        root: &Path,
        folder: &Folder,
        mut names: Vec<Name>,
        wanted: Wanted,
    ) -> Answer {
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Places::default());
        }
        let question = Question {
            folder: folder.clone(),
            wanted,
            names,
        };
        self.board(root, question).await
    }

    fn board(&self, root: &Path, question: Question) -> Shared<Flight> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&question).and_then(WeakShared::upgrade) {
            return flight;
        }
        // Those that nobody waits for any more.
        flights.retain(|_, flight| flight.upgrade().is_some());
        let workers = self.workers.clone();
        let (root, asked) = (root.to_owned(), question.clone());
        let flight = async move {
            let asking = Arc::new(());
            let asked_for = Arc::downgrade(&asking);
            let found = workers
                .run(move || look(&root, &asked, &asked_for))
                .await?
                .map(Arc::new);
            drop(asking);
            found
        };
        let flight = flight.boxed().shared();
        flights.extend(flight.downgrade().map(|weak| (question, weak)));
        flight
    }
}

fn look(
    root: &Path,
    question: &Question,
    asked_for: &Weak<()>,
) -> Result<HashMap<Name, PathBuf>, FileError> {
    let folder = question.folder.open(root)?;
    let names: HashMap<&OsStr, &Name> = question
        .names
        .iter()
        .map(|name| (name.as_path().as_os_str(), name))
        .collect();
    let mut found = HashMap::new();
    let wanted = || asked_for.strong_count() > 0;
    walk(&folder, Limits::default(), wanted, |passed| {
        if let Some(name) = names.get(passed.name)
            && !found.contains_key(*name)
            && fits(&folder, passed, question.wanted)
        {
            found.insert((*name).clone(), passed.path());
        }
        if found.len() == names.len() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// Whether an entry is of the wanted kind; a symbolic link is what it leads to, within the
/// folder.
fn fits(folder: &Dir, passed: &Passed<'_>, wanted: Wanted) -> bool {
    let kind = if passed.kind.is_symlink() {
        match folder.metadata(passed.path()) {
            Ok(metadata) => metadata.file_type(),
            Err(_) => return false,
        }
    } else {
        passed.kind
    };
    kind.is_file() || (wanted == Wanted::Any && kind.is_dir())
}
