//! A check whether RabbitMQ responds, on a connection of its own, so that it delays no message.

use futures_util::FutureExt as _;
use futures_util::future::select_ok;
use lapin::options::BasicQosOptions;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::broker::BrokerError;
use crate::broker::client::addresses;
use crate::config;

/// The largest frame in bytes: the client's buffers hold 64 of them, which with the broker's
/// default would be 8 MiB.
const FRAME_MAX: u32 = 16 * 1024;

/// A connection to the first host that accepts one, opened when needed.
pub struct Probe {
    addresses: Vec<AMQPUri>,
    current: Option<(Connection, Channel)>,
}

impl Probe {
    /// Prepares checks without connecting.
    #[must_use]
    pub fn new(config: &config::Queue) -> Self {
        let mut addresses = addresses(config);
        for address in &mut addresses {
            address.query.frame_max = Some(FRAME_MAX);
        }
        Self {
            addresses,
            current: None,
        }
    }

    /// Sends a method to the broker that has a reply and changes nothing, and waits for the reply. Has
    /// no time limit of its own; the next check after an interrupted one opens a new connection.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    pub async fn check(&mut self) -> Result<(), BrokerError> {
        let (connection, channel) = match self.current.take() {
            Some(current) => current,
            None => self.connect().await?,
        };
        let qos = channel.basic_qos(1, BasicQosOptions::default());
        qos.await.map_err(unavailable)?;
        self.current = Some((connection, channel));
        Ok(())
    }

    /// Closes the connection, which the next check opens again.
    pub fn disconnect(&mut self) {
        self.current = None;
    }

    async fn connect(&self) -> Result<(Connection, Channel), BrokerError> {
        let attempts = self.addresses.iter().map(|address| open(address).boxed());
        let (opened, _) = select_ok(attempts).await?;
        Ok(opened)
    }
}

async fn open(address: &AMQPUri) -> Result<(Connection, Channel), BrokerError> {
    let properties = ConnectionProperties::default().with_connection_name("fia-api probe".into());
    let connection = Connection::connect_uri(address.clone(), properties).await;
    let connection = connection.map_err(unavailable)?;
    let channel = connection.create_channel().await.map_err(unavailable)?;
    Ok((connection, channel))
}

fn unavailable(error: lapin::Error) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
