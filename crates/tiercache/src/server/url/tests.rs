use serde_json::{Map, Value, json};

use super::*;

/// What redis-py makes of URLs: the output of `redis_py_urls.py`.
const TABLE: &str = include_str!("../../../tests/data/redis_py_urls.json");

/// The target in the words of the table.
fn described(target: &Target) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    add("db", json!(target.db));
    let login = [
        ("username", &target.login.username),
        ("password", &target.login.password),
    ];
    for (name, value) in login {
        if let Some(value) = value {
            add(name, json!(value));
        }
    }
    match &target.endpoint {
        Endpoint::Tcp(HostPort { host, port }) | Endpoint::Tls(HostPort { host, port }, _) => {
            add("host", json!(host));
            add("port", json!(port));
        }
        Endpoint::Unix(path) => add("path", json!(path)),
        Endpoint::Sentinel { .. } | Endpoint::Cluster { .. } => panic!("redis-py has no such URL"),
    }
    if let Endpoint::Tls(_, tls) = &target.endpoint {
        add(
            "cert_reqs",
            json!(if tls.verifies {
                "CERT_REQUIRED"
            } else {
                "CERT_NONE"
            }),
        );
        add("check_hostname", json!(tls.checks_hostname));
        if let Some(ca_file) = &tls.ca_file {
            add("ca_certs", json!(ca_file));
        }
        if let Some((cert, key)) = &tls.client {
            add("certfile", json!(cert));
            if key != cert {
                add("keyfile", json!(key));
            }
        }
    }
    fields
}

#[test]
fn urls_are_parsed_as_by_redis_py_or_refused() {
    let rows: Vec<Value> = serde_json::from_str(TABLE).expect("the table is JSON");
    assert!(rows.len() >= 40, "only {} URLs", rows.len());
    for row in rows {
        let url = row["url"].as_str().expect("each row has a URL");
        let parsed = Target::parse(url);
        if let Some(part) = row["refused"].as_str() {
            let error = parsed.err().unwrap_or_else(|| panic!("{url} is accepted"));
            assert_eq!(error.part, part, "{url}");
        } else if row["redis_py"].get("error").is_some() {
            assert!(parsed.is_err(), "{url} is accepted");
        } else {
            let target = parsed.unwrap_or_else(|error| panic!("{url}: {error}"));
            let mut expected = row["redis_py"].clone();
            // To a client the same.
            if expected.get("cert_reqs") == Some(&json!("CERT_OPTIONAL")) {
                expected["cert_reqs"] = json!("CERT_REQUIRED");
            }
            assert_eq!(Value::Object(described(&target)), expected, "{url}");
        }
    }
}

#[test]
fn a_sentinel_url_names_sentinels_service_and_database() {
    let url = "redis+sentinel://app:p%40@a:26380,b,[::1]:1/my%20service/3?sentinel_password=s";
    let target = Target::parse(url).expect("the URL is valid");
    let address = |host: &str, port| HostPort {
        host: host.to_owned(),
        port,
    };
    let expected = Endpoint::Sentinel {
        sentinels: vec![address("a", 26380), address("b", 26379), address("::1", 1)],
        service: "my service".to_owned(),
        tls: None,
    };
    assert_eq!((target.endpoint, target.db), (expected, 3));
    assert_eq!(target.login.password.as_deref(), Some("p@"));
    assert_eq!(target.sentinel_login.password.as_deref(), Some("s"));
}

#[test]
fn a_cluster_url_names_some_nodes() {
    let target = Target::parse("valkeys+cluster://app:s@a:7000,b/0?ssl_cert_reqs=none");
    let target = target.expect("the URL is valid");
    let Endpoint::Cluster { seeds, tls } = target.endpoint else {
        panic!("no cluster");
    };
    let seeds: Vec<_> = seeds.iter().map(|seed| (&*seed.host, seed.port)).collect();
    assert_eq!(seeds, [("a", 7000), ("b", 6379)]);
    assert!(tls.is_some_and(|tls| !tls.verifies));
    assert_eq!(target.login.username.as_deref(), Some("app"));
}

#[test]
fn what_is_refused_is_named_without_a_value() {
    for (url, text) in [
        ("redis+cluster://a,", "host: a node has no name"),
        ("redis+cluster://a/2", "db: a cluster has database 0 only"),
        (
            "redis+ring://a",
            "scheme: must be redis, rediss, valkey, valkeys or unix, or redis+sentinel or redis+cluster",
        ),
        (
            "redis+sentinel://a",
            "path: the service is missing: redis+sentinel://host:port/service/db",
        ),
        (
            "redis+sentinel://a,/service",
            "host: a sentinel has no name",
        ),
        (
            "redis+sentinel://a/service/two",
            "db: is not a whole number in its range",
        ),
        (
            "redis+sentinel://a/service?ssl_cert_reqs=none",
            "parameter ssl_cert_reqs: not supported",
        ),
        (
            "redis://:secret?word=1@valkey",
            "port: is not a whole number in its range",
        ),
        (
            "redis://:1?secret=1@valkey",
            "query: a parameter is not supported",
        ),
        (
            "redis://:secret#1@valkey",
            "fragment: not supported; within a password # is written %23",
        ),
        (
            "rediss://valkey?ssl_cert_reqs=secret",
            "ssl_cert_reqs: must be required, optional or none",
        ),
    ] {
        let error = Target::parse(url)
            .err()
            .unwrap_or_else(|| panic!("{url} is accepted"));
        assert_eq!(
            error.to_string(),
            format!("invalid Valkey URL: {text}"),
            "{url}"
        );
    }
}
