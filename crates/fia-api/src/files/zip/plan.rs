//! What an archive will hold: found out before the first byte of it is sent.

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

/// How long finding the files of one archive may take.
const PLANNING: Duration = Duration::from_secs(10);
/// Folders that are looked into at once for one archive.
const FOLDERS: usize = 4;

/// A file that is asked for.
#[derive(Debug)]
pub struct Request {
    /// The number of the job that made it.
    pub job: i64,
    /// Where that job's files are, if anywhere.
    pub folder: Option<Arc<Folder>>,
    /// The file, as the client names it.
    pub name: String,
}

/// What an archive holds.
#[derive(Debug)]
pub struct Plan {
    /// What was asked for and is not there.
    pub missing: MissingFiles,
    pub(super) entries: Vec<Entry>,
}

impl Plan {
    /// Whether nothing of what was asked for is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A file of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) member: String,
    pub(super) folder: Arc<Folder>,
    /// Below that folder.
    pub(super) path: PathBuf,
}

/// Where a file was found.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    size: u64,
}

type Places = HashMap<(Arc<Folder>, Name), Place>;

impl Files {
    /// Finds the files of an archive: one walk a folder at most, whatever is asked for in it.
    ///
    /// # Errors
    /// [`FileError::TooMuch`] beyond the limits; [`FileError::CutShort`] where the search took
    /// too long.
    pub async fn plan_zip(&self, requests: Vec<Request>) -> Result<Plan, FileError> {
        if requests.len() > self.0.settings.max_zip_files {
            return Err(FileError::TooMuch);
        }
        let places = timeout(PLANNING, self.places(&requests))
            .await
            .map_err(|_| FileError::CutShort)??;
        let mut plan = Drafted::default();
        for request in &requests {
            plan.add(request, &places);
        }
        if plan.size > self.0.settings.max_zip_bytes {
            return Err(FileError::TooMuch);
        }
        Ok(Plan {
            missing: MissingFiles(plan.missing),
            entries: plan.entries,
        })
    }

    async fn places(&self, requests: &[Request]) -> Result<Places, FileError> {
        let mut names: HashMap<Arc<Folder>, HashSet<Name>> = HashMap::new();
        for request in requests {
            if let (Some(folder), Some(name)) = (&request.folder, Name::new(&request.name)) {
                names.entry(Arc::clone(folder)).or_default().insert(name);
            }
        }
        let found: Vec<Places> = stream::iter(names)
            .map(|(folder, names)| self.places_in(folder, names))
            .buffer_unordered(FOLDERS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The files of one folder: first where they are said to be, then the bare names in the
    /// sub-folders.
    async fn places_in(
        &self,
        folder: Arc<Folder>,
        names: HashSet<Name>,
    ) -> Result<Places, FileError> {
        let exact = names
            .into_iter()
            .map(|name| (name.clone(), name.as_path().to_owned()));
        let (mut found, others) = self.measure(&folder, exact.collect()).await?;
        let others = others.into_iter().filter(Name::is_bare).collect();
        let root = self.reduced();
        let searched = self.0.searches.find(&root, &folder, others, Wanted::File);
        let deeper = match searched.await {
            // Whose folder does not exist has no files.
            Err(FileError::NoFolder) => HashMap::new(),
            searched => searched?.as_ref().clone(),
        };
        let (deeper, _) = self.measure(&folder, deeper.into_iter().collect()).await?;
        found.extend(deeper);
        let key = |(name, place)| ((Arc::clone(&folder), name), place);
        Ok(found.into_iter().map(key).collect())
    }

    /// Those of some paths that are regular files, with their sizes, and the names of those that
    /// are not there.
    async fn measure(
        &self,
        folder: &Arc<Folder>,
        paths: Vec<(Name, PathBuf)>,
    ) -> Result<(Vec<(Name, Place)>, Vec<Name>), FileError> {
        let (root, folder) = (self.reduced(), Arc::clone(folder));
        let look = move || {
            let (mut found, mut others) = (Vec::new(), Vec::new());
            let folder = match folder.open(&root) {
                Err(FileError::NoFolder) => return Ok((found, others)),
                folder => folder?,
            };
            for (name, path) in paths.into_iter().filter(|(name, _)| !name.is_folder()) {
                match folder
                    .metadata(&path)
                    .map_err(|error| FileError::of_look(&error))
                {
                    Ok(metadata) if metadata.is_file() => {
                        let size = metadata.len();
                        found.push((name, Place { path, size }));
                    }
                    Ok(_) => {}
                    Err(FileError::Missing) => others.push(name),
                    Err(other) => return Err(other),
                }
            }
            Ok((found, others))
        };
        self.0.workers.run(look).await?
    }
}

/// A plan in the making.
#[derive(Default)]
struct Drafted {
    missing: Vec<String>,
    entries: Vec<Entry>,
    size: u64,
    /// What stands under each member's name.
    members: HashMap<String, (Arc<Folder>, PathBuf)>,
}

impl Drafted {
    /// A file that is asked for again stands once.
    fn add(&mut self, request: &Request, places: &Places) {
        let found = request.folder.as_ref().zip(Name::new(&request.name));
        let found = found.and_then(|(folder, name)| {
            let key = (Arc::clone(folder), name);
            let place = places.get(&key)?;
            Some((key, place))
        });
        let Some(((folder, name), place)) = found else {
            self.missing
                .push(format!("{}/{}", request.job, request.name));
            return;
        };
        let source = (folder, place.path.clone());
        let mut member = safe_name(request.job, name.as_str());
        while let Some(other) = self.members.get(&member) {
            if *other == source {
                return;
            }
            // Two names that are one on other systems.
            member.push('_');
        }
        self.members.insert(member.clone(), source.clone());
        self.size = self.size.saturating_add(place.size);
        let (folder, path) = source;
        self.entries.push(Entry {
            member,
            folder,
            path,
        });
    }
}
