//! Settings: any value is taken or refused by name, and a secret is shown nowhere.
#![no_main]

use std::sync::LazyLock;

use fia_api::config::Config;
use libfuzzer_sys::fuzz_target;

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    Config::reference()
        .iter()
        .map(|setting| setting.name)
        .collect()
});
/// Within a secret, which no output may hold.
const SECRET: &str = "hidden-from-everybody";

fuzz_target!(|values: Vec<(u8, String)>| {
    let chosen: Vec<(&str, &String)> = values
        .iter()
        .map(|(index, value)| (NAMES[usize::from(*index) % NAMES.len()], value))
        .collect();
    let get = |name: &str| {
        let value = chosen.iter().find(|(chosen, _)| *chosen == name);
        value.map(|(_, value)| (*value).clone())
    };
    match Config::from_vars(&get) {
        Ok(config) => assert_eq!(config.settings.len(), NAMES.len()),
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let text = error.to_string();
                let names = chosen.iter().any(|(name, _)| text.contains(name));
                assert!(names, "{text}");
            }
        }
    }
    for name in [
        "DB_PASSWORD",
        "JWT_SECRET",
        "QUEUE_PASSWORD",
        "GITHUB_API_TOKEN",
    ] {
        let get = |asked: &str| {
            if asked == name {
                return Some(SECRET.repeat(2));
            }
            get(asked)
        };
        let shown = match Config::from_vars(&get) {
            Ok(config) => format!("{} {config:?}", config.listing()),
            Err(errors) => format!("{errors:?}"),
        };
        let sent = chosen.iter().any(|(_, value)| value.contains(SECRET));
        assert!(sent || !shown.contains(SECRET), "{name} is shown");
    }
});
