//! Takes doorbells off a queue for one receiver, over as many channels as it needs one after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Connection, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::link::{Link, said};
use super::{Shared, why};
use crate::backoff::Backoff;
use crate::bells::{Answer, Delivery, Shelf};
use crate::doorbell::{Doorbell, Role};
use crate::health::Part;

/// How long the broker may take for an answer on a channel.
const PATIENCE: Duration = Duration::from_secs(10);
/// A channel that has lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(5);

/// Runs until the bus closes or the receiver is dropped.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut link: Link,
    role: Role,
    shelf: Arc<Shelf>,
    mut closing: watch::Receiver<bool>,
) {
    let part = Part::Channel(role.name());
    let mut backoff = Backoff::new(shared.settings.longest_wait);
    loop {
        let connection = tokio::select! {
            _ = said(&mut closing) => break,
            _ = shelf.gone.notified() => break,
            connection = link.connected() => connection,
        };
        let Some(connection) = connection else { break };
        let began = Instant::now();
        let lost = match open(&shared, &connection, role).await {
            Ok((channel, consumer)) => {
                shared.board.note(part, None);
                let serving = Serving::new(&shared, channel, &shelf);
                let lost = serving.serve(consumer, &mut closing).await;
                // What the lost channel had brought comes again over the next one.
                shelf.clear();
                match lost {
                    Some(why) => why,
                    None => break,
                }
            }
            Err(why) => why,
        };
        if began.elapsed() > LASTED {
            backoff.reset();
        }
        shared.board.note(part, connection.status().connected().then_some(lost));
        tokio::select! {
            _ = said(&mut closing) => break,
            _ = shelf.gone.notified() => break,
            _ = tokio::time::sleep(backoff.wait()) => {}
        }
    }
    shared.board.note(part, None);
}

async fn open(shared: &Shared, connection: &Connection, role: Role) -> Result<(Channel, Consumer), String> {
    let opening = async {
        let channel = connection.create_channel().await.map_err(|error| why::channel(&error))?;
        shared.names.declare_queue(&channel, role).await?;
        let queue = ShortString::from(shared.names.queue(role).as_str());
        let consume = async {
            channel.basic_qos(shared.settings.prefetch.max(1), BasicQosOptions::default()).await?;
            channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
        };
        let consumer = consume.await.map_err(|error| why::channel(&error))?;
        Ok((channel, consumer))
    };
    timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err("the broker does not answer".into()))
}

/// One channel while it lasts.
struct Serving<'a> {
    shared: &'a Shared,
    channel: Channel,
    shelf: &'a Shelf,
    answers: mpsc::UnboundedSender<(Acker, Answer)>,
    answered: mpsc::UnboundedReceiver<(Acker, Answer)>,
    /// Deliveries that were given out and not answered yet.
    open: usize,
    /// What is to be given back, and when.
    later: std::collections::VecDeque<(Instant, Acker)>,
}

impl<'a> Serving<'a> {
    fn new(shared: &'a Shared, channel: Channel, shelf: &'a Shelf) -> Serving<'a> {
        let (answers, answered) = mpsc::unbounded_channel();
        Serving { shared, channel, shelf, answers, answered, open: 0, later: Default::default() }
    }

    /// Gives out what comes, and passes answers on. Says why the channel was lost; `None` when the receiver wants no more.
    async fn serve(mut self, mut consumer: Consumer, closing: &mut watch::Receiver<bool>) -> Option<String> {
        loop {
            let due = self.later.front().map_or_else(Instant::now, |(when, _)| *when);
            let lost = tokio::select! {
                _ = said(closing) => break,
                _ = self.shelf.gone.notified() => break,
                next = consumer.next() => match next {
                    Some(Ok(raw)) => self.give_out(raw).await,
                    Some(Err(error)) => Some(why::channel(&error)),
                    None => Some("the broker ended the delivery of doorbells: their queue is gone, or has moved".into()),
                },
                Some((acker, answer)) = self.answered.recv() => self.pass_on(acker, answer).await,
                _ = sleep_until(due), if !self.later.is_empty() => self.give_back().await,
            };
            if lost.is_some() {
                return lost;
            }
        }
        let limit = self.shared.settings.close_within;
        // Closing the channel gives back to the queue whatever was not acknowledged.
        let _ = timeout(limit, self.finish(consumer)).await;
        let _ = timeout(PATIENCE, self.channel.close(200, "closed".into())).await;
        None
    }

    async fn give_out(&mut self, raw: Raw) -> Option<String> {
        let counters = &self.shared.counters;
        let Some(bell) = Doorbell::decode(&raw.data) else {
            // Given back it would come again for ever.
            counters.unreadable.up();
            tracing::warn!(bytes = raw.data.len(), "a message on the queue of doorbells is none; it is passed over");
            return acknowledge(&raw.acker).await;
        };
        counters.delivered.up();
        if raw.redelivered {
            counters.redelivered.up();
        }
        self.open += 1;
        let (answers, acker) = (self.answers.clone(), raw.acker);
        self.shelf.put(Delivery::new(bell, raw.redelivered, move |answer| {
            // The channel may be gone, and with it whoever would listen.
            let _ = answers.send((acker, answer));
        }));
        None
    }

    async fn pass_on(&mut self, acker: Acker, answer: Answer) -> Option<String> {
        self.open = self.open.saturating_sub(1);
        match answer {
            Answer::Done => {
                self.shared.counters.done.up();
                acknowledge(&acker).await
            }
            Answer::Again => {
                self.later.push_back((Instant::now() + self.shared.settings.again_after, acker));
                None
            }
        }
    }

    async fn give_back(&mut self) -> Option<String> {
        let (_, acker) = self.later.pop_front()?;
        let options = BasicNackOptions { multiple: false, requeue: true };
        ended(timeout(PATIENCE, acker.nack(options)).await)
    }

    /// Takes no more, and waits until everything that was given out is answered.
    async fn finish(&mut self, consumer: Consumer) {
        let _ = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
        self.shelf.clear();
        while self.open > 0 {
            let Some((acker, answer)) = self.answered.recv().await else { return };
            self.open -= 1;
            if answer == Answer::Done {
                self.shared.counters.done.up();
                acknowledge(&acker).await;
            }
        }
    }
}

async fn acknowledge(acker: &Acker) -> Option<String> {
    ended(timeout(PATIENCE, acker.ack(BasicAckOptions::default())).await)
}

/// Why the channel is lost, if an answer could not be given on it.
fn ended(given: Result<lapin::Result<bool>, tokio::time::error::Elapsed>) -> Option<String> {
    match given {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(why::channel(&error)),
        Err(_) => Some("the broker does not answer".into()),
    }
}
