//! Hides passwords within URLs.

/// Parts of the names of query parameters whose value is a secret.
const SECRET_PARAMETERS: [&str; 4] = ["pass", "secret", "token", "key"];

/// The URL without its password, and without secrets in its query. Of the user info before the
/// last `@`, only a user name that is followed by a password remains: alone it may be a token.
pub(super) fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "(hidden)".to_owned();
    };
    // The last one: a password that is not percent-encoded may contain `@`, `/` and `?`.
    let (user_info, rest) = match rest.rsplit_once('@') {
        None => (String::new(), rest),
        Some((user_info, rest)) => (redact_user_info(user_info), rest),
    };
    let (rest, query) = match rest.split_once('?') {
        None => (rest, String::new()),
        Some((rest, query)) => (rest, redact_query(query)),
    };
    format!("{scheme}://{user_info}{rest}{query}")
}

fn redact_user_info(user_info: &str) -> String {
    match user_info.split_once(':') {
        Some((user, _)) => format!("{user}:(hidden)@"),
        None => "(hidden)@".to_owned(),
    }
}

fn redact_query(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| {
        let name = parameter.split_once('=').map_or("", |(name, _)| name);
        let lower = name.to_ascii_lowercase();
        if SECRET_PARAMETERS.iter().any(|part| lower.contains(part)) {
            format!("{name}=(hidden)")
        } else {
            parameter.to_owned()
        }
    });
    format!("?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_within_urls_are_hidden() {
        for (url, shown) in [
            ("http://auth:8001", "http://auth:8001"),
            ("https://u:p@auth/base", "https://u:(hidden)@auth/base"),
            (
                "redis://:p@valkey:6379/0",
                "redis://:(hidden)@valkey:6379/0",
            ),
            ("redis://:p/w?@x@valkey", "redis://:(hidden)@valkey"),
            ("https://token@host", "https://(hidden)@host"),
            (
                "postgres://u:p@a,b:5433/fia?sslmode=require&password=p",
                "postgres://u:(hidden)@a,b:5433/fia?sslmode=require&password=(hidden)",
            ),
            (
                "redis://valkey?username=u&PASSWORD=p",
                "redis://valkey?username=u&PASSWORD=(hidden)",
            ),
            ("p", "(hidden)"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
