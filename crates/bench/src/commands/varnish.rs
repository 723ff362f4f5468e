//! A private Varnish as a cache in front of an HTTP server.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use nix::sys::signal::Signal;

use devstack::process::{Launch, blocking};
use devstack::{
    Port, Result, Running, Scratch, Server, ServerUser, find_program, probe, retry_on_clash,
};

/// It compiles its configuration with a C compiler.
const START_LIMIT: Duration = Duration::from_secs(30);

/// More idle threads than clients, so that none is started during a measurement.
const PARAMETERS: [&str; 3] = [
    "thread_pool_min=50",
    "thread_pool_max=500",
    "timeout_idle=60",
];

/// Log tags of requests that are disabled, as the other contenders do not log requests.
const DISABLED_TAGS: [&str; 21] = [
    "Begin",
    "End",
    "Hit",
    "Link",
    "ReqAcct",
    "ReqHeader",
    "ReqMethod",
    "ReqProtocol",
    "ReqStart",
    "ReqUnset",
    "ReqURL",
    "RespHeader",
    "RespProtocol",
    "RespReason",
    "RespStatus",
    "RespUnset",
    "SessClose",
    "SessOpen",
    "Timestamp",
    "VCL_call",
    "VCL_return",
];

/// A private Varnish. Dropping it stops it.
///
/// It caches each response to a `GET` in memory for an hour, regardless of the origin's headers and
/// of the client: the upper bound for Varnish, not a recommended configuration. `X-Cache` is `HIT`
/// or `MISS`.
#[derive(Debug)]
pub(super) struct Varnish {
    running: Running,
    port: Port,
}

impl Varnish {
    /// Starts it in front of `origin`.
    ///
    /// # Errors
    /// [`devstack::Error`], with the last lines of its log if it started.
    pub(super) async fn start(origin: SocketAddr) -> Result<Self> {
        blocking(move || retry_on_clash(|| Self::launch(origin))).await
    }

    fn launch(origin: SocketAddr) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::in_memory("varnish", user.as_ref())?;
        let port = Port::lease()?;
        let file = scratch.write("cache.vcl", &configuration(origin), user.as_ref())?;
        let mut args = vec![
            "-F".into(),
            "-n".into(),
            scratch.run().join("work").into(),
            "-a".into(),
            port.addr().to_string().into(),
            "-f".into(),
            file.into(),
            "-s".into(),
            "malloc,64m".into(),
        ];
        let mask = format!("vsl_mask=-{}", DISABLED_TAGS.join(",-"));
        for parameter in PARAMETERS.into_iter().chain([mask.as_str()]) {
            args.extend(["-p".into(), parameter.into()]);
        }
        let launch = Launch {
            program: find_program("varnishd", &[])?,
            args,
            env: Vec::new(),
            user,
            stop: Signal::SIGTERM,
            quit: Signal::SIGTERM, // waits for its child
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || probe::http(addr, "/healthz"));
        let server = Server::start("varnish", scratch, launch, ready)?;
        Ok(Self {
            running: Running::new(server),
            port,
        })
    }

    /// The listening address.
    pub(super) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

impl Deref for Varnish {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn configuration(origin: SocketAddr) -> String {
    format!(
        r#"vcl 4.1;

backend origin {{
    .host = "{}";
    .port = "{}";
}}

sub vcl_recv {{
    if (req.method == "GET") {{
        return (hash);
    }}
    return (pass);
}}

sub vcl_hash {{
    hash_data(req.url);
    return (lookup);
}}

sub vcl_backend_response {{
    unset beresp.http.Vary;
    unset beresp.http.Set-Cookie;
    set beresp.ttl = 1h;
    return (deliver);
}}

sub vcl_deliver {{
    if (obj.hits > 0) {{
        set resp.http.X-Cache = "HIT";
    }} else {{
        set resp.http.X-Cache = "MISS";
    }}
    return (deliver);
}}
"#,
        origin.ip(),
        origin.port()
    )
}
