//! The recorded tokens.
/// The API key, for `FIA_API_API_KEY` and `AUTH_API_KEY`.
pub const API_KEY: &str = "shh";
/// The secret that signs the recorded tokens, for `JWT_SECRET`.
pub const JWT_SECRET: &str = "test-secret";
/// The token recorded as `name`: staff, user, user2, norole, nouser, expired, forged, garbage.
pub fn named(_name: &str) -> Option<&'static str> {
    None
}
/// Staff, user number 1234, never expires.
pub fn staff() -> &'static str {
    ""
}
/// User 1234, never expires.
pub fn user() -> &'static str {
    ""
}
/// User 5678 (without experiments), never expires.
pub fn user2() -> &'static str {
    ""
}
/// `Bearer TOKEN` for a name of [`named`], or for `apikey`.
pub fn bearer(_name: &str) -> Option<String> {
    None
}
