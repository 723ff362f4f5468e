//! A private nginx as a cache (`proxy_cache`) in front of an HTTP server.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use nix::sys::signal::Signal;

use devstack::process::{Launch, blocking};
use devstack::{
    Port, Result, Running, Scratch, Server, ServerUser, find_program, probe, retry_on_clash,
};

const START_LIMIT: Duration = Duration::from_secs(10);

/// A private nginx. Dropping it stops it.
///
/// It caches each `200` in memory for an hour, regardless of the origin's headers and of the client:
/// the upper bound for nginx, not a recommended configuration. `X-Cache` is `HIT` or `MISS`.
#[derive(Debug)]
pub(super) struct Nginx {
    running: Running,
    port: Port,
}

impl Nginx {
    /// Starts it in front of `origin`.
    ///
    /// # Errors
    /// [`devstack::Error`], with the last lines of its log if it started.
    pub(super) async fn start(origin: SocketAddr) -> Result<Self> {
        blocking(move || retry_on_clash(|| Self::launch(origin))).await
    }

    fn launch(origin: SocketAddr) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::in_memory("nginx", user.as_ref())?;
        let port = Port::lease()?;
        let text = configuration(origin, port.number());
        scratch.write("nginx.conf", &text, user.as_ref())?;
        let launch = Launch {
            program: find_program("nginx", &[])?,
            args: vec![
                "-e".into(),
                "stderr".into(),
                "-p".into(),
                scratch.run().into(),
                "-c".into(),
                "nginx.conf".into(),
            ],
            env: Vec::new(),
            user,
            stop: Signal::SIGQUIT,
            quit: Signal::SIGTERM, // waits for its workers
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || probe::http(addr, "/healthz"));
        let server = Server::start("nginx", scratch, launch, ready)?;
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

impl Deref for Nginx {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// The configuration, tuned for responses of a few kilobytes: without `sendfile`, a response is
/// read with its headers and written in one call each, which is 10 % faster. Each worker has its
/// own listening socket.
fn configuration(origin: SocketAddr, port: u16) -> String {
    let scratch_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("    {part}_temp_path {part}_temp;\n"))
        .concat();
    format!(
        r#"daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr error;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    server_tokens off;
    sendfile off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=1h;
    open_file_cache_valid 1h;
{scratch_paths}    proxy_cache_path cache levels=1:2 keys_zone=responses:10m max_size=1g inactive=1h use_temp_path=off;
    upstream origin {{
        server {origin};
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache responses;
            proxy_cache_key $request_uri;
            proxy_cache_valid 200 1h;
            proxy_cache_lock on;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"#
    )
}
