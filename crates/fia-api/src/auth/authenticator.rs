//! From an `Authorization` header to a [`Caller`].

use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::Caller;
use crate::auth::token;
use crate::auth::token::{Verdict, Verifier, vouched_caller};
use crate::config::Config;
use crate::error::ApiError;
use crate::upstream::{AuthService, UpstreamError};

/// Finds out who sent a request. What the auth service says of a token is never kept.
pub struct Authenticator {
    /// In `DEV_MODE` everybody is this caller.
    developer: Option<Caller>,
    /// SHA-256 of the API key: equal lengths, so that comparing takes the same time always.
    api_key: Option<[u8; 32]>,
    verifier: Option<Verifier>,
    service: AuthService,
    /// How often the auth service may be asked about tokens with another's signature.
    fallback_limit: RateLimiter,
}

impl Authenticator {
    /// Prepares the keys and the client of the auth service.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &Config) -> Result<Self, UpstreamError> {
        Ok(Self {
            developer: config.server.dev_mode.then_some(Caller::DEVELOPER),
            api_key: config.auth.api_key.as_ref().map(digest),
            verifier: config.auth.jwt_secret.as_ref().map(Verifier::new),
            service: AuthService::new(&config.auth)?,
            fallback_limit: RateLimiter::per_second(10),
        })
    }

    /// The caller behind a request's headers.
    ///
    /// # Errors
    /// [`ApiError::Unauthenticated`] without a bearer token, [`ApiError::Forbidden`] with one
    /// that is not valid, [`ApiError::Unavailable`] where that cannot be found out.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if let Some(developer) = self.developer {
            return Ok(developer);
        }
        let token = bearer(headers).ok_or(ApiError::Unauthenticated)?;
        if self.is_api_key(token) {
            return Ok(Caller::ApiKey);
        }
        match self.verifier.as_ref().map(|verifier| verifier.check(token)) {
            Some(Verdict::Valid(caller)) => Ok(caller),
            Some(Verdict::Invalid) => Err(ApiError::Forbidden),
            Some(Verdict::OtherSignature) => self.fallback_verification(token).await,
            None => self.ask(token).await?.ok_or(ApiError::Forbidden),
        }
    }

    /// The caller behind a request's headers, where that needs no other service: a valid API
    /// key, or a token that `JWT_SECRET` vouches for.
    #[must_use]
    pub fn authenticate_locally(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.developer.is_some() {
            return self.developer;
        }
        let token = bearer(headers)?;
        if self.is_api_key(token) {
            return Some(Caller::ApiKey);
        }
        match self.verifier.as_ref()?.check(token) {
            Verdict::Valid(caller) => Some(caller),
            Verdict::Invalid | Verdict::OtherSignature => None,
        }
    }

    /// When what a request was let in with ends: the API key does not.
    #[must_use]
    pub fn token_expiry(&self, headers: &HeaderMap) -> Option<SystemTime> {
        let token = bearer(headers).filter(|token| !self.is_api_key(token))?;
        token::end(token)
    }

    fn is_api_key(&self, token: &str) -> bool {
        self.api_key.is_some_and(|key| {
            let given: [u8; 32] = Sha256::digest(token).into();
            given.ct_eq(&key).into()
        })
    }

    /// The auth service may sign with a new secret already; strangers may not make us flood it.
    async fn fallback_verification(&self, token: &str) -> Result<Caller, ApiError> {
        if !self.fallback_limit.try_acquire(Instant::now()) {
            return Err(ApiError::Forbidden);
        }
        match self.ask(token).await {
            Ok(Some(caller)) => {
                tracing::warn!(
                    "the auth service vouches for a token that JWT_SECRET does not match"
                );
                Ok(caller)
            }
            Ok(None) | Err(_) => Err(ApiError::Forbidden),
        }
    }

    async fn ask(&self, token: &str) -> Result<Option<Caller>, ApiError> {
        let valid = self.service.verify(token).await?;
        Ok(valid.then(|| vouched_caller(token)).flatten())
    }
}

fn digest(key: &SecretString) -> [u8; 32] {
    Sha256::digest(key.expose_secret()).into()
}

/// The token of an `Authorization: Bearer <token>` header, split at the first space as the
/// older server splits it; the scheme in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// So many of something in each second.
struct RateLimiter {
    most: u32,
    second: Mutex<(Option<Instant>, u32)>,
}

impl RateLimiter {
    fn per_second(most: u32) -> Self {
        Self {
            most,
            second: Mutex::new((None, 0)),
        }
    }

    /// Takes one, if there is one left at this time.
    fn try_acquire(&self, now: Instant) -> bool {
        let mut second = self.second.lock();
        let (began, spent) = &mut *second;
        if began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (*began, *spent) = (Some(now), 0);
        }
        *spent += 1;
        *spent <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_of(header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn the_bearer_is_split_at_the_first_space() {
        for (header, token) in [
            ("Bearer a", Some("a")),
            ("bEaReR  a ", Some("a")),
            ("Bearer a b", Some("a b")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer\ta", None),
            ("Basic a", None),
            ("a", None),
        ] {
            assert_eq!(bearer_of(header).as_deref(), token, "{header:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let budget = RateLimiter::per_second(2);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let spent: Vec<bool> = [start, start, start, later, later, later]
            .into_iter()
            .map(|now| budget.try_acquire(now))
            .collect();
        assert_eq!(spent, [true, true, false, true, true, false]);
    }
}
