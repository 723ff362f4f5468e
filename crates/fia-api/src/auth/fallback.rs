//! Verification by the auth service of tokens whose signature `JWT_SECRET` does not match: it may
//! sign with a new secret already.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::auth::Caller;
use crate::auth::budget::Budget;
use crate::auth::token::{expiry, unverified_caller};
use crate::auth::verdicts::{TokenHash, Verdicts};
use crate::error::ApiError;
use crate::upstream::{AuthService, Precedence};

/// Timeout for a verification, the wait for that of another request with the same token included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The tokens and users that are known, and the budgets of the others.
pub(super) struct Fallback {
    verdicts: Verdicts,
    budget: Budget,
}

impl Fallback {
    pub(super) fn new() -> Self {
        Self {
            verdicts: Verdicts::new(),
            budget: Budget::new(),
        }
    }

    /// Records the caller of a token that was verified locally.
    pub(super) fn record(&self, caller: Caller) {
        self.budget.record_user(caller.user_number());
    }

    /// The caller of a token that the auth service accepted less than a minute ago.
    pub(super) fn remembered(&self, hash: &TokenHash) -> Option<Caller> {
        self.verdicts.caller(hash, Instant::now())
    }

    /// Verifies a token by the auth service, unless its verdict is remembered.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] if it is rejected, if it is unknown and the budget is spent or the
    /// service gave no response; [`ApiError::Unavailable`] if a token that was valid before could
    /// not be verified again.
    pub(super) async fn verify(
        &self,
        service: &AuthService,
        token: &str,
        hash: TokenHash,
    ) -> Result<Caller, ApiError> {
        if let Some(caller) = self.remembered(&hash) {
            return Ok(caller);
        }
        let was_accepted = self.verdicts.was_accepted(&hash);
        let verifying = self.verify_once(service, token, hash, was_accepted);
        match timeout(TIMEOUT, verifying).await {
            Ok(verdict) => verdict,
            Err(_) => Err(no_response(was_accepted)),
        }
    }

    async fn verify_once(
        &self,
        service: &AuthService,
        token: &str,
        hash: TokenHash,
        was_accepted: bool,
    ) -> Result<Caller, ApiError> {
        let gate = self.verdicts.gate(hash);
        let _passed = gate.pass().await;
        if let Some(caller) = self.remembered(&hash) {
            return Ok(caller);
        }
        let claimed = unverified_caller(token);
        let precedence = if was_accepted {
            Precedence::Known
        } else {
            let user = claimed.map(Caller::user_number);
            if !self.budget.spend(user, Instant::now()) {
                return Err(ApiError::Forbidden);
            }
            Precedence::Unknown
        };
        match (service.verify(token, precedence).await, claimed) {
            (Ok(true), Some(caller)) => {
                tracing::warn!(
                    "auth service accepted a token that JWT_SECRET rejects: the secret may be stale"
                );
                self.verdicts.accept(hash, caller, expiry(token));
                self.record(caller);
                Ok(caller)
            }
            (Ok(_), _) => {
                self.verdicts.reject(&hash);
                Err(ApiError::Forbidden)
            }
            (Err(error), _) => {
                tracing::warn!(%error, "auth service unavailable: token not verified");
                Err(no_response(was_accepted))
            }
        }
    }
}

/// Clients renew their token after a 403, which needs the auth service, too: a token that was valid
/// is refused only by its verdict.
fn no_response(was_accepted: bool) -> ApiError {
    if was_accepted {
        ApiError::Unavailable
    } else {
        ApiError::Forbidden
    }
}
