//! A private RabbitMQ node, with a port mapper (epmd) of its own.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, command_as, find_program, run};
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Error, Result, probe};

const START_LIMIT: Duration = Duration::from_secs(90);

/// The programs themselves: the scripts in the PATH would run as the distribution's user `rabbitmq`.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// The name may be the same for all nodes, as each has a port mapper of its own.
const NODE: &str = "rabbit@localhost";

/// A private RabbitMQ node without plugins. Dropping it ends it and removes its data. Quorum queues work (as a cluster
/// of one). No method depends on the runtime that started it.
#[derive(Debug)]
pub struct RabbitMq {
    // In this order: the node ends before its port mapper.
    running: Running,
    port: Port,
    _mapper: Server,
    tools: Arc<Tools>,
    _ports: [Port; 2],
}

/// What a program needs to join the node.
#[derive(Debug)]
struct Tools {
    user: Option<ServerUser>,
    run: PathBuf,
    env: Vec<(String, String)>,
}

impl RabbitMq {
    /// The user name.
    pub const USER: &str = "guest";
    /// The password.
    pub const PASSWORD: &str = "guest";

    /// Starts a node and waits until it takes connections, which takes several seconds.
    ///
    /// # Errors
    /// [`Error`], with the end of the node's log where there is one.
    pub async fn start() -> Result<Self> {
        blocking(Self::start_blocking).await
    }

    /// As [`start`](Self::start), but blocks the thread.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking() -> Result<Self> {
        retry_on_clash(Self::launch)
    }

    fn launch() -> Result<Self> {
        let user = ServerUser::find();
        let [port, mapper_port, dist_port] = [Port::lease()?, Port::lease()?, Port::lease()?];
        let mapper = start_mapper(&mapper_port, user.clone())?;
        let scratch = Scratch::new("rabbitmq", user.as_ref())?;
        let run = scratch.run();
        write_files(&run, &port, user.as_ref())?;
        let env = environment(&run, &mapper_port, &dist_port);
        let launch = Launch {
            program: find_program("rabbitmq-server", &[PathBuf::from(PROGRAMS)])?,
            args: Vec::new(),
            env: env.clone(),
            user: user.clone(),
            stop: Signal::SIGTERM,
            quit: Signal::SIGKILL,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let server = Server::start(
            "rabbitmq",
            scratch,
            launch,
            Box::new(move || probe::amqp(addr)),
        )?;
        let tools = Arc::new(Tools { user, run, env });
        Ok(Self {
            running: Running::new(server),
            port,
            _mapper: mapper,
            tools,
            _ports: [mapper_port, dist_port],
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`
    pub fn url(&self) -> String {
        format!(
            "amqp://{}:{}@{}/%2f",
            Self::USER,
            Self::PASSWORD,
            self.addr()
        )
    }

    /// Runs `rabbitmqctl` with these arguments (about two seconds); returns what it printed.
    ///
    /// # Errors
    /// [`Error::Command`] with its output when it fails.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let tools = Arc::clone(&self.tools);
        blocking(move || tools.ctl(&args)).await
    }

    /// Raises (`true`) or clears (`false`) the memory alarm: while it is on, connections that publish are blocked.
    ///
    /// # Errors
    /// As [`ctl`](Self::ctl).
    pub async fn memory_alarm(&self, on: bool) -> Result<()> {
        // A watermark of 0 is below any use.
        self.ctl(&["set_vm_memory_high_watermark", if on { "0" } else { "0.6" }])
            .await?;
        Ok(())
    }

    /// Raises (`true`) or clears (`false`) the disk alarm: while it is on, connections that publish are blocked. It
    /// may take some seconds to be noticed.
    ///
    /// # Errors
    /// As [`ctl`](Self::ctl).
    pub async fn disk_alarm(&self, on: bool) -> Result<()> {
        self.ctl(&["set_disk_free_limit", if on { "1000000GB" } else { "1MB" }])
            .await?;
        Ok(())
    }
}

impl Deref for RabbitMq {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Tools {
    fn ctl(&self, args: &[String]) -> Result<String> {
        let program = find_program("rabbitmqctl", &[PathBuf::from(PROGRAMS)])?;
        let env = self.env.iter().map(|(name, value)| (name, value));
        run(command_as(self.user.as_ref(), &program)?
            .args(args)
            .envs(env)
            .current_dir(&self.run))
    }
}

/// In the foreground, so that it stays in its directory and is ended like any server.
fn start_mapper(port: &Port, user: Option<ServerUser>) -> Result<Server> {
    let launch = Launch {
        program: find_program("epmd", &[])?,
        args: ["-address", "127.0.0.1", "-port", &port.number().to_string()]
            .map(Into::into)
            .to_vec(),
        env: Vec::new(),
        user: user.clone(),
        stop: Signal::SIGTERM,
        quit: Signal::SIGKILL,
        limit: START_LIMIT,
    };
    let addr = port.addr();
    Server::start(
        "epmd",
        Scratch::new("epmd", user.as_ref())?,
        launch,
        Box::new(move || probe::listens(addr)),
    )
}

fn write_files(run: &Path, port: &Port, user: Option<&ServerUser>) -> Result<()> {
    let configuration = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         log.file = false\n\
         log.console = true\n\
         log.console.level = info\n\
         vm_memory_high_watermark.relative = 0.6\n\
         disk_free_limit.absolute = 1MB\n",
        port.number()
    );
    // Whoever knows the cookie can run code in the node.
    let cookie = format!(
        "{:016x}{:016x}",
        RandomState::new().hash_one(1),
        RandomState::new().hash_one(2)
    );
    let files = [
        ("rabbitmq.conf", configuration.as_str()),
        (".erlang.cookie", cookie.as_str()),
        ("enabled_plugins", "[].\n"),
    ];
    for (name, text) in files {
        let file = run.join(name);
        fs::write(&file, text).map_err(Error::io(format!("writing {}", file.display())))?;
        // Erlang refuses a cookie that others can read.
        fs::set_permissions(&file, Permissions::from_mode(0o400))
            .map_err(Error::io("chmod of the cookie"))?;
        if let Some(user) = user {
            user.own(&file)?;
        }
    }
    Ok(())
}

fn environment(run: &Path, mapper: &Port, dist: &Port) -> Vec<(String, String)> {
    let path = |name: &str| run.join(name).display().to_string();
    let pairs = [
        ("HOME", run.display().to_string()),
        ("RABBITMQ_NODENAME", NODE.to_owned()),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", path("no-such-file")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_DIST_PORT", dist.number().to_string()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
        ),
        ("ERL_EPMD_PORT", mapper.number().to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // Becomes the Erlang VM rather than its parent; a SIGTERM ends it in an orderly way all the same.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
