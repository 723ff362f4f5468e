//! Folders of jobs' files, with access checks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::Caller;
use crate::cached::Cached;
use crate::error::ApiError;
use crate::files::Folder;
use crate::model::{JobOrigin, Owner};
use crate::ops::job_access;
use crate::store::{Db, jobs};

/// The folder of a job's files.
///
/// # Errors
/// [`ApiError::Missing`] for a missing job, for every caller; [`ApiError::Forbidden`] without
/// access to the job; [`ApiError::NoFolder`] if the job lacks the numbers of its folder.
pub async fn folder(
    db: &Db,
    cached: &Cached,
    caller: Caller,
    job: i64,
) -> Result<Folder, ApiError> {
    let mut origins = jobs::origins(db, &[job]).await?;
    let origin = origins.remove(&job).ok_or(ApiError::Missing)?;
    job_access::check(cached, caller, origin.owner).await?;
    folder_of(origin).ok_or(ApiError::NoFolder)
}

/// The folders of several jobs' files, by the job's id; `None` if a job lacks the numbers of its
/// folder.
///
/// # Errors
/// As [`folder`], for the first job that fails.
pub async fn folders(
    db: &Db,
    cached: &Cached,
    caller: Caller,
    ids: &[i64],
) -> Result<HashMap<i64, Option<Arc<Folder>>>, ApiError> {
    let mut origins = jobs::origins(db, ids).await?;
    let mut checked: Vec<Owner> = Vec::new();
    let mut folders = HashMap::new();
    for id in ids {
        if folders.contains_key(id) {
            continue;
        }
        let origin = origins.remove(id).ok_or(ApiError::Missing)?;
        if !checked.contains(&origin.owner) {
            job_access::check(cached, caller, origin.owner).await?;
            checked.push(origin.owner);
        }
        folders.insert(*id, folder_of(origin).map(Arc::new));
    }
    Ok(folders)
}

/// Checks access to a folder: staff may read every folder, a user their own and those of their
/// experiments.
///
/// # Errors
/// [`ApiError::Forbidden`] for other users; [`ApiError::Unavailable`] if the user's experiments
/// are unavailable.
pub async fn check_folder_access(
    cached: &Cached,
    caller: Caller,
    folder: &Folder,
) -> Result<(), ApiError> {
    let user_number = match caller {
        Caller::ApiKey | Caller::Staff { .. } => return Ok(()),
        Caller::User { user_number } => user_number,
    };
    let may = match folder {
        Folder::User(number) => *number == i64::from(user_number),
        Folder::Experiment(number)
        | Folder::Instrument {
            experiment: number, ..
        } => cached.experiments(user_number).await?.contains(number),
    };
    may.then_some(()).ok_or(ApiError::Forbidden)
}

/// The folder that a job's origin implies. As in the older server, the number 0 counts as absent.
fn folder_of(origin: JobOrigin) -> Option<Folder> {
    let number = |number: Option<i32>| number.map(i64::from).filter(|number| *number != 0);
    let experiment = number(origin.owner.experiment_number);
    if origin.is_simple {
        let user = || number(origin.owner.user_number).map(Folder::User);
        return experiment.map(Folder::Experiment).or_else(user);
    }
    Some(Folder::Instrument {
        experiment: experiment?,
        instrument: origin.instrument?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstrumentName;

    #[test]
    fn the_folder_follows_from_the_kind_and_owner_of_a_job() {
        let mari = || InstrumentName::new("MARI");
        let instrument = || Folder::Instrument {
            instrument: mari().unwrap(),
            experiment: 5,
        };
        for (is_simple, experiment_number, user_number, instrument, folder) in [
            (false, Some(5), None, mari(), Some(instrument())),
            (false, Some(5), None, None, None),
            (false, None, Some(7), mari(), None),
            (false, Some(0), None, mari(), None),
            (true, Some(5), Some(7), mari(), Some(Folder::Experiment(5))),
            (true, None, Some(7), None, Some(Folder::User(7))),
            (true, None, Some(-1), None, Some(Folder::User(-1))),
            (true, Some(0), Some(0), None, None),
        ] {
            let owner = Owner {
                experiment_number,
                user_number,
            };
            let origin = JobOrigin {
                owner,
                instrument,
                is_simple,
            };
            assert_eq!(folder_of(origin), folder, "{owner:?}");
        }
    }
}
