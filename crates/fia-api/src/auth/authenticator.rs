//! Authentication of requests by their `Authorization` header.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::Caller;
use crate::auth::token;
use crate::auth::token::{Verdict, Verifier, unverified_caller};
use crate::config::Config;
use crate::error::ApiError;
use crate::observe::Calls;
use crate::upstream::{AuthService, UpstreamError};

/// Authenticates requests. Results of the auth service are not cached.
pub struct Authenticator {
    /// The caller of every request in `DEV_MODE`.
    developer: Option<Caller>,
    /// SHA-256 of the API key: inputs of equal length make the comparison constant-time.
    api_key: Option<[u8; 32]>,
    verifier: Option<Verifier>,
    service: AuthService,
    /// Limits requests to the auth service about tokens with an unknown signature.
    fallback_limit: RateLimiter,
}

impl Authenticator {
    /// Creates the authenticator with its keys and the client of the auth service.
    ///
    /// # Errors
    /// If the TLS library cannot be initialized.
    pub fn new(config: &Config) -> Result<Self, UpstreamError> {
        Ok(Self {
            developer: config.server.dev_mode.then_some(Caller::DEVELOPER),
            api_key: config.auth.api_key.as_ref().map(digest),
            verifier: config.auth.jwt_secret.as_ref().map(Verifier::new),
            service: AuthService::new(&config.auth)?,
            fallback_limit: RateLimiter::per_second(10),
        })
    }

    /// The caller of a request with these headers.
    ///
    /// # Errors
    /// [`ApiError::Unauthenticated`] without a bearer token, [`ApiError::Forbidden`] with an invalid
    /// one, [`ApiError::Unavailable`] if the auth service is needed and unavailable.
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
            Some(Verdict::UnknownSignature) => self.fallback_verification(token).await,
            None => self
                .verify_remotely(token)
                .await?
                .ok_or(ApiError::Forbidden),
        }
    }

    /// The caller of a request with these headers, if no request to the auth service is needed: it
    /// has the API key, or a token that `JWT_SECRET` verifies.
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
            Verdict::Invalid | Verdict::UnknownSignature => None,
        }
    }

    /// The expiry of a request's token; `None` for the API key, which does not expire.
    #[must_use]
    pub fn token_expiry(&self, headers: &HeaderMap) -> Option<SystemTime> {
        let token = bearer(headers).filter(|token| !self.is_api_key(token))?;
        token::expiry(token)
    }

    /// The calls of the auth service.
    #[must_use]
    pub fn service_calls(&self) -> &Arc<Calls> {
        self.service.calls()
    }

    fn is_api_key(&self, token: &str) -> bool {
        self.api_key.is_some_and(|key| {
            let given: [u8; 32] = Sha256::digest(token).into();
            given.ct_eq(&key).into()
        })
    }

    /// Verifies a token with an unknown signature by the auth service, which may have rotated its
    /// secret. Rate-limited, since anyone can send such tokens.
    async fn fallback_verification(&self, token: &str) -> Result<Caller, ApiError> {
        if !self.fallback_limit.try_acquire(Instant::now()) {
            return Err(ApiError::Forbidden);
        }
        match self.verify_remotely(token).await {
            Ok(Some(caller)) => {
                tracing::warn!(
                    "auth service accepted a token that JWT_SECRET rejects: the secret may be stale"
                );
                Ok(caller)
            }
            Ok(None) | Err(_) => Err(ApiError::Forbidden),
        }
    }

    async fn verify_remotely(&self, token: &str) -> Result<Option<Caller>, ApiError> {
        let valid = self.service.verify(token).await?;
        Ok(valid.then(|| unverified_caller(token)).flatten())
    }
}

fn digest(key: &SecretString) -> [u8; 32] {
    Sha256::digest(key.expose_secret()).into()
}

/// The token of an `Authorization: Bearer <token>` header, split at the first space as in the
/// older server; the scheme is case-insensitive.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A limit on operations a second, counted in fixed windows.
struct RateLimiter {
    limit: u32,
    /// The start of the window, and the attempts in it.
    window: Mutex<(Option<Instant>, u32)>,
}

impl RateLimiter {
    fn per_second(limit: u32) -> Self {
        Self {
            limit,
            window: Mutex::new((None, 0)),
        }
    }

    /// Counts an attempt, and returns true if it is within the limit.
    fn try_acquire(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        let (start, attempts) = &mut *window;
        if start.is_none_or(|start| now.duration_since(start) >= Duration::from_secs(1)) {
            (*start, *attempts) = (Some(now), 0);
        }
        *attempts += 1;
        *attempts <= self.limit
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
    fn a_rate_limiter_resets_every_second() {
        let limiter = RateLimiter::per_second(2);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let acquired: Vec<bool> = [start, start, start, later, later, later]
            .into_iter()
            .map(|now| limiter.try_acquire(now))
            .collect();
        assert_eq!(acquired, [true, true, false, true, true, false]);
    }
}
