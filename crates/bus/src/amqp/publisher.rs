//! Publishes in batches: what is waiting goes out together, then all confirms are awaited together.
//!
//! One task publishes on one channel, one batch at a time. A message that the broker returns carries no word of which
//! publish it was; within one batch the message's identity tells it, and no batch runs beside another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::link::{Link, said};
use super::names::Names;
use super::{Shared, why};
use crate::backoff::Backoff;
use crate::doorbell::{Doorbell, Message, Role};
use crate::error::{BusError, Result};
use crate::health::Part;

/// How many messages go out before their confirms are awaited.
const BATCH: usize = 1024;
/// After how long of refusals a channel is opened anew: in RabbitMQ 3.10 a channel goes on refusing for a queue that was full
/// until somebody consumes, though the queue was purged or its limit lifted.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// A routing key is a short string of the protocol.
const LONGEST_KEY: usize = 255;
/// The mark of a message that outlives the broker.
const PERSISTENT: u8 = 2;

/// Which of the two publishers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Through the default exchange to the queue of a role; the broker must have that queue.
    Doorbells,
    /// To the topic exchange, to whoever has bound a queue to it.
    Events,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Doorbells => "doorbells",
            Kind::Events => "events",
        }
    }
}

/// Something to be published.
pub(super) struct Publication {
    exchange: String,
    key: String,
    content_type: String,
    body: Vec<u8>,
}

impl Publication {
    pub fn doorbell(names: &Names, role: Role, bell: Doorbell) -> Publication {
        Publication {
            exchange: String::new(),
            key: names.queue(role),
            content_type: "application/json".into(),
            body: bell.encode(),
        }
    }

    pub fn message(names: &Names, message: Message) -> Publication {
        let Message { key, content_type, body } = message;
        Publication { exchange: names.events(), key, content_type, body }
    }
}

type Waiting = (Publication, oneshot::Sender<Result<()>>);

/// The way to a publishing task.
pub(super) struct Publisher(mpsc::Sender<Waiting>);

impl Publisher {
    pub fn start(
        shared: Arc<Shared>,
        link: Link,
        kind: Kind,
        closing: watch::Receiver<bool>,
    ) -> (Publisher, JoinHandle<()>) {
        let (sender, waiting) = mpsc::channel(BATCH);
        let task = Task { shared, link, kind, closing, waiting, refusing: HashMap::new() };
        (Publisher(sender), tokio::spawn(run(task)))
    }

    pub async fn publish(&self, publication: Publication) -> Result<()> {
        result(self.hand_over(publication).await).await
    }

    pub async fn publish_all(&self, publications: impl Iterator<Item = Publication>) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for publication in publications {
            results.push(self.hand_over(publication).await);
        }
        join_all(results.into_iter().map(result)).await
    }

    async fn hand_over(&self, publication: Publication) -> oneshot::Receiver<Result<()>> {
        let (answer, result) = oneshot::channel();
        // If nobody takes it, the answer is dropped with it, and the receiver knows.
        let _ = self.0.send((publication, answer)).await;
        result
    }
}

async fn result(answer: oneshot::Receiver<Result<()>>) -> Result<()> {
    answer.await.unwrap_or_else(|_| Err(closed()))
}

fn closed() -> BusError {
    BusError::Refused("the bus is closed".into())
}

struct Task {
    shared: Arc<Shared>,
    link: Link,
    kind: Kind,
    closing: watch::Receiver<bool>,
    waiting: mpsc::Receiver<Waiting>,
    /// Routing keys for which the broker refuses what is published, and since when.
    refusing: HashMap<String, Instant>,
}

async fn run(mut task: Task) {
    let part = Part::Channel(task.kind.name());
    let mut backoff = Backoff::new(task.shared.settings.longest_wait);
    while let Some(connection) = task.connection().await {
        let lost = match task.open(&connection).await {
            Ok(channel) => {
                task.shared.board.note(part, None);
                backoff.reset();
                task.refusing.values_mut().for_each(|since| *since = Instant::now());
                match task.serve(&channel).await {
                    Some(why) => why,
                    None => break,
                }
            }
            Err(why) => why,
        };
        // Without its connection a channel is lost too, and that is noted already.
        let lost = connection.status().connected().then_some(lost);
        task.shared.board.note(part, lost);
        if !task.refuse_until(tokio::time::sleep(backoff.wait())).await {
            break;
        }
    }
    task.waiting.close();
    while let Ok((_, answer)) = task.waiting.try_recv() {
        task.refuse(answer, closed());
    }
}

