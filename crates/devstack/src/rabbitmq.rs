//! A private RabbitMQ.
use crate::{Error, Result};
use std::net::SocketAddr;
/// A private RabbitMQ.
#[derive(Debug)]
pub struct RabbitMq {
    port: u16,
}
impl RabbitMq {
    /// The user's name.
    pub const USER: &str = "guest";
    /// The user's password.
    pub const PASSWORD: &str = "guest";
    /// Starts a node (takes several seconds).
    pub async fn start() -> Result<Self> {
        Err(Error::Task("x"))
    }
    /// Starts a node, blocking the thread.
    pub fn start_blocking() -> Result<Self> {
        Err(Error::Task("x"))
    }
    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`
    pub fn url(&self) -> String {
        String::new()
    }
    /// Runs `rabbitmqctl` against the node; returns what it printed.
    pub async fn ctl(&self, _args: &[&str]) -> Result<String> {
        Err(Error::Task("x"))
    }
    /// Raises (`true`) or clears the memory alarm: publishers are blocked while it is on.
    pub async fn memory_alarm(&self, _on: bool) -> Result<()> {
        Ok(())
    }
    /// Raises (`true`) or clears the disk alarm.
    pub async fn disk_alarm(&self, _on: bool) -> Result<()> {
        Ok(())
    }
    /// Ends the node in an orderly way, keeps its data.
    pub async fn stop(&self) -> Result<()> {
        Ok(())
    }
    /// Kills the node at once (SIGKILL), keeps its data.
    pub fn kill(&self) -> Result<()> {
        Ok(())
    }
    /// Starts it anew, same port, same data.
    pub async fn restart(&self) -> Result<()> {
        Ok(())
    }
    /// Freezes the node (SIGSTOP).
    pub fn pause(&self) -> Result<()> {
        Ok(())
    }
    /// Undoes `pause`.
    pub fn resume(&self) -> Result<()> {
        Ok(())
    }
}
