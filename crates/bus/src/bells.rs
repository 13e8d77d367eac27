//! Doorbells as they are heard: each is acknowledged, or comes again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::doorbell::Doorbell;
use crate::inside::Lane;

/// A doorbell that was taken. Dropped without [`Delivery::done`] it is given back and comes again, a little later.
#[must_use = "dropped without `done`, the doorbell comes again"]
pub struct Delivery {
    bell: Doorbell,
    redelivered: bool,
    answer: Option<Box<dyn FnOnce(Answer) + Send>>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Again,
}

impl Delivery {
    pub(crate) fn new(bell: Doorbell, redelivered: bool, answer: impl FnOnce(Answer) + Send + 'static) -> Delivery {
        Delivery { bell, redelivered, answer: Some(Box::new(answer)) }
    }

    /// The doorbell.
    pub fn bell(&self) -> Doorbell {
        self.bell
    }

    /// Whether it was given out before, to us or to somebody else.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Acknowledges it. If the connection is lost at this moment it comes again all the same.
    pub fn done(mut self) {
        self.give(Answer::Done);
    }

    fn give(&mut self, answer: Answer) {
        if let Some(give) = self.answer.take() {
            give(answer);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.give(Answer::Again);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("bell", &self.bell).field("redelivered", &self.redelivered).finish()
    }
}

/// A receiver of one role's doorbells. It goes on over lost connections. Several receivers share what comes.
pub struct Bells {
    pub(crate) source: Source,
    pub(crate) closing: watch::Receiver<bool>,
}

pub(crate) enum Source {
    Inside(Arc<Lane>),
    Amqp(Taker),
}

impl Bells {
    /// Waits for the next doorbell; `None` once the bus is closed. It may be dropped while waiting: nothing is lost.
    pub async fn next(&mut self) -> Option<Delivery> {
        let next = async {
            match &self.source {
                Source::Inside(lane) => lane.take().await,
                Source::Amqp(taker) => taker.0.take().await,
            }
        };
        tokio::select! {
            biased;
            // An error means that the bus itself is gone.
            _ = self.closing.wait_for(|closing| *closing) => None,
            delivery = next => Some(delivery),
        }
    }
}

/// Deliveries that a channel has brought and nobody has taken yet. The channel's task can take them back.
#[derive(Default)]
pub(crate) struct Shelf {
    waiting: Mutex<VecDeque<Delivery>>,
    changed: Notify,
    /// Told when the receiver is gone.
    pub gone: Notify,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, delivery: Delivery) {
        self.lock().push_back(delivery);
        self.changed.notify_one();
    }

    async fn take(&self) -> Delivery {
        loop {
            let taken = self.lock().pop_front();
            if let Some(delivery) = taken {
                return delivery;
            }
            self.changed.notified().await;
        }
    }

    /// Gives back whatever nobody has taken.
    pub fn clear(&self) {
        // Outside of the lock: dropping a delivery answers it.
        let dropped = std::mem::take(&mut *self.lock());
        drop(dropped);
    }
}

/// The receiver's end of a shelf.
pub(crate) struct Taker(pub Arc<Shelf>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.gone.notify_one();
    }
}