impl Task {
    /// Waits for a connection, and refuses what is asked meanwhile. `None` when the bus closes.
    async fn connection(&mut self) -> Option<Arc<Connection>> {
        let mut link = self.link.clone();
        let connected = async move { link.connected().await };
        let mut connected = std::pin::pin!(connected);
        let mut closing = self.closing.clone();
        loop {
            tokio::select! {
                _ = said(&mut closing) => return None,
                connection = &mut connected => return connection,
                next = self.waiting.recv() => self.refuse(next?.1, self.away()),
            }
        }
    }

    /// Refuses what is asked until something else is over. False when the bus closes.
    async fn refuse_until(&mut self, over: impl Future) -> bool {
        let mut over = std::pin::pin!(over);
        let mut closing = self.closing.clone();
        loop {
            tokio::select! {
                _ = said(&mut closing) => return false,
                _ = &mut over => return true,
                next = self.waiting.recv() => match next {
                    Some((_, answer)) => self.refuse(answer, self.away()),
                    None => return false,
                },
            }
        }
    }

    fn refuse(&self, answer: oneshot::Sender<Result<()>>, error: BusError) {
        self.shared.counters.published.up();
        self.settle(answer, Err(error));
    }

    fn settle(&self, answer: oneshot::Sender<Result<()>>, result: Result<()>) {
        let counters = &self.shared.counters;
        match &result {
            Ok(()) => counters.confirmed.up(),
            Err(error) if error.in_doubt() => counters.in_doubt.up(),
            Err(_) => counters.refused.up(),
        }
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }

    fn away(&self) -> BusError {
        let board = &self.shared.board;
        let parts = [Part::Connection(self.link.name), Part::Channel(self.kind.name())];
        let why = parts.into_iter().find_map(|part| board.why(part));
        BusError::Refused(why.unwrap_or_else(|| "the broker is not connected".into()))
    }

    async fn open(&mut self, connection: &Connection) -> Result<Channel, String> {
        let opening = async {
            let channel = connection.create_channel().await.map_err(|error| why::channel(&error))?;
            self.declare(&channel).await?;
            let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
            confirms.map_err(|error| why::channel(&error))?;
            Ok(channel)
        };
        let limit = self.shared.settings.confirm_within;
        timeout(limit, opening).await.unwrap_or_else(|_| Err("the broker does not answer".into()))
    }

    async fn declare(&self, channel: &Channel) -> Result<(), String> {
        match self.kind {
            Kind::Events => self.shared.names.declare_events(channel).await,
            Kind::Doorbells => {
                for role in Role::ALL {
                    self.shared.names.declare_queue(channel, role).await?;
                }
                Ok(())
            }
        }
    }

