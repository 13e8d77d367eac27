//! One batch on one channel: everything goes out, then all confirms are awaited together.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::names::Names;
use super::why;
use crate::doorbell::{Doorbell, Message, Role};
use crate::error::{BusError, Result};

/// Keys and content types are short strings of the protocol.
const LONGEST: usize = 255;
/// The mark of a message that outlives the broker.
const PERSISTENT: u8 = 2;

/// Something to be published.
pub(super) struct Publication {
    exchange: String,
    pub key: String,
    content_type: String,
    pub body: Vec<u8>,
    /// Whether the broker must have a queue for it.
    mandatory: bool,
}

impl Publication {
    /// Through the default exchange to the queue of a role.
    pub fn doorbell(names: &Names, role: Role, bell: Doorbell) -> Publication {
        Publication {
            exchange: String::new(),
            key: names.queue(role),
            content_type: "application/json".into(),
            body: bell.encode(),
            mandatory: true,
        }
    }

    /// To the topic exchange, to whoever has bound a queue to it.
    pub fn message(names: &Names, message: Message) -> Publication {
        let Message { key, content_type, body } = message;
        Publication { exchange: names.events(), key, content_type, body, mandatory: false }
    }
}

/// Something to be published, and where to say what came of it.
pub(super) type Waiting = (Publication, oneshot::Sender<Result<()>>);

/// What came of one publication.
pub(super) struct Settled {
    pub key: String,
    pub answer: oneshot::Sender<Result<()>>,
    pub verdict: Verdict,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// The broker refuses it.
    Full,
    /// The broker returned it.
    NoQueue,
    /// It never left.
    NotSent(String),
    /// It may have arrived or not; the channel cannot be used any more.
    Unknown(String),
}

impl Verdict {
    pub fn result(&self) -> Result<()> {
        match self {
            Verdict::Taken => Ok(()),
            Verdict::Full => {
                Err(BusError::NotTaken("the broker does not take it: its queue is full, or not available".into()))
            }
            Verdict::NoQueue => Err(BusError::Refused("there is no queue for it".into())),
            Verdict::NotSent(why) => Err(BusError::Refused(why.clone())),
            Verdict::Unknown(why) => Err(BusError::InDoubt(why.clone())),
        }
    }
}

/// Publishes all of them in their order, and says what came of each; `sent_all` is called before the confirms are awaited.
pub(super) async fn publish(
    channel: &Channel,
    batch: Vec<Waiting>,
    limit: Duration,
    sent_all: impl Fn(),
) -> Vec<Settled> {
    let deadline = Instant::now() + limit;
    let mut settled = Vec::with_capacity(batch.len());
    let mut sent = Vec::new();
    let mut confirms = Vec::new();
    let mut lost = None;
    for (number, (publication, answer)) in batch.into_iter().enumerate() {
        let key = publication.key.clone();
        let verdict = match &lost {
            Some(why) => Verdict::NotSent(String::clone(why)),
            None if key.len().max(publication.content_type.len()) > LONGEST => {
                Verdict::NotSent(format!("the routing key or the content type is longer than {LONGEST} bytes"))
            }
            None => match timeout_at(deadline, send(channel, number, publication)).await {
                Ok(Ok(confirm)) => {
                    sent.push((number.to_string(), key, answer));
                    confirms.push(timeout_at(deadline, confirm));
                    continue;
                }
                failed => {
                    let why = match failed {
                        Ok(Err(error)) => why::channel(&error),
                        _ => no_answer(),
                    };
                    lost = Some(why.clone());
                    Verdict::Unknown(why)
                }
            },
        };
        settled.push(Settled { key, answer, verdict });
    }
    sent_all();
    let (verdicts, returned) = judge(join_all(confirms).await);
    for ((id, key, answer), verdict) in sent.into_iter().zip(verdicts) {
        let no_queue = verdict == Verdict::Taken && returned.contains(&id);
        settled.push(Settled { key, answer, verdict: if no_queue { Verdict::NoQueue } else { verdict } });
    }
    settled
}

async fn send(channel: &Channel, number: usize, what: Publication) -> lapin::Result<PublisherConfirm> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(what.content_type.as_str().into())
        .with_app_id("muster".into());
    if what.mandatory {
        // By this a returned message is known again.
        properties = properties.with_message_id(number.to_string().into());
    }
    let options = BasicPublishOptions { mandatory: what.mandatory, immediate: false };
    let (exchange, key) = (ShortString::from(what.exchange.as_str()), ShortString::from(what.key.as_str()));
    channel.basic_publish(exchange, key, options, &what.body, properties).await
}

/// The verdict on each publish, and the identities of the messages that were returned. The client gives a returned message to
/// whichever publish is confirmed next, which need not be its own.
fn judge(confirmed: Vec<Result<lapin::Result<Confirmation>, Elapsed>>) -> (Vec<Verdict>, HashSet<String>) {
    let mut returned = HashSet::new();
    let verdicts = confirmed.into_iter().map(|confirmed| {
        let (verdict, message) = match confirmed {
            Ok(Ok(Confirmation::Ack(message))) => (Verdict::Taken, message),
            Ok(Ok(Confirmation::Nack(message))) => (Verdict::Full, message),
            Ok(Err(error)) => (Verdict::Unknown(why::channel(&error)), None),
            Ok(Ok(Confirmation::NotRequested)) | Err(_) => (Verdict::Unknown(no_answer()), None),
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
