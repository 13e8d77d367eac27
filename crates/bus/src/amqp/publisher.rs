//! Publishes in batches whatever is waiting, and opens another channel when one is lost.
//!
//! One task publishes on one channel, one batch at a time. A message that the broker returns carries no word of which
//! publish it was; within one batch the message's identity tells it, and no batch runs beside another.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::batch::{self, Publication, Settled, Verdict, Waiting};
use super::link::{Link, said};
use super::{Shared, why};
use crate::backoff::Backoff;
use crate::doorbell::Role;
use crate::error::{BusError, Result};
use crate::health::Part;

/// What is wrong with a channel that was not opened yet.
const NOT_OPEN: &str = "the channel to the broker is not open yet";
/// How many messages go out before their confirms are awaited.
const BATCH: usize = 1024;
/// And how many bytes: a message may hold a chunk of a thousand changes.
const BATCH_BYTES: usize = 8 << 20;
/// After how long of refusals a channel is opened anew: in RabbitMQ 3.10 a channel goes on refusing for a queue that was full
/// until somebody consumes, though the queue was purged or its limit lifted.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// Where that did not help it is tried after twice as long, up to this. What was not tried for so long is not refused any more:
/// somebody else may tell it now.
const REFUSED_LONGEST: Duration = Duration::from_mins(1);

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

    /// What a batch has come to when it was sent and is not confirmed yet.
    fn sent(self) -> &'static str {
        match self {
            Kind::Doorbells => "doorbells_sent",
            Kind::Events => "events_sent",
        }
    }
}

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
        let task = Task { shared, link, kind, closing, waiting, refusing: HashMap::new(), patience: REFUSED_FOR };
        // Until then nothing can be published, so the bus is not connected yet.
        task.shared.board.begin(Part::Channel(kind.name()), NOT_OPEN);
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
    /// Routing keys for which the broker refuses what is published.
    refusing: HashMap<String, Refused>,
    /// For how long that may be so before the channel is opened anew.
    patience: Duration,
}

/// When what is published under a key was refused on this channel: for the first time, and for the last.
struct Refused {
    since: Instant,
    last: Instant,
}

async fn run(mut task: Task) {
    let part = Part::Channel(task.kind.name());
    let mut backoff = Backoff::new(task.shared.settings.longest_wait);
    while let Some(connection) = task.connection().await {
        let lost = match task.open(&connection).await {
            Ok(channel) => {
                task.shared.board.note(part, None);
                backoff.reset();
                task.look_anew();
                match task.serve(&channel).await {
                    Some(why) => why,
                    None => break,
                }
            }
            Err(why) => why,
        };
        if connection.status().connected() {
            task.shared.board.note(part, Some(lost));
        } else {
            // Without its connection a channel is lost too, of which the link warns.
            task.shared.board.begin(part, NOT_OPEN);
        }
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
        let link = self.link.name;
        let parts = [Part::Connection(link), Part::Blocked(link), Part::Channel(self.kind.name())];
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
            let batch = self.gather(first);
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
            if self.refusing.values().any(|refused| refused.since.elapsed() > self.patience) {
                self.patience = (self.patience * 2).min(REFUSED_LONGEST);
                let _ = timeout(REFUSED_FOR, channel.close(200, "refused".into())).await;
                return Some("the channel is opened anew, as the broker refuses what is published on it".into());
            }
        }
    }

    /// What goes out together: whatever is waiting, up to a size.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.0.body.len();
        let mut batch = vec![first];
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && let Ok(next) = self.waiting.try_recv()
        {
            bytes += next.0.body.len();
            batch.push(next);
        }
        batch
    }

    /// A new channel has refused nothing yet.
    fn look_anew(&mut self) {
        if self.kind == Kind::Events {
            self.refusing.retain(|_, refused| refused.last.elapsed() < REFUSED_LONGEST);
        }
        self.refusing.values_mut().for_each(|refused| refused.since = Instant::now());
    }

    /// Remembers whether the broker takes what is published under a key.
    fn taken(&mut self, key: String, taken: bool) {
        let now = Instant::now();
        match self.refusing.entry(key) {
            Entry::Vacant(_) if taken => return,
            Entry::Vacant(new) => {
                new.insert(Refused { since: now, last: now });
            }
            Entry::Occupied(mut known) if !taken => {
                known.get_mut().last = now;
                return;
            }
            Entry::Occupied(known) => {
                known.remove();
                self.patience = REFUSED_FOR;
            }
        }
        // Who tells events says of which organisation.
        let Kind::Doorbells = self.kind else { return };
        let keys: Vec<_> = self.refusing.keys().map(String::as_str).collect();
        let why = format!("the broker does not take doorbells for {}: full, or not available", keys.join(", "));
        self.shared.board.note(Part::Refused(self.kind.name()), (!keys.is_empty()).then_some(why));
    }

    /// Publishes a batch and answers everybody in it.
    async fn publish(&mut self, channel: &Channel, batch: Vec<Waiting>) -> Outcome {
        let mut outcome = Outcome::Settled;
        let (settings, kind) = (&self.shared.settings, self.kind);
        let sent = || (settings.point)(kind.sent());
        let settled = batch::publish(channel, batch, settings.confirm_within, sent).await;
        for Settled { key, answer, verdict } in settled {
            self.shared.counters.published.up();
            match &verdict {
                Verdict::Taken => self.taken(key, true),
                Verdict::Full => self.taken(key, false),
                Verdict::Unknown(why) => outcome = Outcome::Lost(why.clone()),
                Verdict::NoQueue if matches!(outcome, Outcome::Settled) => outcome = Outcome::Returned,
                Verdict::NoQueue | Verdict::NotSent(_) => {}
            }
            self.settle(answer, verdict.result());
        }
        outcome
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
