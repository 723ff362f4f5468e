//! What a token says, and whether it can be believed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Caller;

/// The claims that matter, of any JSON type: what they must be is checked by
/// [`Claims::caller`].
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    usernumber: Value,
    #[serde(default)]
    role: Value,
}

impl Claims {
    /// The caller that these claims describe. `None` unless the user number is an integer
    /// above 0 that the database can hold, and the role is one of the two: a refresh token is
    /// validly signed and carries neither.
    fn caller(&self) -> Option<Caller> {
        let user_number = self.usernumber.as_i64().filter(|number| *number > 0)?;
        let user_number = i32::try_from(user_number).ok()?;
        match self.role.as_str()? {
            "staff" => Some(Caller::Staff { user_number }),
            "user" => Some(Caller::User { user_number }),
            _ => None,
        }
    }
}

/// What a local check of a token found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Signed with our secret, in time, and complete.
    Valid(Caller),
    /// Signed with another secret: the auth service may have changed its own.
    OtherSignature,
    /// Expired, malformed, or without the claims it needs.
    Invalid,
}

/// Verifies tokens with the secret that the auth service signs them with.
pub(super) struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Verifier {
    pub(super) fn new(secret: &SecretString) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        // The library's own default would take a token for a minute after its end.
        rules.leeway = 0;
        rules.validate_aud = false;
        Self {
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
            rules,
        }
    }

    pub(super) fn check(&self, token: &str) -> Verdict {
        match decode::<Claims>(token, &self.key, &self.rules) {
            Ok(token) => token
                .claims
                .caller()
                .map_or(Verdict::Invalid, Verdict::Valid),
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => Verdict::OtherSignature,
            Err(_) => Verdict::Invalid,
        }
    }
}

/// When a token ends, by its own word.
pub(super) fn end(token: &str) -> Option<SystemTime> {
    let end: End = dangerous::insecure_decode(token).ok()?.claims;
    let seconds = end.exp.as_f64().filter(|seconds| *seconds >= 0.0)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The claim of a token's end, which may have a fraction.
#[derive(Debug, Deserialize)]
struct End {
    exp: Value,
}

/// The caller that a token describes, for a token that the auth service vouched for.
pub(super) fn vouched_caller(token: &str) -> Option<Caller> {
    dangerous::insecure_decode::<Claims>(token)
        .ok()?
        .claims
        .caller()
}
