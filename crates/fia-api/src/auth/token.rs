//! Local verification of tokens, and their claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, decode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::auth::Caller;

/// The claims in use, of any JSON type; [`Claims::caller`] checks their types.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    usernumber: Value,
    #[serde(default)]
    role: Value,
    /// The times, in seconds since 1970.
    #[serde(default, deserialize_with = "present")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<Value>,
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

    /// Whether the token is valid at this time, as the auth service judges it: times count in
    /// whole seconds, and a token is valid before its expiry, from its `nbf` and its `iat`.
    fn is_valid_at(&self, now: f64) -> bool {
        let has_begun = |time: &Option<Value>| match time {
            None => true,
            Some(time) => whole_seconds(time).is_some_and(|begin| begin <= now),
        };
        let expiry = self.exp.as_ref().and_then(whole_seconds);
        expiry.is_some_and(|expiry| now < expiry) && has_begun(&self.nbf) && has_begun(&self.iat)
    }
}

/// A claim that is present, `null` included.
fn present<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(claim).map(Some)
}

/// A time without its fraction; `None` if it is no number. The auth service also accepts a whole
/// number in a string.
fn whole_seconds(time: &Value) -> Option<f64> {
    match time {
        Value::Number(number) => number.as_f64().map(f64::trunc),
        Value::String(text) => text
            .trim()
            .parse::<i64>()
            .ok()
            .map(|seconds| seconds as f64),
        _ => None,
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

/// The separator of two secrets, and the length in bytes that each has at least. A shorter part
/// belongs to one secret that contains the separator.
const SEPARATOR: char = ',';
const MIN_SECRET: usize = 8;

/// Verifies tokens with the secrets that the auth service signs them with: during a rotation the
/// new and the old one.
pub(super) struct Verifier {
    keys: Vec<DecodingKey>,
    rules: Validation,
}

impl Verifier {
    /// A verifier with the secret, or the two secrets, of the setting.
    pub(super) fn new(setting: &SecretString) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        // The times are checked by `Claims`: the library rounds them.
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        let keys = secrets(setting.expose_secret()).into_iter();
        Self {
            keys: keys
                .map(|secret| DecodingKey::from_secret(secret.as_bytes()))
                .collect(),
            rules,
        }
    }

    pub(super) fn check(&self, token: &str) -> Verdict {
        for key in &self.keys {
            match decode::<Claims>(token, key, &self.rules) {
                Ok(token) => return judge(&token.header, &token.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
                Err(_) => return Verdict::Invalid,
            }
        }
        Verdict::UnknownSignature
    }
}

/// The verdict on a token with a valid signature.
fn judge(header: &Header, claims: &Claims) -> Verdict {
    // Critical extensions must be understood, and none is.
    if header.crit.is_some() || !claims.is_valid_at(now()) {
        return Verdict::Invalid;
    }
    claims.caller().map_or(Verdict::Invalid, Verdict::Valid)
}

/// The secrets of the setting, which may hold two. The whole text is one, too: a secret may contain
/// the separator.
fn secrets(setting: &str) -> Vec<&str> {
    let mut secrets = vec![setting];
    if let Some((one, other)) = setting.split_once(SEPARATOR) {
        let (one, other) = (one.trim(), other.trim());
        if one.len() >= MIN_SECRET && other.len() >= MIN_SECRET {
            secrets = vec![one, other, setting];
        }
    }
    secrets
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

/// The expiry that a token claims, unverified.
pub(super) fn expiry(token: &str) -> Option<SystemTime> {
    let claims: Expiry = dangerous::insecure_decode(token).ok()?.claims;
    let seconds = whole_seconds(&claims.exp).filter(|seconds| *seconds >= 0.0)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The claim of a token's expiry in seconds.
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

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, encode};
    use serde_json::json;

    use super::*;

    const SECRET: &str = "the secret of these tests";

    fn signed(header: &Header, claims: &Value, secret: &str) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    /// Whether a token with these times is valid; offsets in seconds from now.
    fn is_valid(times: Value) -> bool {
        let mut claims = json!({"usernumber": 1, "role": "user"});
        claims
            .as_object_mut()
            .unwrap()
            .extend(times.as_object().unwrap().clone());
        let token = signed(&Header::default(), &claims, SECRET);
        let verdict = Verifier::new(&SECRET.into()).check(&token);
        verdict == Verdict::Valid(Caller::User { user_number: 1 })
    }

    #[test]
    fn times_are_judged_as_the_auth_service_judges_them() {
        let at = |offset: f64| now().floor() + offset;
        for (times, expected) in [
            (json!({"exp": at(100.0)}), true),
            (json!({"exp": at(100.75)}), true),
            (json!({"exp": (at(100.0) as i64).to_string()}), true),
            (
                json!({"exp": at(100.0), "nbf": at(-1.0), "iat": at(-1.5)}),
                true,
            ),
            (json!({"exp": at(0.0)}), false),
            (json!({"exp": at(0.99)}), false),
            (json!({"exp": at(-1.0)}), false),
            (json!({"exp": at(100.0), "nbf": at(50.0)}), false),
            (json!({"exp": at(100.0), "iat": at(50.5)}), false),
            (json!({"exp": at(100.0), "nbf": "soon"}), false),
            (json!({"exp": at(100.0), "iat": null}), false),
            (json!({"exp": null}), false),
            (json!({"exp": true}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_valid(times.clone()), expected, "{times}");
        }
    }

    #[test]
    fn a_token_with_critical_extensions_is_refused() {
        let claims = json!({"usernumber": 1, "role": "user", "exp": now() + 100.0});
        let header = Header {
            crit: Some(vec!["b64".to_owned()]),
            ..Header::default()
        };
        let verifier = Verifier::new(&SECRET.into());
        let token = signed(&header, &claims, SECRET);
        assert_eq!(verifier.check(&token), Verdict::Invalid);
    }

    #[test]
    fn during_a_rotation_both_secrets_verify() {
        let claims = json!({"usernumber": 1, "role": "user", "exp": now() + 100.0});
        let token = |secret| signed(&Header::default(), &claims, secret);
        let valid = Verdict::Valid(Caller::User { user_number: 1 });
        let both = Verifier::new(&"the new secret, the old secret".into());
        assert_eq!(both.check(&token("the new secret")), valid);
        assert_eq!(both.check(&token("the old secret")), valid);
        assert_eq!(both.check(&token("another")), Verdict::UnknownSignature);
    }

    #[test]
    fn a_comma_within_a_secret_separates_only_parts_of_full_length() {
        assert_eq!(secrets("x,0123456789"), ["x,0123456789"]);
        assert_eq!(secrets("0123456789"), ["0123456789"]);
        let two = "01234567,89abcdef";
        assert_eq!(secrets(two), ["01234567", "89abcdef", two]);
    }
}
