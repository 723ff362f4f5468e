//! May this caller see this job, and have what came out of it?

use crate::auth::Caller;
use crate::cached::Cached;
use crate::error::ApiError;
use crate::model::Owner;

/// Lets staff see every job, and a user those that are theirs or of their experiments.
///
/// # Errors
/// [`ApiError::Forbidden`] for anybody else; [`ApiError::Unavailable`] where the user's
/// experiments cannot be found out.
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
