//! A private RabbitMQ node with its own Erlang port mapper (epmd).

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

/// RabbitMQ's own scripts: the distribution's wrappers in the PATH switch to the user `rabbitmq`.
const PROGRAM_DIR: &str = "/usr/lib/rabbitmq/bin";

/// The same for all nodes: each has its own port mapper, so the names do not collide.
const NODE: &str = "rabbit@localhost";

/// A private RabbitMQ node without plugins. Dropping it stops it and deletes its data. Quorum
/// queues work (in a cluster of one). It can be used from any runtime.
#[derive(Debug)]
pub struct RabbitMq {
    // Fields drop in declaration order: the node stops before its port mapper.
    running: Running,
    port: Port,
    _epmd: Server,
    cli: Arc<Cli>,
    _ports: [Port; 2],
}

/// Settings for `rabbitmqctl` to reach the node.
#[derive(Debug)]
struct Cli {
    user: Option<ServerUser>,
    run: PathBuf,
    env: Vec<(String, String)>,
}

impl RabbitMq {
    /// The user name.
    pub const USER: &str = "guest";
    /// The password.
    pub const PASSWORD: &str = "guest";

    /// Starts a node and waits until it accepts connections, which takes several seconds.
    ///
    /// # Errors
    /// [`Error`], with the end of the node's log if it started.
    pub async fn start() -> Result<Self> {
        blocking(Self::start_blocking).await
    }

    /// Blocking variant of [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking() -> Result<Self> {
        retry_on_clash(Self::launch)
    }

    fn launch() -> Result<Self> {
        let user = ServerUser::find();
        let [port, epmd_port, dist_port] = [Port::lease()?, Port::lease()?, Port::lease()?];
        let epmd = start_epmd(&epmd_port, user.clone())?;
        let scratch = Scratch::new("rabbitmq", user.as_ref())?;
        let run = scratch.run();
        write_files(&run, &port, user.as_ref())?;
        let env = environment(&run, &epmd_port, &dist_port);
        let launch = Launch {
            program: find_program("rabbitmq-server", &[PathBuf::from(PROGRAM_DIR)])?,
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
        let cli = Arc::new(Cli { user, run, env });
        Ok(Self {
            running: Running::new(server),
            port,
            _epmd: epmd,
            cli,
            _ports: [epmd_port, dist_port],
        })
    }

    /// The node's AMQP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The node's AMQP address.
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

    /// Runs `rabbitmqctl` with these arguments (takes about 2 s); returns its standard output.
    ///
    /// # Errors
    /// [`Error::Command`] with its output when it fails.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let cli = Arc::clone(&self.cli);
        blocking(move || cli.run(&args)).await
    }

    /// Raises (`true`) or clears (`false`) the memory alarm, which blocks publishing connections.
    ///
    /// # Errors
    /// As [`ctl`](Self::ctl).
    pub async fn memory_alarm(&self, on: bool) -> Result<()> {
        // Any memory use exceeds a watermark of 0.
        self.ctl(&["set_vm_memory_high_watermark", if on { "0" } else { "0.6" }])
            .await?;
        Ok(())
    }

    /// Raises (`true`) or clears (`false`) the disk alarm, which blocks publishing connections. It
    /// may take several seconds to take effect.
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

impl Cli {
    fn run(&self, args: &[String]) -> Result<String> {
        let program = find_program("rabbitmqctl", &[PathBuf::from(PROGRAM_DIR)])?;
        let env = self.env.iter().map(|(name, value)| (name, value));
        run(command_as(self.user.as_ref(), &program)?
            .args(args)
            .envs(env)
            .current_dir(&self.run))
    }
}

/// Starts epmd in the foreground, so that it stays in its directory and is stopped like any server.
fn start_epmd(port: &Port, user: Option<ServerUser>) -> Result<Server> {
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
    // The cookie allows remote code execution in the node, so it is random.
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

fn environment(run: &Path, epmd: &Port, dist: &Port) -> Vec<(String, String)> {
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
        ("ERL_EPMD_PORT", epmd.number().to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // Makes the script exec the Erlang VM instead of forking it; SIGTERM still shuts it down
        // cleanly.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
