//! Settings as text: for `--help` and `check-config`.

use std::fmt::Write as _;

use super::{Config, Setting};

impl Config {
    /// Every variable with its default, range and help, by section, for `--help`.
    #[must_use]
    pub fn help() -> String {
        let mut text = String::from("Environment variables, with their defaults:\n");
        by_section(&Self::reference(), &mut text, |setting, text| {
            let default = match setting.default.as_str() {
                "" => "empty",
                default => default,
            };
            let range = match setting.range.as_str() {
                "" => String::new(),
                range => format!("; {range}"),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} [{default}{range}]", setting.name);
            let _ = writeln!(text, "      {}", setting.help);
        });
        text
    }

    /// The settings in force by section, secrets hidden, for `check-config`. It can be read as an
    /// environment file.
    #[must_use]
    pub fn listing(&self) -> String {
        let mut text = String::new();
        by_section(&self.settings, &mut text, |setting, text| {
            let _ = writeln!(text, "{}={}", setting.name, setting.value);
        });
        text
    }
}

/// Writes the settings, with a heading before each section.
fn by_section(settings: &[Setting], text: &mut String, write: impl Fn(&Setting, &mut String)) {
    for section in settings.chunk_by(|one, next| one.section == next.section) {
        if let Some(first) = section.first() {
            let _ = writeln!(text, "\n# {}", first.section);
        }
        for setting in section {
            write(setting, text);
        }
    }
}
