//! Access to single jobs and their files.

use crate::auth::Caller;
use crate::cached::Cached;
use crate::error::ApiError;
use crate::model::Owner;

/// Checks access to a job: staff may see every job, a user their own and those of their
/// experiments.
///
/// # Errors
/// [`ApiError::Forbidden`] for other users; [`ApiError::Unavailable`] if the user's experiments
/// are unavailable.
pub async fn check(cached: &Cached, caller: Caller, owner: Owner) -> Result<(), ApiError> {
    let user_number = match caller {
        Caller::ApiKey | Caller::Staff { .. } => return Ok(()),
        Caller::User { user_number } => user_number,
    };
    if owner.user_number == Some(user_number) {
        return Ok(());
    }
    let experiment = owner.experiment_number.ok_or(ApiError::Forbidden)?;
    let experiments = cached.experiments(user_number).await?;
    if experiments.contains(&i64::from(experiment)) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}
