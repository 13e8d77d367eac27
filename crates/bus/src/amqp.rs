//! The bus through RabbitMQ: two connections under supervision, a publisher for each exchange, a task for each receiver.
//!
//! Publishing and consuming have a connection each, because a broker that is short of memory or disk stops reading from
//! connections that publish, and acknowledgements must not stand in that queue.

mod address;
mod batch;
mod consumer;
mod link;
mod names;
mod publisher;
mod why;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bells::{Bells, Shelf, Source, Taker};
use crate::counters::Counters;
use crate::doorbell::{Doorbell, Message, Role};
use crate::error::Result;
use crate::health::Board;
use crate::settings::Settings;

use batch::Publication;
use link::Link;
use names::Names;
use publisher::Publisher;

/// What all tasks of one bus share.
pub(crate) struct Shared {
    settings: Settings,
    uri: lapin::uri::AMQPUri,
    names: Names,
    counters: Counters,
    board: Board,
}

pub(crate) struct Amqp {
    shared: Arc<Shared>,
    doorbells: Publisher,
    events: Publisher,
    consuming: OnceLock<Link>,
    /// First consumers and publishers end, on `closing`; then the connections, on `ended`.
    closing: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    links: Mutex<Vec<JoinHandle<()>>>,
}

impl Amqp {
    pub fn start(settings: Settings) -> Result<Amqp> {
        let uri = address::read(&settings)?;
        let names = Names::new(&settings.prefix)?;
        let shared = Arc::new(Shared { settings, uri, names, counters: Counters::default(), board: Board::new() });
        let (closing, ended) = (watch::Sender::new(false), watch::Sender::new(false));
        let (link, connection) = Link::start(shared.clone(), "publishing", ended.subscribe());
        let (doorbells, ringing) =
            Publisher::start(shared.clone(), link.clone(), publisher::Kind::Doorbells, closing.subscribe());
        let (events, telling) = Publisher::start(shared.clone(), link, publisher::Kind::Events, closing.subscribe());
        Ok(Amqp {
            shared,
            doorbells,
            events,
            consuming: OnceLock::new(),
            closing,
            ended,
            tasks: Mutex::new(vec![ringing, telling]),
            links: Mutex::new(vec![connection]),
        })
    }

    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub async fn ring(&self, role: Role, bell: Doorbell) -> Result<()> {
        let publication = Publication::doorbell(&self.shared.names, role, bell);
        self.doorbells.publish(publication).await
    }

    pub async fn ring_all(&self, rings: &[(Role, Doorbell)]) -> Vec<Result<()>> {
        let names = &self.shared.names;
        let publications = rings.iter().map(|(role, bell)| Publication::doorbell(names, *role, *bell));
        self.doorbells.publish_all(publications).await
    }

    pub async fn tell(&self, message: Message) -> Result<()> {
        self.events.publish(Publication::message(&self.shared.names, message)).await
    }

    pub fn bells(&self, role: Role) -> Bells {
        let link = self.consuming.get_or_init(|| {
            let (link, task) = Link::start(self.shared.clone(), "consuming", self.ended.subscribe());
            self.links.lock().unwrap_or_else(PoisonError::into_inner).push(task);
            link
        });
        let shelf = Arc::<Shelf>::default();
        let task = tokio::spawn(consumer::run(
            self.shared.clone(),
            link.clone(),
            role,
            shelf.clone(),
            self.closing.subscribe(),
        ));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
        Bells { source: Source::Amqp(Taker(shelf)), closing: self.closing.subscribe() }
    }

    pub async fn close(&self) {
        self.closing.send_replace(true);
        all(&self.tasks).await;
        self.ended.send_replace(true);
        all(&self.links).await;
    }
}

/// Waits for the end of all these tasks.
async fn all(tasks: &Mutex<Vec<JoinHandle<()>>>) {
    let tasks = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
    for task in tasks {
        // A task that panicked has ended too.
        let _ = task.await;
    }
}
