//! The bus itself: one type, two makings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::amqp::Amqp;
use crate::bells::Bells;
use crate::counters::Counts;
use crate::doorbell::{Doorbell, Message, Role};
use crate::error::Result;
use crate::health::Health;
use crate::inside::Inside;
use crate::settings::Settings;

/// The bus. It is cheap to clone; all clones are one bus, which ends with [`Bus::close`] or with the last of them.
#[derive(Clone)]
pub struct Bus(Arc<Making>);

enum Making {
    Inside(Inside),
    Amqp(Amqp),
}

impl Bus {
    /// A bus for this process alone. Doorbells that nobody has taken are gone when the process ends.
    pub fn in_process() -> Bus {
        Bus::in_process_again_after(Duration::from_secs(1))
    }

    /// The same, with another time after which a doorbell that was not done comes again.
    pub fn in_process_again_after(again_after: Duration) -> Bus {
        Bus(Arc::new(Making::Inside(Inside::new(again_after))))
    }

    /// A bus through RabbitMQ. It returns at once, and keeps connecting for as long as it lives; [`Bus::health`] says how
    /// far it is. Until it is connected publishing is refused. It must be made within a Tokio runtime.
    ///
    /// # Errors
    /// If the settings cannot be used, whatever the broker says.
    pub fn amqp(settings: Settings) -> Result<Bus> {
        Ok(Bus(Arc::new(Making::Amqp(Amqp::start(settings)?))))
    }

    /// Rings for a role, and waits until the bus has taken the bell for good.
    ///
    /// # Errors
    /// If that was not confirmed; the bell may have been heard all the same. Ring again, sooner or later.
    pub async fn ring(&self, role: Role, bell: Doorbell) -> Result<()> {
        match &*self.0 {
            Making::Inside(inside) => inside.ring(role, bell),
            Making::Amqp(amqp) => amqp.ring(role, bell).await,
        }
    }

    /// Rings many bells, for which the confirms are awaited together. The results are in the order of the rings.
    pub async fn ring_all(&self, rings: &[(Role, Doorbell)]) -> Vec<Result<()>> {
        match &*self.0 {
            Making::Inside(inside) => rings.iter().map(|(role, bell)| inside.ring(*role, *bell)).collect(),
            Making::Amqp(amqp) => amqp.ring_all(rings).await,
        }
    }

    /// Tells other systems something, whether anybody listens or not, and waits until the bus has taken it. Whoever tells
    /// things in an order tells the next one then: of several at once one may be refused and the next one taken.
    ///
    /// # Errors
    /// If that was not confirmed. Tell it again: listeners know a message by the identity in its body.
    pub async fn tell(&self, message: Message) -> Result<()> {
        match &*self.0 {
            Making::Inside(inside) => inside.tell(message),
            Making::Amqp(amqp) => amqp.tell(message).await,
        }
    }

    /// A receiver of a role's doorbells. Each bell goes to one receiver of its role, in whichever process.
    pub fn bells(&self, role: Role) -> Bells {
        match &*self.0 {
            Making::Inside(inside) => inside.bells(role),
            Making::Amqp(amqp) => amqp.bells(role),
        }
    }

    /// What is told from now on, for a listener within this process. Over AMQP listeners are other systems, which bind
    /// queues of their own to the exchange, so there is nothing to be had here.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Message>> {
        match &*self.0 {
            Making::Inside(inside) => Some(inside.subscribe()),
            Making::Amqp(_) => None,
        }
    }

    /// How the bus is, and every change of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        match &*self.0 {
            Making::Inside(inside) => inside.board.watch(),
            Making::Amqp(amqp) => amqp.board().watch(),
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        match &*self.0 {
            Making::Inside(inside) => inside.counters.read(),
            Making::Amqp(amqp) => amqp.counters().read(),
        }
    }

    /// Ends the bus: from now on nothing is delivered and nothing taken. Doorbells under way may still be acknowledged,
    /// for which this waits a while; what is not acknowledged comes again to somebody else.
    pub async fn close(&self) {
        match &*self.0 {
            Making::Inside(inside) => inside.close(),
            Making::Amqp(amqp) => amqp.close().await,
        }
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &*self.0 {
            Making::Inside(_) => "Bus (in process)",
            Making::Amqp(_) => "Bus (AMQP)",
        })
    }
}
