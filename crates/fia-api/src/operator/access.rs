//! Who may act: holders of the operator's key, and staff.
//!
//! A browser signs in once and gets a session in a cookie; its forms carry the session's token
//! against forged requests. Other clients send the key or a staff token as a bearer token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::{Authenticator, Caller};
use crate::error::ApiError;
use crate::model::hex;
use crate::operator::browser::{cookie, is_from_page, set_cookie};

/// The life of a session.
const SESSION_LIFE: Duration = Duration::from_secs(8 * 3600);
/// The most sessions; beyond, the oldest ends.
const MAX_SESSIONS: usize = 64;
/// The most failed sign-ins within [`FAILURE_WINDOW`]; beyond, further ones are refused.
const MAX_FAILURES: u32 = 10;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Actor {
    /// A holder of the operator's key.
    Key,
    /// A member of staff, by user number.
    Staff(#[serde(skip)] i32),
}

impl Actor {
    /// For the log, which names who acted.
    pub(super) fn logged(self) -> String {
        match self {
            Self::Key => "operator key".to_owned(),
            Self::Staff(number) => format!("staff {number}"),
        }
    }

    /// For the page, which names nobody.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Key => "operator key",
            Self::Staff(_) => "staff",
        }
    }
}

/// An action is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Sign in with the operator's key or a staff token first.")]
    Unauthenticated,
    #[error("This key or token does not allow actions.")]
    Forbidden,
    #[error("The request does not come from this page.")]
    ForeignOrigin,
    #[error("Too many failed sign-ins: wait a minute.")]
    TooManyFailures,
    #[error("The auth service is unavailable: the token cannot be verified.")]
    Unavailable,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

type Hash = [u8; 32];

/// The key and the sessions.
pub(super) struct Access {
    /// Hashes of equal length make comparisons constant-time.
    key: Option<Hash>,
    sessions: Mutex<HashMap<Hash, Session>>,
    failures: Mutex<(Instant, u32)>,
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) actor: Actor,
    /// The token that its forms carry.
    pub(super) csrf: String,
    expires: Instant,
}

impl Access {
    pub(super) fn new(key: Option<&SecretString>) -> Self {
        Self {
            key: key.map(|key| hash(key.expose_secret())),
            sessions: Mutex::default(),
            failures: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Whether a key is configured; without one, only staff may act.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The session of a request, if it has one that has not expired.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let token = cookie(headers)?;
        let sessions = self.sessions.lock();
        let session = sessions.get(&hash(token))?;
        (Instant::now() < session.expires).then(|| session.clone())
    }

    /// Verifies a key or token, and returns the cookie of a new session.
    pub(super) async fn sign_in(
        &self,
        headers: &HeaderMap,
        credential: &str,
        authenticator: &Authenticator,
    ) -> Result<(Actor, HeaderValue), Refusal> {
        if !is_from_page(headers) {
            return Err(Refusal::ForeignOrigin);
        }
        let actor = self.verify(credential, authenticator).await?;
        let token = random_text();
        let session = Session {
            actor,
            csrf: random_text(),
            expires: Instant::now() + SESSION_LIFE,
        };
        let mut sessions = self.sessions.lock();
        let now = Instant::now();
        sessions.retain(|_, session| now < session.expires);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.expires);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(hash(&token), session);
        Ok((actor, set_cookie(&token, SESSION_LIFE)))
    }

    /// Ends the session of a request, and returns the cookie that replaces its own.
    pub(super) fn sign_out(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(token) = cookie(headers) {
            self.sessions.lock().remove(&hash(token));
        }
        set_cookie("", Duration::ZERO)
    }

    /// Who sent a request for an action. `csrf` is the token of its form.
    pub(super) async fn actor(
        &self,
        headers: &HeaderMap,
        csrf: Option<&str>,
        authenticator: &Authenticator,
    ) -> Result<Actor, Refusal> {
        if let Some(header) = headers.get(AUTHORIZATION) {
            // Browsers do not add this header by themselves, but a page elsewhere may try to.
            if headers.contains_key(ORIGIN) && !is_from_page(headers) {
                return Err(Refusal::ForeignOrigin);
            }
            let credential = header.to_str().ok().and_then(|text| text.split_once(' '));
            let (scheme, credential) = credential.ok_or(Refusal::Unauthenticated)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Refusal::Unauthenticated);
            }
            return self.verify(credential.trim(), authenticator).await;
        }
        let session = self.session(headers).ok_or(Refusal::Unauthenticated)?;
        let csrf = csrf.unwrap_or_default().as_bytes();
        let is_own: bool = session.csrf.as_bytes().ct_eq(csrf).into();
        if !is_own || !is_from_page(headers) {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(session.actor)
    }

    /// Verifies a key or a staff token.
    async fn verify(
        &self,
        credential: &str,
        authenticator: &Authenticator,
    ) -> Result<Actor, Refusal> {
        self.check_failures()?;
        let is_key = self
            .key
            .is_some_and(|key| hash(credential).ct_eq(&key).into());
        if is_key {
            return Ok(Actor::Key);
        }
        let verified = match HeaderValue::try_from(format!("Bearer {credential}")) {
            Ok(header) if !credential.is_empty() => {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
                authenticator.authenticate(&headers).await
            }
            _ => Err(ApiError::Forbidden),
        };
        match verified {
            Ok(Caller::Staff { user_number }) => Ok(Actor::Staff(user_number)),
            Err(ApiError::Unavailable) => Err(Refusal::Unavailable),
            // The API key is for programs, which have no business here.
            Ok(Caller::ApiKey | Caller::User { .. }) | Err(_) => {
                self.count_failure();
                Err(Refusal::Forbidden)
            }
        }
    }

    fn check_failures(&self) -> Result<(), Refusal> {
        let (since, count) = *self.failures.lock();
        if count >= MAX_FAILURES && since.elapsed() < FAILURE_WINDOW {
            return Err(Refusal::TooManyFailures);
        }
        Ok(())
    }

    fn count_failure(&self) {
        let mut failures = self.failures.lock();
        let (since, count) = *failures;
        *failures = if since.elapsed() < FAILURE_WINDOW {
            (since, count + 1)
        } else {
            (Instant::now(), 1)
        };
    }
}

/// 256 random bits.
fn random_text() -> String {
    hex(&rand::random::<[u8; 32]>())
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}
