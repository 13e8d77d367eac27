//! A private RabbitMQ for tests: one node on free ports of 127.0.0.1 in a directory of its own, run by an ordinary user, always stopped.
//!
//! Tests that only need a broker take [`address`]: the node given by `MUSTER_TEST_AMQP_URL` if there is one, else one
//! of this process. As a virtual host costs a second of processor time to make, tests share one and keep apart by the
//! prefix of their queues. A test that stops, kills or freezes the broker starts a [`Broker`] for itself.
//! A watchdog of the shell waits for the end of a pipe that this process holds, so the node is killed and its
//! directory removed however the process ends, SIGKILL included.

use std::io::{Error, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::ordinary::{OrdinaryUser, as_user, own_directory};

/// Names an existing broker to use instead of starting one.
pub const URL_VARIABLE: &str = "MUSTER_TEST_AMQP_URL";

/// How long a node may take to come up, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// The address of a broker that is only to be used, not disturbed.
///
/// # Errors
/// If there is none and none can be started.
pub fn address() -> Result<String> {
    static BROKER: OnceLock<std::result::Result<Broker, String>> = OnceLock::new();
    match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => match BROKER.get_or_init(|| Broker::start().map_err(|e| e.to_string())) {
            Ok(broker) => Ok(broker.url().to_owned()),
            Err(why) => Err(Error::other(why.clone())),
        },
    }
}

/// A node of one's own, which can be stopped, started again, killed and frozen. It is gone when this value is dropped.
pub struct Broker {
    settings: Settings,
    url: String,
    node: Option<Child>,
    epmd: Child,
    /// Its standard input is the pipe whose end removes everything.
    _watchdog: Child,
}

/// What the node and its tools are started with.
struct Settings {
    programs: PathBuf,
    user: Option<OrdinaryUser>,
    dir: PathBuf,
    name: String,
    password: String,
    port: u16,
    dist_port: u16,
    epmd_port: u16,
}

impl Broker {
    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// If RabbitMQ is not installed, or does not come up; the error has its log.
    pub fn start() -> Result<Broker> {
        let settings = Settings::new()?;
        settings.write_configuration()?;
        let watchdog = settings.watch()?;
        // An epmd of our own in the foreground: one that the node starts would outlive it.
        let port = settings.epmd_port.to_string();
        let epmd = settings.command(Path::new("epmd")).args(["-address", "127.0.0.1", "-port", &port]).spawn()?;
        std::fs::write(settings.dir.join("epmd.pid"), epmd.id().to_string())?;
        let url = format!("amqp://muster:{}@127.0.0.1:{}/%2f", settings.password, settings.port);
        let mut broker = Broker { settings, url, node: None, epmd, _watchdog: watchdog };
        broker.start_again()?;
        Ok(broker)
    }

    /// The address of its default virtual host, with the password of a user who may do everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The password in the address, to look for where it must not be.
    pub fn password(&self) -> &str {
        &self.settings.password
    }

