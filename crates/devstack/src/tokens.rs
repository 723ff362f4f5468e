//! Recorded tokens, as the auth service would issue them, signed with [`JWT_SECRET`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The API key, for `FIA_API_API_KEY` and `AUTH_API_KEY`.
pub const API_KEY: &str = "shh";
/// The secret that signs the recorded tokens, for `JWT_SECRET`.
pub const JWT_SECRET: &str = "test-secret";

/// `data/tokens.json`.
#[derive(Deserialize)]
pub(crate) struct Recorded {
    pub(crate) tokens: BTreeMap<String, Token>,
    /// User number to experiment numbers.
    pub(crate) experiments: BTreeMap<String, Vec<i64>>,
}

#[derive(Deserialize)]
pub(crate) struct Token {
    pub(crate) token: String,
    /// True if the auth service accepts the token.
    pub(crate) verifies: bool,
}

pub(crate) static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "an embedded file, parsed by a test")]
    serde_json::from_str(include_str!("../data/tokens.json")).expect("data/tokens.json is valid")
});

/// The token recorded under a name: `staff`, `user`, `user2`, `norole` (no role), `nouser` (no user
/// number), `expired`, `forged` (another secret) or `garbage` (not a JWT).
pub fn named(name: &str) -> Option<&'static str> {
    RECORDED.tokens.get(name).map(|token| token.token.as_str())
}

/// A staff token of user number 1234; valid for decades.
pub fn staff() -> &'static str {
    named("staff").unwrap_or_default()
}

/// A token of user number 1234 with the experiments 1820497, 100007, 100014 and 20024; valid for
/// decades.
pub fn user() -> &'static str {
    named("user").unwrap_or_default()
}

/// A token of user number 5678, who has no experiments; valid for decades.
pub fn user2() -> &'static str {
    named("user2").unwrap_or_default()
}

/// The `Authorization` header for a name of [`named`], for `apikey`, or for `raw:` followed by the
/// value.
pub fn authorization(name: &str) -> Option<String> {
    match (name, name.strip_prefix("raw:")) {
        (_, Some(value)) => Some(value.to_owned()),
        ("apikey", _) => Some(format!("Bearer {API_KEY}")),
        _ => named(name).map(|token| format!("Bearer {token}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_tokens_are_found_by_name() {
        for name in [
            "staff", "user", "user2", "norole", "nouser", "expired", "forged",
        ] {
            assert_eq!(named(name).unwrap().split('.').count(), 3, "{name}");
        }
        assert!(!staff().is_empty() && !user().is_empty() && !user2().is_empty());
        assert_eq!(authorization("garbage").unwrap(), "Bearer not.a.jwt");
        assert_eq!(authorization("apikey").unwrap(), "Bearer shh");
        assert_eq!(authorization("raw:Basic x").unwrap(), "Basic x");
        assert_eq!(authorization("nobody"), None);
    }
}