    /// Publishes until the channel is lost, and says why; `None` when the bus closes.
    async fn serve(&mut self, channel: &Channel) -> Option<String> {
        let mut closing = self.closing.clone();
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            let first = tokio::select! {
                _ = said(&mut closing) => return None,
                next = self.waiting.recv() => next?,
                _ = look.tick() => {
                    if channel.status().connected() { continue }
                    return Some("the broker closed the channel".into());
                }
            };
            let mut batch = vec![first];
            while let (true, Ok(next)) = (batch.len() < BATCH, self.waiting.try_recv()) {
                batch.push(next);
            }
            if let Some(blocked) = self.shared.board.why(Part::Blocked(self.link.name)) {
                for (_, answer) in batch {
                    self.refuse(answer, BusError::Refused(blocked.clone()));
                }
                continue;
            }
            match self.publish(channel, batch).await {
                Outcome::Settled => {}
                // A queue was deleted under us.
                Outcome::Returned => {
                    if let Err(why) = self.declare(channel).await {
                        return Some(why);
                    }
                }
                Outcome::Lost(why) => return Some(why),
            }
            if self.refusing.values().any(|since| since.elapsed() > REFUSED_FOR) {
                let _ = timeout(REFUSED_FOR, channel.close(200, "refused".into())).await;
                return Some("the channel is opened anew, as the broker refuses what is published on it".into());
            }
        }
    }

    /// Remembers whether the broker takes what is published under a key.
    fn taken(&mut self, key: String, taken: bool) {
        let Kind::Doorbells = self.kind else { return };
        if taken != self.refusing.contains_key(&key) {
            return;
        }
        if taken {
            self.refusing.remove(&key);
        } else {
            self.refusing.insert(key, Instant::now());
        }
        let keys: Vec<_> = self.refusing.keys().map(String::as_str).collect();
        let why = format!("the broker does not take doorbells for {}: full, or not available", keys.join(", "));
        self.shared.board.note(Part::Refused(self.kind.name()), (!keys.is_empty()).then_some(why));
    }

    /// Publishes a batch and answers everybody in it.
    async fn publish(&mut self, channel: &Channel, batch: Vec<Waiting>) -> Outcome {
        let deadline = Instant::now() + self.shared.settings.confirm_within;
        let mut confirms = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        let mut lost = None;
        for (number, (publication, answer)) in batch.into_iter().enumerate() {
            self.shared.counters.published.up();
            if let Some(why) = &lost {
                self.settle(answer, Err(BusError::Refused(String::clone(why))));
            } else if publication.key.len() > LONGEST_KEY {
                let why = format!("the routing key is longer than {LONGEST_KEY} bytes");
                self.settle(answer, Err(BusError::Refused(why)));
            } else {
                let key = publication.key.clone();
                match timeout_at(deadline, self.send(channel, number, publication)).await {
                    Ok(Ok(confirm)) => {
                        confirms.push(timeout_at(deadline, confirm));
                        answers.push((number.to_string(), key, answer));
                    }
                    failed => {
                        let why = failed.map_or_else(|_| no_answer(), |sent| why_lost(sent.err()));
                        self.settle(answer, Err(BusError::InDoubt(why.clone())));
                        lost = Some(why);
                    }
                }
            }
        }
        let (verdicts, returned) = judge(join_all(confirms).await);
        let mut any_returned = false;
        for ((id, key, answer), verdict) in answers.into_iter().zip(verdicts) {
            if matches!(verdict, Verdict::Taken | Verdict::Refused) {
                self.taken(key, matches!(verdict, Verdict::Taken));
            }
            let result = match verdict {
                Verdict::Taken if returned.contains(id.as_str()) => {
                    any_returned = true;
                    Err(BusError::Refused("there is no queue for it".into()))
                }
                Verdict::Taken => Ok(()),
                Verdict::Refused => {
                    Err(BusError::Refused("the broker does not take it: its queue is full, or not available".into()))
                }
                Verdict::Unknown(why) => {
                    lost = Some(why.clone());
                    Err(BusError::InDoubt(why))
                }
            };
            self.settle(answer, result);
        }
        match lost {
            Some(why) => Outcome::Lost(why),
            None if any_returned => Outcome::Returned,
            None => Outcome::Settled,
        }
    }

    async fn send(&self, channel: &Channel, number: usize, what: Publication) -> lapin::Result<PublisherConfirm> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(what.content_type.as_str().into())
            .with_app_id("muster".into())
            .with_message_id(number.to_string().into());
        let options = BasicPublishOptions { mandatory: self.kind == Kind::Doorbells, immediate: false };
        let (exchange, key) = (ShortString::from(what.exchange.as_str()), ShortString::from(what.key.as_str()));
        channel.basic_publish(exchange, key, options, &what.body, properties).await
    }
}

/// What came of a batch.
enum Outcome {
    Settled,
    /// Something found no queue.
    Returned,
    /// The channel cannot be used any more.
    Lost(String),
}

enum Verdict {
    Taken,
    Refused,
    Unknown(String),
}

type Confirmed = Result<lapin::Result<Confirmation>, tokio::time::error::Elapsed>;

/// The verdict on each publish, and the identities of the messages that were returned. The client gives a returned message to
/// whichever publish is confirmed next, which need not be its own.
fn judge(confirmed: Vec<Confirmed>) -> (Vec<Verdict>, HashSet<String>) {
    let mut returned = HashSet::new();
    let verdicts = confirmed.into_iter().map(|confirmed| {
        let (verdict, message) = match confirmed {
            Ok(Ok(Confirmation::Ack(message))) => (Verdict::Taken, message),
            Ok(Ok(Confirmation::Nack(message))) => (Verdict::Refused, message),
            Ok(Ok(Confirmation::NotRequested)) => (Verdict::Unknown(no_answer()), None),
            Ok(Err(error)) => (Verdict::Unknown(why::channel(&error)), None),
            Err(_) => (Verdict::Unknown(no_answer()), None),
        };
        let id = message.as_ref().and_then(|message| message.delivery.properties.message_id().as_ref());
        returned.extend(id.map(ToString::to_string));
        verdict
    });
    (verdicts.collect(), returned)
}

fn no_answer() -> String {
    "the broker did not confirm it in time".into()
}

fn why_lost(error: Option<lapin::Error>) -> String {
    error.map_or_else(no_answer, |error| why::channel(&error))
}
