//! The kind of settings that name one or more hosts of a service.

use std::fmt::{self, Display};

use super::reader::{Reader, Variable};

/// A host of a service, with its port where that differs from the service's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an address; an IPv6 address without its brackets.
    pub name: String,
    /// The port, where the setting names one.
    pub port: Option<u16>,
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.contains(':'), self.port) {
            (false, None) => f.write_str(&self.name),
            (true, None) => write!(f, "[{}]", self.name),
            (false, Some(port)) => write!(f, "{}:{port}", self.name),
            (true, Some(port)) => write!(f, "[{}]:{port}", self.name),
        }
    }
}

impl Reader<'_> {
    /// One or more hosts separated by commas, each with an optional port: `a,b:5673,[::1]:5673`.
    pub(super) fn hosts(&mut self, variable: Variable, default: &str) -> Vec<Host> {
        let show = |hosts: &Vec<Host>| {
            let hosts = hosts.iter().map(Host::to_string);
            hosts.collect::<Vec<_>>().join(",")
        };
        let default = vec![Host {
            name: default.to_owned(),
            port: None,
        }];
        let range = "host or host:port, separated by commas".to_owned();
        self.value(variable, default, range, show, |text| {
            text.split(',').map(|host| parse(host.trim())).collect()
        })
    }
}

fn parse(text: &str) -> Result<Host, String> {
    let malformed = || format!("`{text}` is neither a host nor host:port");
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, port) = rest.split_once(']').ok_or_else(malformed)?;
        (
            name,
            port.strip_prefix(':')
                .or(Some(port).filter(|port| !port.is_empty())),
        )
    } else if text.matches(':').count() > 1 {
        // An IPv6 address without brackets and without a port.
        (text, None)
    } else {
        match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        }
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "[]/@".contains(c)) {
        return Err(malformed());
    }
    let port = port.map(str::parse).transpose().map_err(|_| malformed())?;
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_ports() {
        for (text, name, port) in [
            ("rabbitmq", "rabbitmq", None),
            ("rabbitmq:5673", "rabbitmq", Some(5673)),
            ("10.0.0.1", "10.0.0.1", None),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:5673", "::1", Some(5673)),
        ] {
            let host = parse(text).unwrap();
            assert_eq!((host.name.as_str(), host.port), (name, port), "{text}");
        }
    }

    #[test]
    fn malformed_hosts_are_errors() {
        for text in [
            "", ":5672", "a b", "a:", "a:port", "a:70000", "[::1", "[::1]x", "amqp://a", "u@a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
