//! Parses the URL of a server as redis-py's `from_url` does, since deployments share such URLs
//! with Python programs. Parts that redis-py ignores or that are not supported are refused.

use percent_encoding::percent_decode_str;

use crate::server::invalid_url::InvalidUrl;
use crate::server::parameters::Parameters;
use crate::server::tls::TlsOptions;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp(HostPort),
    Tls(HostPort, TlsOptions),
    Unix(String),
    Sentinel {
        sentinels: Vec<HostPort>,
        service: String,
        /// To the sentinels and to the servers.
        tls: Option<TlsOptions>,
    },
    Cluster {
        seeds: Vec<HostPort>,
        tls: Option<TlsOptions>,
    },
}

/// The name and password of a user. A password without a name is that of the default user.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// A parsed URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) login: Login,
    /// The login at the sentinels.
    pub(super) sentinel_login: Login,
    pub(super) db: i64,
}

/// The parts of a URL, still percent-encoded.
struct Parts<'a> {
    scheme: &'a str,
    user_info: &'a str,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        // As Python's `urlsplit`: a line break at the end of a secret is common.
        let url = url.replace(['\n', '\r', '\t'], "");
        let parts = Parts::split(&url)?;
        let mut parameters = Parameters::parse(parts.query);
        let target = match parts.scheme {
            "unix" => parts.unix(&mut parameters),
            scheme => {
                let (protocol, set_up) = scheme.split_once('+').unwrap_or((scheme, ""));
                let tls = match protocol {
                    "redis" | "valkey" => None,
                    "rediss" | "valkeys" => Some(TlsOptions::take(&mut parameters)?),
                    _ => return Err(unknown_scheme()),
                };
                match set_up {
                    "" if !scheme.contains('+') => parts.tcp(&mut parameters, tls),
                    "sentinel" => parts.sentinel(&mut parameters, tls),
                    "cluster" => parts.cluster(&mut parameters, tls),
                    _ => return Err(unknown_scheme()),
                }
            }
        }?;
        parameters.refuse_rest()?;
        Ok(target)
    }
}

