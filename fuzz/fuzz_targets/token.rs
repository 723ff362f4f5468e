//! Tokens: only one that was signed with the secret is a caller, and exactly the claimed one.
#![no_main]

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use arbitrary::Arbitrary;
use fia_api::auth::{Authenticator, Caller};
use fia_fuzz::{API_KEY, JWT_SECRET, RUNTIME, config};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let _entered = RUNTIME.enter();
    Authenticator::new(&config()).expect("an authenticator")
});

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// Any header.
    Foreign(&'a [u8]),
    /// A signed token with one byte changed.
    Changed { position: u16, byte: u8 },
    /// Signed claims.
    Claims {
        user_number: i64,
        role: Role<'a>,
        expires_in: i32,
    },
    /// Claims that another secret signed.
    OtherSecret(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Role<'a> {
    User,
    Staff,
    Other(&'a str),
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Foreign(value) => {
            let found = caller(value);
            let is_key = value.ends_with(API_KEY.as_bytes());
            assert!(found.is_none() || is_key, "{value:?}");
        }
        Input::Changed { position, byte } => {
            let mut token = signed(JWT_SECRET.as_bytes(), 5, "user", 3600).into_bytes();
            let position = usize::from(position) % token.len();
            let dot = token
                .iter()
                .rposition(|byte| *byte == b'.')
                .unwrap_or_default();
            // The last character of a signature has bits that mean nothing.
            if token[position] == byte
                || position + 1 == token.len()
                || position <= dot && byte == b'='
            {
                return;
            }
            token[position] = byte;
            let value = [b"Bearer ", token.as_slice()].concat();
            assert!(caller(&value).is_none(), "a changed token");
        }
        Input::Claims {
            user_number,
            role,
            expires_in,
        } => {
            let role = match role {
                Role::User => "user",
                Role::Staff => "staff",
                Role::Other(other) => other,
            };
            let token = signed(
                JWT_SECRET.as_bytes(),
                user_number,
                role,
                i64::from(expires_in),
            );
            let found = caller(format!("Bearer {token}").as_bytes());
            let is_known = matches!(role, "user" | "staff") && expires_in > 0;
            assert!(found.is_none() || is_known, "{role} {expires_in}");
            assert!(!matches!(found, Some(Caller::ApiKey)));
            if let Some(
                Caller::User { user_number: found } | Caller::Staff { user_number: found },
            ) = found
            {
                assert_eq!(i64::from(found), user_number);
            }
        }
        Input::OtherSecret(secret) => {
            // HMAC extends a short key by zeros.
            let end = secret
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            if secret[..end] == *JWT_SECRET.as_bytes() {
                return;
            }
            let token = signed(secret, 5, "staff", 3600);
            assert!(caller(format!("Bearer {token}").as_bytes()).is_none());
        }
    }
});

fn caller(authorization: &[u8]) -> Option<Caller> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(authorization).ok()?);
    AUTHENTICATOR.authenticate_locally(&headers)
}

fn signed(secret: &[u8], user_number: i64, role: &str, expires_in: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let expiry = i64::try_from(now.as_secs()).unwrap_or_default() + expires_in;
    let claims = json!({"usernumber": user_number, "role": role, "exp": expiry, "username": "x"});
    let header = Header::new(Algorithm::HS256);
    encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap_or_default()
}
