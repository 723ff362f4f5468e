//! Local verification of tokens, and their claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Caller;

/// The claims in use, of any JSON type; [`Claims::caller`] checks their types.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    usernumber: Value,
    #[serde(default)]
    role: Value,
}

impl Claims {
    /// The caller that these claims describe. `None` unless the user number is an integer above 0
    /// within PostgreSQL's `integer`, and the role is `staff` or `user`: a refresh token has a valid
    /// signature and neither claim.
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

/// The result of a local token check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Valid signature, not expired, all claims present.
    Valid(Caller),
    /// Signed with another secret: the auth service may have rotated its own.
    UnknownSignature,
    /// Expired, malformed, or without the required claims.
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
        // The library's default accepts a token for a minute after it expired.
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
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => Verdict::UnknownSignature,
            Err(_) => Verdict::Invalid,
        }
    }
}

/// The expiry that a token claims, unverified.
pub(super) fn expiry(token: &str) -> Option<SystemTime> {
    let claims: Expiry = dangerous::insecure_decode(token).ok()?.claims;
    let seconds = claims.exp.as_f64().filter(|seconds| *seconds >= 0.0)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The claim of a token's expiry in seconds, which may have a fraction.
#[derive(Debug, Deserialize)]
struct Expiry {
    exp: Value,
}

/// The caller that a token describes, without a check of its signature: for tokens that the auth
/// service has verified.
pub(super) fn unverified_caller(token: &str) -> Option<Caller> {
    dangerous::insecure_decode::<Claims>(token)
        .ok()?
        .claims
        .caller()
}