fn unknown_scheme() -> InvalidUrl {
    InvalidUrl::new(
        "scheme",
        "must be redis, rediss, valkey, valkeys or unix, or redis+sentinel or redis+cluster",
    )
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, InvalidUrl> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(InvalidUrl::new("scheme", "must be followed by ://"));
        };
        if rest.contains('#') {
            let reason = "not supported; within a password # is written %23";
            return Err(InvalidUrl::new("fragment", reason));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Ok(Self {
            scheme,
            user_info,
            hosts,
            path,
            query,
        })
    }

    fn tcp(
        &self,
        parameters: &mut Parameters,
        tls: Option<TlsOptions>,
    ) -> Result<Target, InvalidUrl> {
        let (in_query, port) = (parameters.take("host"), parameters.take("port"));
        let fallback = match port {
            None => SERVER_PORT,
            Some(port) => number("port", &port)?,
        };
        let mut address = host_port(self.hosts, fallback)?;
        if address.host.is_empty() {
            address.host = in_query.unwrap_or_else(|| "localhost".to_owned());
        }
        let db = parameters.take("db");
        Ok(Target {
            endpoint: match tls {
                None => Endpoint::Tcp(address),
                Some(tls) => Endpoint::Tls(address, tls),
            },
            login: self.login(parameters),
            sentinel_login: Login::default(),
            db: match db {
                Some(db) => number::<u32>("db", &db)?.into(),
                // redis-py removes all slashes, and ignores what is no number.
                None => database(&self.path.replace('/', ""))?,
            },
        })
    }

    fn unix(&self, parameters: &mut Parameters) -> Result<Target, InvalidUrl> {
        if !self.hosts.is_empty() {
            return Err(InvalidUrl::new("host", "a socket has none: unix:///path"));
        }
        let in_query = parameters.take("path");
        let path = match (decode(self.path), in_query) {
            (path, Some(in_query)) if path.is_empty() => in_query,
            (path, _) if path.is_empty() => {
                return Err(InvalidUrl::new("path", "the socket is missing"));
            }
            (path, _) => path,
        };
        let db = parameters.take("db");
        Ok(Target {
            endpoint: Endpoint::Unix(path),
            login: self.login(parameters),
            sentinel_login: Login::default(),
            db: db.map_or(Ok(0), |db| number::<u32>("db", &db))?.into(),
        })
    }

    /// The addresses of several servers.
    fn addresses(
        &self,
        default_port: u16,
        missing: &'static str,
    ) -> Result<Vec<HostPort>, InvalidUrl> {
        let parse = |host| host_port(host, default_port);
        let addresses: Vec<HostPort> =
            self.hosts.split(',').map(parse).collect::<Result<_, _>>()?;
        match addresses.iter().any(|address| address.host.is_empty()) {
            true => Err(InvalidUrl::new("host", missing)),
            false => Ok(addresses),
        }
    }

    fn cluster(
        &self,
        parameters: &mut Parameters,
        tls: Option<TlsOptions>,
    ) -> Result<Target, InvalidUrl> {
        let in_query = parameters.take("db");
        let db = in_query.unwrap_or_else(|| self.path.replace('/', ""));
        if database(&db)? != 0 {
            return Err(InvalidUrl::new("db", "a cluster has database 0 only"));
        }
        Ok(Target {
            endpoint: Endpoint::Cluster {
                seeds: self.addresses(SERVER_PORT, "a node has no name")?,
                tls,
            },
            login: self.login(parameters),
            sentinel_login: Login::default(),
            db: 0,
        })
    }

    fn sentinel(
        &self,
        parameters: &mut Parameters,
        tls: Option<TlsOptions>,
    ) -> Result<Target, InvalidUrl> {
        let sentinels = self.addresses(SENTINEL_PORT, "a sentinel has no name")?;
        let path = self.path.trim_start_matches('/');
        let (service, db) = path.split_once('/').unwrap_or((path, ""));
        let service = decode(service);
        if service.is_empty() {
            let reason = "the service is missing: redis+sentinel://host:port/service/db";
            return Err(InvalidUrl::new("path", reason));
        }
        let in_query = parameters.take("db");
        Ok(Target {
            endpoint: Endpoint::Sentinel {
                sentinels,
                service,
                tls,
            },
            login: self.login(parameters),
            sentinel_login: Login {
                username: parameters.take("sentinel_username"),
                password: parameters.take("sentinel_password"),
            },
            db: database(in_query.as_deref().unwrap_or(db))?,
        })
    }

    /// The login; what stands before the host has precedence.
    fn login(&self, parameters: &mut Parameters) -> Login {
        let (username, password) = self
            .user_info
            .split_once(':')
            .unwrap_or((self.user_info, ""));
        let given = |text: &str| Some(decode(text)).filter(|text| !text.is_empty());
        let in_query = [parameters.take("username"), parameters.take("password")];
        let [in_query_username, in_query_password] = in_query;
        Login {
            username: given(username).or(in_query_username),
            password: given(password).or(in_query_password),
        }
    }
}

/// Parses a host with an optional port. Port 0 counts as missing, as in redis-py.
fn host_port(text: &str, default_port: u16) -> Result<HostPort, InvalidUrl> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return Err(InvalidUrl::new("host", "] is missing")),
        Some(Some((host, rest))) => match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err(InvalidUrl::new("port", "must follow ] and a colon")),
        },
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => 0,
        port => number("port", port)?,
    };
    let encoded_from = host.find('%').unwrap_or(host.len());
    let (plain, encoded) = host.split_at(encoded_from);
    Ok(HostPort {
        host: decode(&(plain.to_lowercase() + encoded)),
        port: if port == 0 { default_port } else { port },
    })
}

/// The number of a database; 0 if it is missing.
fn database(text: &str) -> Result<i64, InvalidUrl> {
    match decode(text).as_str() {
        "" => Ok(0),
        db => number::<u32>("db", db).map(i64::from),
    }
}

fn number<T: std::str::FromStr>(part: &str, text: &str) -> Result<T, InvalidUrl> {
    let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| InvalidUrl::new(part, "is not a whole number in its range"))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(all(test, not(loom)))]
mod tests;