    /// The address for another user.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", self.settings.port)
    }

    /// Starts the node, after [`Broker::stop`] or [`Broker::kill`], and waits until it answers.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        let node = self.settings.command(&self.settings.programs.join("rabbitmq-server")).spawn()?;
        std::fs::write(self.settings.dir.join("node.pid"), node.id().to_string())?;
        self.node = Some(node);
        let began = Instant::now();
        while !answers(self.settings.port) {
            let ended = self.node.as_mut().is_some_and(|node| !matches!(node.try_wait(), Ok(None)));
            if ended || began.elapsed() > PATIENCE {
                return Err(Error::other(format!("RabbitMQ did not start: {}", self.settings.log())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops the node in an orderly way and waits for its end.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        self.reap()
    }

    /// Kills the node with SIGKILL.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        self.reap()
    }

    /// Freezes the node: its connections stay open and nobody answers.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Wakes a frozen node.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Runs `rabbitmqctl` on the node and gives what it printed. It takes a second or two of processor time.
    ///
    /// # Errors
    /// If it says that it failed.
    pub fn ctl<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let run = self.settings.command(&self.settings.programs.join("rabbitmqctl"));
        let output = { run }.arg("--quiet").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        check("rabbitmqctl", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let Some(node) = &self.node else { return Err(Error::other("the node is not running")) };
        let output = Command::new("/bin/sh").args(["-c", "kill -$0 $1", name, &node.id().to_string()]).output()?;
        check("kill", &output)
    }

    fn reap(&mut self) -> Result<()> {
        match self.node.take() {
            Some(mut node) => node.wait().map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Broker {
    /// Only to be quick about it; the watchdog does it too.
    fn drop(&mut self) {
        for child in self.node.iter_mut().chain([&mut self.epmd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Settings {
    fn new() -> Result<Settings> {
        let user = OrdinaryUser::find(&["rabbitmq", "nobody"])?;
        Ok(Settings {
            programs: programs()?,
            user,
            dir: own_directory("muster-mq-", user.as_ref())?,
            name: format!("muster-{}@localhost", Uuid::new_v4().simple()),
            password: Uuid::new_v4().simple().to_string(),
            port: free_port()?,
            dist_port: free_port()?,
            epmd_port: free_port()?,
        })
    }

    fn write_configuration(&self) -> Result<()> {
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\ndefault_user = muster\ndefault_pass = {}\n\
             disk_free_limit.absolute = 1MB\nraft.wal_max_size_bytes = 16777216\n",
            self.port, self.password
        );
        std::fs::write(self.dir.join("rabbitmq.conf"), configuration)?;
        std::fs::write(self.dir.join("enabled_plugins"), "[].\n")?;
        std::fs::write(self.dir.join("env.conf"), "")
    }

    /// One of the programs, with all that keeps it away from any other RabbitMQ of this machine.
    fn command(&self, program: &Path) -> Command {
        let dir = &self.dir;
        let mut command = as_user(self.user.as_ref(), program);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command
            .env("HOME", dir)
            .env("LC_ALL", "C.UTF-8")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            // The process that we start is then the node itself, and no shell around it that signals would go to.
            .env("RABBITMQ_ALLOW_INPUT", "yes")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} \
                 +sbwt none +sbwtdcpu none +sbwtdio none",
            )
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string());
        command
    }

    /// Waits for the end of its input in a process group of its own, then kills what runs and removes the directory.
    fn watch(&self) -> Result<Child> {
        let script = "cat >/dev/null; for f in node epmd; do kill -KILL $(cat \"$0/$f.pid\"); done; \
                      sleep 0.2; rm -rf \"$0\"";
        self.command(Path::new("/bin/sh"))
            .args(["-c", script])
            .arg(&self.dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
    }

    fn log(&self) -> String {
        let files = std::fs::read_dir(self.dir.join("log")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
    }
}

/// Where the node's programs are: the ones beside the path, as Debian's on it insist on running as another user.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(PathBuf::from("/usr/lib/rabbitmq/bin"))
        .chain(std::env::split_paths(&path))
        .find(|dir| dir.join("rabbitmq-server").exists())
        .ok_or_else(|| Error::other("RabbitMQ is not installed: no rabbitmq-server"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether somebody speaks AMQP there.
fn answers(port: u16) -> bool {
    let greet = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        stream.read_exact(&mut [0])
    };
    greet().is_ok()
}

fn check(what: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr[..], &output.stdout[..]].concat();
    Err(Error::other(format!("{what} failed: {}", String::from_utf8_lossy(&said))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_can_be_stopped_killed_frozen_and_started_and_leaves_nothing_behind() {
        let mut broker = Broker::start().unwrap();
        let (port, dir) = (broker.settings.port, broker.settings.dir.clone());
        assert!(broker.ctl(["list_users"]).unwrap().contains("muster"));
        broker.pause().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "frozen, not gone");
        broker.resume().unwrap();
        broker.stop().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        broker.start_again().unwrap();
        broker.kill().unwrap();
        broker.start_again().unwrap();
        let node = broker.node.as_ref().unwrap().id();
        drop(broker);
        let began = Instant::now();
        while dir.exists() || Path::new(&format!("/proc/{node}")).exists() {
            assert!(began.elapsed() < Duration::from_secs(10), "something is left");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
