//! Authentication of requests by their `Authorization` header.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::Caller;
use crate::auth::fallback::Fallback;
use crate::auth::token;
use crate::auth::token::{Verdict, Verifier, unverified_caller};
use crate::auth::verdicts::TokenHash;
use crate::config::Config;
use crate::error::ApiError;
use crate::observe::Calls;
use crate::upstream::{AuthService, Precedence, UpstreamError};

/// Authenticates requests. Without `JWT_SECRET` the auth service verifies each token, each time.
pub struct Authenticator {
    /// The caller of every request in `DEV_MODE`.
    developer: Option<Caller>,
    /// SHA-256 of the API key: inputs of equal length make the comparison constant-time.
    api_key: Option<TokenHash>,
    verifier: Option<Verifier>,
    service: AuthService,
    /// For tokens with an unknown signature.
    fallback: Fallback,
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
            fallback: Fallback::new(),
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
        let hash = hash_of(token);
        if self.is_api_key(&hash) {
            return Ok(Caller::ApiKey);
        }
        match self.verifier.as_ref().map(|verifier| verifier.check(token)) {
            Some(Verdict::Valid(caller)) => {
                self.fallback.record(caller);
                Ok(caller)
            }
            Some(Verdict::Invalid) => Err(ApiError::Forbidden),
            Some(Verdict::UnknownSignature) => {
                self.fallback.verify(&self.service, token, hash).await
            }
            None => self
                .verify_remotely(token)
                .await?
                .ok_or(ApiError::Forbidden),
        }
    }

    /// The caller of a request with these headers, if no request to the auth service is needed: it
    /// has the API key, a token that `JWT_SECRET` verifies, or one whose verdict is remembered.
    #[must_use]
    pub fn authenticate_locally(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.developer.is_some() {
            return self.developer;
        }
        let token = bearer(headers)?;
        let hash = hash_of(token);
        if self.is_api_key(&hash) {
            return Some(Caller::ApiKey);
        }
        match self.verifier.as_ref()?.check(token) {
            Verdict::Valid(caller) => {
                self.fallback.record(caller);
                Some(caller)
            }
            Verdict::UnknownSignature => self.fallback.remembered(&hash),
            Verdict::Invalid => None,
        }
    }

    /// The expiry of a request's token; `None` for the API key, which does not expire.
    #[must_use]
    pub fn token_expiry(&self, headers: &HeaderMap) -> Option<SystemTime> {
        let token = bearer(headers).filter(|token| !self.is_api_key(&hash_of(token)))?;
        token::expiry(token)
    }

    /// The calls of the auth service.
    #[must_use]
    pub fn service_calls(&self) -> &Arc<Calls> {
        self.service.calls()
    }

    fn is_api_key(&self, hash: &TokenHash) -> bool {
        self.api_key.is_some_and(|key| hash.ct_eq(&key).into())
    }

    /// Verifies a token by the auth service, each time.
    async fn verify_remotely(&self, token: &str) -> Result<Option<Caller>, ApiError> {
        let valid = self.service.verify(token, Precedence::Unknown).await?;
        Ok(valid.then(|| unverified_caller(token)).flatten())
    }
}

fn digest(key: &SecretString) -> TokenHash {
    hash_of(key.expose_secret())
}

fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// The token of an `Authorization: Bearer <token>` header, split at the first space as in the
/// older server; the scheme is case-insensitive.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
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
}
