//! Reads settings from variables, one by one, and remembers all that was read and all that was wrong.

use std::fmt;
use std::net::SocketAddr;

use secrecy::SecretString;

/// One setting as it was read: what `--help` and `check-config` print.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// The default, or `unset`.
    pub default: String,
    /// The value in force; secrets are hidden.
    pub value: String,
    /// What the variable does.
    pub help: &'static str,
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct InvalidSetting {
    /// The environment variable.
    pub name: &'static str,
    /// What is wrong with its value, without the value of a secret.
    pub problem: String,
}

/// Collects settings and their errors while a configuration is built.
pub(super) struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    pub(super) settings: Vec<Setting>,
    pub(super) errors: Vec<InvalidSetting>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            get,
            settings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn note(&mut self, name: &'static str, default: String, value: String, help: &'static str) {
        self.settings.push(Setting {
            name,
            default,
            value,
            help,
        });
    }

    pub(super) fn bad(&mut self, name: &'static str, problem: impl Into<String>) {
        self.errors.push(InvalidSetting {
            name,
            problem: problem.into(),
        });
    }

    /// A value with a default; `parse` says what is wrong with a text.
    pub(super) fn value<T: fmt::Display>(
        &mut self,
        name: &'static str,
        default: T,
        help: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let shown_default = default.to_string();
        let value = match (self.get)(name).map(|text| parse(&text)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.bad(name, problem);
                default
            }
        };
        self.note(name, shown_default, value.to_string(), help);
        value
    }

    /// A value that may be unset; an empty text is unset too.
    pub(super) fn optional<T: fmt::Display>(
        &mut self,
        name: &'static str,
        help: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = match (self.get)(name)
            .filter(|text| !text.is_empty())
            .map(|text| parse(&text))
        {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(problem)) => {
                self.bad(name, problem);
                None
            }
        };
        let shown = value
            .as_ref()
            .map_or_else(|| "unset".to_owned(), T::to_string);
        self.note(name, "unset".to_owned(), shown, help);
        value
    }

    pub(super) fn text(&mut self, name: &'static str, default: &str, help: &'static str) -> String {
        self.value(name, default.to_owned(), help, |text| Ok(text.to_owned()))
    }

    /// An `http://` or `https://` base address, kept without a trailing slash.
    pub(super) fn base_url(
        &mut self,
        name: &'static str,
        default: &str,
        help: &'static str,
    ) -> String {
        self.value(name, default.to_owned(), help, |text| {
            if text.starts_with("http://") || text.starts_with("https://") {
                Ok(text.trim_end_matches('/').to_owned())
            } else {
                Err("must start with http:// or https://".to_owned())
            }
        })
    }

    pub(super) fn number<T>(&mut self, name: &'static str, default: T, help: &'static str) -> T
    where
        T: fmt::Display + std::str::FromStr,
    {
        self.value(name, default, help, |text| {
            text.trim()
                .parse()
                .map_err(|_| format!("`{text}` is not a whole number in its range"))
        })
    }

    /// `on`/`off` and the other spellings of true and false, any case; empty is `false`.
    pub(super) fn flag(&mut self, name: &'static str, default: bool, help: &'static str) -> bool {
        self.value(name, Flag(default), help, |text| {
            match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Ok(Flag(true)),
                "" | "0" | "false" | "no" | "off" => Ok(Flag(false)),
                _ => Err(format!("`{text}` is neither on nor off")),
            }
        })
        .0
    }

    pub(super) fn address(
        &mut self,
        name: &'static str,
        default: SocketAddr,
        help: &'static str,
    ) -> SocketAddr {
        self.value(name, default, help, parse_address)
    }

    /// A secret with a default; `check-config` shows only whether it is the default.
    pub(super) fn secret(
        &mut self,
        name: &'static str,
        default: &str,
        help: &'static str,
    ) -> SecretString {
        let given = (self.get)(name);
        let shown = match &given {
            Some(value) if value != default => "(hidden)",
            _ => "(the default)",
        };
        self.note(name, default.to_owned(), shown.to_owned(), help);
        given.unwrap_or_else(|| default.to_owned()).into()
    }

    /// A secret that may be unset; an empty text is unset too.
    pub(super) fn optional_secret(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Option<SecretString> {
        let given = (self.get)(name).filter(|text| !text.is_empty());
        let shown = if given.is_some() { "(hidden)" } else { "unset" };
        self.note(name, "unset".to_owned(), shown.to_owned(), help);
        given.map(Into::into)
    }
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:8000"))
}

/// A boolean that prints as operators write it.
struct Flag(bool);

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}
