//! Reads variables one by one and collects every setting and every error.

use secrecy::SecretString;

/// A variable of the environment.
pub(super) struct Variable {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

/// A setting as it was read: what `--help` and `check-config` print.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The section that it is listed in.
    pub section: &'static str,
    /// The environment variable.
    pub name: &'static str,
    /// The default, or `unset`.
    pub default: String,
    /// The value in force; secrets and passwords within URLs are hidden.
    pub value: String,
    /// The accepted values, where the type does not imply them.
    pub range: String,
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

/// How a value is printed.
pub(super) type Show<T> = fn(&T) -> String;

/// Collects settings and errors while a configuration is read.
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

    fn record(&mut self, variable: &Variable, default: String, value: String, range: String) {
        self.settings.push(Setting {
            section: variable.section,
            name: variable.name,
            default,
            value,
            range,
            help: variable.help,
        });
    }

    pub(super) fn error(&mut self, name: &'static str, problem: impl Into<String>) {
        self.errors.push(InvalidSetting {
            name,
            problem: problem.into(),
        });
    }

    /// A value with a default; an invalid one is an error and yields the default. `parse`
    /// describes what is wrong with a text.
    pub(super) fn value<T>(
        &mut self,
        variable: Variable,
        default: T,
        range: String,
        show: Show<T>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let shown_default = show(&default);
        let value = match (self.get)(variable.name).map(|text| parse(&text)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.error(variable.name, problem);
                default
            }
        };
        self.record(&variable, shown_default, show(&value), range);
        value
    }

    /// A value that may be unset; an empty text counts as unset.
    pub(super) fn optional<T>(
        &mut self,
        variable: Variable,
        show: Show<T>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = (self.get)(variable.name).filter(|text| !text.is_empty());
        let value = match text.map(|text| parse(&text)) {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(problem)) => {
                self.error(variable.name, problem);
                None
            }
        };
        let shown = value.as_ref().map_or_else(|| "unset".to_owned(), show);
        self.record(&variable, "unset".to_owned(), shown, String::new());
        value
    }

    /// A secret with a default; only whether it is the default is shown.
    pub(super) fn secret(&mut self, variable: Variable, default: &str) -> SecretString {
        let given = (self.get)(variable.name);
        let shown = match &given {
            Some(value) if value != default => "(hidden)",
            _ => "(the default)",
        };
        self.record(
            &variable,
            default.to_owned(),
            shown.to_owned(),
            String::new(),
        );
        given.unwrap_or_else(|| default.to_owned()).into()
    }

    /// A secret of at least `min` bytes that may be unset; an empty text counts as unset.
    pub(super) fn optional_key(&mut self, variable: Variable, min: usize) -> Option<SecretString> {
        self.optional(
            variable,
            |_| "(hidden)".to_owned(),
            |text| {
                if text.len() < min {
                    return Err(format!("is shorter than {min} bytes"));
                }
                Ok(SecretString::from(text))
            },
        )
    }

    /// A secret that may be unset; an empty text counts as unset.
    pub(super) fn optional_secret(&mut self, variable: Variable) -> Option<SecretString> {
        let secret = |text: &str| Ok(SecretString::from(text));
        self.optional(variable, |_| "(hidden)".to_owned(), secret)
    }
}
