//! The plan of an archive: its members are resolved before the first byte is sent.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use crate::files::search::Wanted;
use crate::files::zip::member::safe_name;
use crate::files::{FileError, Files, Folder, Name};
use crate::model::MissingFiles;

/// Timeout for resolving the members of one archive.
const PLAN_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of folders searched concurrently for one archive.
const MAX_FOLDERS: usize = 4;

/// A requested file.
#[derive(Debug)]
pub struct Request {
    /// The id of the job that produced it.
    pub job: i64,
    /// The folder of the job's files, if it has one.
    pub folder: Option<Arc<Folder>>,
    /// The name given by the client.
    pub name: String,
}

/// The members of an archive.
#[derive(Debug)]
pub struct Plan {
    /// Requested files that do not exist.
    pub missing: MissingFiles,
    pub(super) entries: Vec<Entry>,
}

impl Plan {
    /// Whether none of the requested files exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A member of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) member: String,
    pub(super) folder: Arc<Folder>,
    /// The path below the folder.
    pub(super) path: PathBuf,
}

/// A file that was found.
#[derive(Debug, Clone)]
struct FoundFile {
    path: PathBuf,
    size: u64,
}

type FoundFiles = HashMap<(Arc<Folder>, Name), FoundFile>;

impl Files {
    /// The most files in one archive.
    #[must_use]
    pub fn max_zip_files(&self) -> usize {
        self.0.settings.max_zip_files
    }

    /// Resolves the files of an archive, with at most one walk per folder.
    ///
    /// # Errors
    /// [`FileError::TooMuch`] beyond the limits; [`FileError::CutShort`] if the search exceeds
    /// its limits.
    pub async fn plan_zip(&self, requests: Vec<Request>) -> Result<Plan, FileError> {
        if requests.len() > self.0.settings.max_zip_files {
            return Err(FileError::TooMuch);
        }
        let found = timeout(PLAN_TIMEOUT, self.resolve(&requests))
            .await
            .map_err(|_| FileError::CutShort)??;
        let mut plan = PlanBuilder::default();
        for request in &requests {
            plan.add(request, &found);
        }
        if plan.size > self.0.settings.max_zip_bytes {
            return Err(FileError::TooMuch);
        }
        Ok(Plan {
            missing: MissingFiles(plan.missing),
            entries: plan.entries,
        })
    }

    async fn resolve(&self, requests: &[Request]) -> Result<FoundFiles, FileError> {
        let mut names: HashMap<Arc<Folder>, HashSet<Name>> = HashMap::new();
        for request in requests {
            if let (Some(folder), Some(name)) = (&request.folder, Name::new(&request.name)) {
                names.entry(Arc::clone(folder)).or_default().insert(name);
            }
        }
        let found: Vec<FoundFiles> = stream::iter(names)
            .map(|(folder, names)| self.resolve_in(folder, names))
            .buffer_unordered(MAX_FOLDERS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Resolves the files of one folder: first by exact path, then bare names in the sub-folders.
    async fn resolve_in(
        &self,
        folder: Arc<Folder>,
        names: HashSet<Name>,
    ) -> Result<FoundFiles, FileError> {
        let exact = names
            .into_iter()
            .map(|name| (name.clone(), name.as_path().to_owned()));
        let (mut found, others) = self.measure(&folder, exact.collect()).await?;
        let others = others.into_iter().filter(Name::is_bare).collect();
        let root = self.reduced();
        let searched = self.0.searches.find(&root, &folder, others, Wanted::File);
        let deeper = match searched.await {
            // A folder that does not exist has no files.
            Err(FileError::NoFolder) => HashMap::new(),
            searched => searched?.as_ref().clone(),
        };
        let (deeper, _) = self.measure(&folder, deeper.into_iter().collect()).await?;
        found.extend(deeper);
        let key = |(name, file)| ((Arc::clone(&folder), name), file);
        Ok(found.into_iter().map(key).collect())
    }

    /// Returns the paths that are regular files, with their sizes, and the names of those that do
    /// not exist.
    async fn measure(
        &self,
        folder: &Arc<Folder>,
        paths: Vec<(Name, PathBuf)>,
    ) -> Result<(Vec<(Name, FoundFile)>, Vec<Name>), FileError> {
        let (root, folder) = (self.reduced(), Arc::clone(folder));
        let measure = move || {
            let (mut found, mut others) = (Vec::new(), Vec::new());
            let folder = match folder.open(&root) {
                Err(FileError::NoFolder) => return Ok((found, others)),
                folder => folder?,
            };
            for (name, path) in paths.into_iter().filter(|(name, _)| !name.is_folder()) {
                match folder
                    .metadata(&path)
                    .map_err(|error| FileError::from_read(&error))
                {
                    Ok(metadata) if metadata.is_file() => {
                        let size = metadata.len();
                        found.push((name, FoundFile { path, size }));
                    }
                    Ok(_) => {}
                    Err(FileError::Missing) => others.push(name),
                    Err(other) => return Err(other),
                }
            }
            Ok((found, others))
        };
        self.0.workers.run(measure).await?
    }
}

/// Builds a plan from the requests.
#[derive(Default)]
struct PlanBuilder {
    missing: Vec<String>,
    entries: Vec<Entry>,
    size: u64,
    /// The source of each member name.
    members: HashMap<String, (Arc<Folder>, PathBuf)>,
}

impl PlanBuilder {
    /// Adds a requested file; a repeated request adds nothing.
    fn add(&mut self, request: &Request, files: &FoundFiles) {
        let found = request.folder.as_ref().zip(Name::new(&request.name));
        let found = found.and_then(|(folder, name)| {
            let key = (Arc::clone(folder), name);
            let file = files.get(&key)?;
            Some((key, file))
        });
        let Some(((folder, name), file)) = found else {
            self.missing
                .push(format!("{}/{}", request.job, request.name));
            return;
        };
        let source = (folder, file.path.clone());
        let mut member = safe_name(request.job, name.as_str());
        while let Some(other) = self.members.get(&member) {
            if *other == source {
                return;
            }
            // Different names became equal in `safe_name`.
            member.push('_');
        }
        self.members.insert(member.clone(), source.clone());
        self.size = self.size.saturating_add(file.size);
        let (folder, path) = source;
        self.entries.push(Entry {
            member,
            folder,
            path,
        });
    }
}
