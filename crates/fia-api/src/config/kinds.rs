//! The kinds of settings: parsing, range and display.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tiercache::Server;
use tracing::Level;

use super::reader::{Reader, Variable};
use super::redact::redact_url;

/// The largest TTL, ten years: a larger one is a mistake, and Valkey refuses much larger ones.
const MAX_TTL_SECONDS: i64 = 315_360_000;

/// A setting with a closed set of words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each word with its value.
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }

    /// All words, for help and errors.
    fn all() -> String {
        let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        words.join(", ")
    }
}

impl Reader<'_> {
    pub(super) fn text(&mut self, variable: Variable, default: &str) -> String {
        let range = String::new();
        self.value(variable, default.to_owned(), range, String::clone, |text| {
            Ok(text.to_owned())
        })
    }

    /// A whole number in the range of its type.
    pub(super) fn number<T: Display + FromStr>(&mut self, variable: Variable, default: T) -> T {
        self.value(variable, default, String::new(), T::to_string, |text| {
            text.trim()
                .parse()
                .map_err(|_| format!("`{text}` is not a whole number in its range"))
        })
    }

    /// A whole number in a given range.
    pub(super) fn number_in<T: Display + FromStr + PartialOrd>(
        &mut self,
        variable: Variable,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let shown = format!("{} to {}", range.start(), range.end());
        let problem = |text: &str| format!("`{text}` is not a whole number from {shown}");
        self.value(variable, default, shown.clone(), T::to_string, |text| {
            let number = text.trim().parse().ok();
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| problem(text))
        })
    }

    pub(super) fn seconds(&mut self, variable: Variable, default: u64) -> Duration {
        Duration::from_secs(self.number(variable, default))
    }

    pub(super) fn seconds_up_to(&mut self, variable: Variable, default: u64, max: u64) -> Duration {
        Duration::from_secs(self.number_in(variable, default, 0..=max))
    }

    /// A TTL in seconds, read as the older server's `int()` does: a negative one disables caching,
    /// as zero.
    pub(super) fn ttl(&mut self, variable: Variable, default: u64) -> Duration {
        let range = format!("up to {MAX_TTL_SECONDS}");
        let seconds = self.value(variable, default, range, u64::to_string, |text| match text
            .trim()
            .parse::<i64>(
        ) {
            Ok(seconds) if seconds <= MAX_TTL_SECONDS => Ok(u64::try_from(seconds).unwrap_or(0)),
            _ => Err(format!(
                "`{text}` is not a whole number of seconds up to {MAX_TTL_SECONDS}"
            )),
        });
        Duration::from_secs(seconds)
    }

    /// `on`, `off` or another spelling of true and false, in any case; empty is `off`.
    pub(super) fn flag(&mut self, variable: Variable, default: bool) -> bool {
        let show = |on: &bool| if *on { "on" } else { "off" }.to_owned();
        let range = "on, off".to_owned();
        self.value(variable, default, range, show, |text| {
            match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "" | "0" | "false" | "no" | "off" => Ok(false),
                _ => Err(format!("`{text}` is neither on nor off")),
            }
        })
    }

    pub(super) fn choice<T: Choice>(&mut self, variable: Variable, default: T) -> T {
        let show = |value: &T| value.word().to_owned();
        self.value(variable, default, T::all(), show, |text| {
            let mut words = T::WORDS.iter();
            let found = words.find(|(word, _)| *word == text.trim());
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("`{text}` is none of {}", T::all()))
        })
    }

    pub(super) fn log_level(&mut self, variable: Variable, default: Level) -> Level {
        let range = "error, warn, info, debug, trace";
        self.value(
            variable,
            default,
            range.to_owned(),
            Level::to_string,
            |text| {
                text.trim()
                    .parse()
                    .map_err(|_| format!("`{text}` is none of {range}"))
            },
        )
    }

    pub(super) fn address(&mut self, variable: Variable, default: SocketAddr) -> SocketAddr {
        let range = String::new();
        self.value(
            variable,
            default,
            range,
            SocketAddr::to_string,
            parse_address,
        )
    }

    pub(super) fn optional_address(&mut self, variable: Variable) -> Option<SocketAddr> {
        self.optional(variable, SocketAddr::to_string, parse_address)
    }

    /// An `http://` or `https://` URL, kept without a trailing slash.
    pub(super) fn base_url(&mut self, variable: Variable, default: &str) -> String {
        let (default, range) = (default.to_owned(), String::new());
        let show = |url: &String| redact_url(url);
        self.value(variable, default, range, show, |text| {
            if text.starts_with("http://") || text.starts_with("https://") {
                Ok(text.trim_end_matches('/').to_owned())
            } else {
                Err("must start with http:// or https://".to_owned())
            }
        })
    }

    /// The URL of Valkey; `None` where the variable is set and empty.
    pub(super) fn valkey_url(&mut self, variable: Variable, default: &str) -> Option<SecretString> {
        let show = |url: &Option<SecretString>| url.as_ref().map_or_else(String::new, show_url);
        let default = Some(SecretString::from(default));
        self.value(variable, default, String::new(), show, |text| {
            if text.is_empty() {
                return Ok(None);
            }
            match Server::parse(text) {
                Ok(_) => Ok(Some(text.into())),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// The URL of an HTTP proxy; without a scheme it is `http://`.
    pub(super) fn optional_proxy_url(&mut self, variable: Variable) -> Option<SecretString> {
        self.optional(variable, show_url, |text| {
            let url = if text.contains("://") {
                text.to_owned()
            } else {
                format!("http://{text}")
            };
            let is_http = url.starts_with("http://") || url.starts_with("https://");
            match reqwest::Proxy::https(&url) {
                Ok(_) if is_http => Ok(url.into()),
                // The library's error may quote the password.
                _ => Err("is not the URL of an HTTP proxy".to_owned()),
            }
        })
    }

    /// The URL of a PostgreSQL server.
    pub(super) fn optional_postgres_url(&mut self, variable: Variable) -> Option<SecretString> {
        self.optional(variable, show_url, |text| {
            let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
            match text.parse::<tokio_postgres::Config>() {
                Ok(parsed) if is_url && !parsed.get_hosts().is_empty() => Ok(text.into()),
                Ok(_) => Err("must start with postgres:// and name a host".to_owned()),
                // The library's error may quote a part of the password.
                Err(_) => Err("is not a valid PostgreSQL URL".to_owned()),
            }
        })
    }

    /// An absolute path.
    pub(super) fn folder(&mut self, variable: Variable, default: &str) -> PathBuf {
        let (default, range) = (PathBuf::from(default), String::new());
        self.value(
            variable,
            default,
            range,
            |path| show_path(path),
            |text| {
                if Path::new(text).is_absolute() {
                    Ok(PathBuf::from(text))
                } else {
                    Err(format!("`{text}` is not an absolute path"))
                }
            },
        )
    }

    pub(super) fn optional_path(&mut self, variable: Variable) -> Option<PathBuf> {
        self.optional(
            variable,
            |path| show_path(path),
            |text| Ok(PathBuf::from(text)),
        )
    }

    /// Items separated by commas; empty where the variable is unset.
    pub(super) fn list(&mut self, variable: Variable) -> Vec<String> {
        let show = |items: &Vec<String>| items.join(",");
        let items = self.optional(variable, show, |text| {
            Ok(text.split(',').map(|item| item.trim().to_owned()).collect())
        });
        items.unwrap_or_default()
    }

    /// Addresses and networks separated by commas; empty where the variable is unset.
    pub(super) fn networks(&mut self, variable: Variable) -> Vec<IpNet> {
        let show = |networks: &Vec<IpNet>| {
            let networks: Vec<String> = networks.iter().map(IpNet::to_string).collect();
            networks.join(",")
        };
        let networks = self.optional(variable, show, |text| {
            text.split(',')
                .map(|item| parse_network(item.trim()))
                .collect()
        });
        networks.unwrap_or_default()
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse().ok(),
    };
    network
        .ok_or_else(|| format!("`{text}` is neither an address nor a network, such as 10.0.0.0/8"))
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:8000"))
}

fn show_path(path: &Path) -> String {
    path.display().to_string()
}

fn show_url(url: &SecretString) -> String {
    redact_url(url.expose_secret())
}
