//! What becomes of the promises when the broker fails: each test has a node of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable};
use muster_bus::{Bus, BusError, Message, Role, Settings};
use muster_testkit::rabbitmq::Broker;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::support::{LONG, bell, connected, degraded, hear_all, ring_until_confirmed, settings, silent};

/// Something that takes seconds, done to a node.
async fn with(broker: Broker, act: impl FnOnce(&mut Broker) -> std::io::Result<()> + Send + 'static) -> Broker {
    let mut broker = broker;
    spawn_blocking(move || act(&mut broker).map(|()| broker)).await.unwrap().unwrap()
}

async fn own_broker() -> Broker {
    spawn_blocking(Broker::start).await.unwrap().unwrap()
}

/// What somebody who rings all the time was told about each bell.
struct Rung {
    confirmed: BTreeSet<u64>,
    refused: u64,
    in_doubt: u64,
}

/// Rings in the background, in batches, until told to stop. No bell is rung twice.
fn ring_on(bus: &Bus, stop: &Arc<AtomicBool>) -> JoinHandle<Rung> {
    let (bus, stop) = (bus.clone(), stop.clone());
    tokio::spawn(async move {
        let mut rung = Rung { confirmed: BTreeSet::new(), refused: 0, in_doubt: 0 };
        let mut next = 1..;
        while !stop.load(Ordering::Relaxed) {
            let rings: Vec<_> = next.by_ref().take(20).map(|n| (Role::Worker, bell(n.into(), n))).collect();
            for ((_, bell), result) in rings.iter().zip(bus.ring_all(&rings).await) {
                match result {
                    Ok(()) => drop(rung.confirmed.insert(bell.up_to)),
                    Err(BusError::InDoubt(_)) => rung.in_doubt += 1,
                    Err(_) => rung.refused += 1,
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rung
    })
}

/// Lets a disaster happen while bells are rung and heard: each that was confirmed is heard, and all others said so.
async fn through(disasters: Vec<fn(&mut Broker) -> std::io::Result<()>>) {
    let mut broker = own_broker().await;
    let bus = Bus::amqp(settings(broker.url())).unwrap();
    connected(&bus).await;
    let stop = Arc::<AtomicBool>::default();
    let ringing = ring_on(&bus, &stop);
    let mut bells = bus.bells(Role::Worker);
    hear_all(&mut bells, [5].into()).await;
    for disaster in disasters {
        broker = with(broker, disaster).await;
        let before = bus.counts().confirmed;
        let began = Instant::now();
        while bus.counts().confirmed < before + 100 {
            assert!(began.elapsed() < LONG, "it does not go on: {:?}", bus.health().borrow());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let rung = ringing.await.unwrap();
    let counts = bus.counts();
    assert_eq!(counts.confirmed, rung.confirmed.len() as u64);
    assert_eq!((counts.refused, counts.in_doubt), (rung.refused, rung.in_doubt));
    assert_eq!(counts.published, counts.confirmed + counts.refused + counts.in_doubt);
    assert!(rung.refused > 0, "nobody was told that the broker was away");
    assert!(counts.reconnects >= 2, "{counts:?}");
    // Some of them were taken before; they were not acknowledged here, so only what was never given out must come.
    hear_rest(&bus, bells, rung.confirmed).await;
}

/// Hears what is left. What was given to the receiver and never taken from it comes again.
async fn hear_rest(bus: &Bus, mut bells: muster_bus::Bells, wanted: BTreeSet<u64>) {
    // The first five may have been heard already.
    hear_all(&mut bells, wanted.into_iter().filter(|n| *n > 5).collect()).await;
    connected(bus).await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_confirmed_ring_is_heard_though_the_broker_is_stopped_and_killed_in_the_middle() {
    through(vec![
        |broker| {
            broker.stop()?;
            std::thread::sleep(Duration::from_secs(1));
            broker.start_again()
        },
        |broker| {
            broker.kill()?;
            broker.start_again()
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_yet_is_waited_for_and_a_frozen_one_is_given_up() {
    let mut broker = own_broker().await;
    broker = with(broker, Broker::stop).await;
    let mut settings = settings(broker.url());
    settings.heartbeat = Duration::from_secs(1);
    settings.connect_within = Duration::from_secs(2);
    settings.confirm_within = Duration::from_secs(1);
    let began = Instant::now();
    let bus = Bus::amqp(settings).unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "it returns at once");
    let mut bells = bus.bells(Role::Worker);
    let why = bus.ring(Role::Worker, bell(1, 1)).await.unwrap_err();
    assert!(matches!(why, BusError::Refused(_)), "{why}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let why = degraded(&bus).await;
    assert!(why.contains("cannot be reached"), "{why}");
    assert!(!why.contains(broker.password()), "{why}");
    broker = with(broker, Broker::start_again).await;
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Worker, bell(1, 2)).await;
    hear_all(&mut bells, [2].into()).await;

    broker.pause().unwrap();
    let why = bus.ring(Role::Worker, bell(1, 3)).await.unwrap_err();
    assert!(why.in_doubt(), "it was sent, and nobody answered: {why}");
    says(&bus, "did not confirm").await;
    let began = Instant::now();
    while !matches!(bus.ring(Role::Worker, bell(1, 4)).await, Err(BusError::Refused(_))) {
        assert!(began.elapsed() < LONG, "the connection is not given up");
    }
    says(&bus, "not answer").await;
    // Past the heartbeat and a few attempts to connect.
    tokio::time::sleep(Duration::from_secs(5)).await;
    broker.resume().unwrap();
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Worker, bell(1, 5)).await;
    hear_all(&mut bells, [5].into()).await;
    // Attempts that were given up leave no thread behind, once the broker has answered them.
    while client_threads() > 2 {
        assert!(began.elapsed() < LONG, "{} threads of the client are left", client_threads());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bus.close().await;
}

fn client_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin")).count()
}

/// Everything that was logged, down to the client's own traces.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_in_a_log_or_an_error() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let address = spawn_blocking(muster_testkit::rabbitmq::address).await.unwrap().unwrap();
    let right = address.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    let bus = Bus::amqp(settings(&address)).unwrap();
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Worker, bell(1, 1)).await;
    bus.close().await;
    let bus = Bus::amqp(settings(&address.replace(&right, "geheim"))).unwrap();
    says(&bus, "does not let this user in").await;
    let why = bus.ring(Role::Worker, bell(1, 1)).await.unwrap_err().to_string();
    let logged = format!("{why}{bus:?}{}", String::from_utf8_lossy(&log.0.lock().unwrap()));
    assert!(logged.contains("does not let this user in") && logged.contains("TRACE"), "it was logged");
    assert!(!logged.contains("geheim") && !logged.contains(&right));
}

/// What an operator, or somebody by mistake, may do to the queues while all is running; one node for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_may_be_deleted_purged_limited_and_forbidden_under_us() {
    let broker = Arc::new(own_broker().await);
    let mut settings = Settings::new(broker.url());
    settings.again_after = Duration::from_millis(100);
    settings.longest_wait = Duration::from_secs(1);
    let bus = Bus::amqp(settings.clone()).unwrap();
    connected(&bus).await;
    let mut bells = bus.bells(Role::Worker);
    ring_until_confirmed(&bus, Role::Worker, bell(1, 1)).await;
    hear_all(&mut bells, [1].into()).await;

    a_deleted_queue_is_made_again(&broker, &bus, &mut bells).await;
    a_purged_queue_goes_on(&broker, &bus).await;
    a_message_that_is_no_bell_is_passed_over(&broker, &bus).await;
    a_deleted_exchange_is_made_again(&broker, &bus).await;
    a_full_queue_refuses(&broker, &bus).await;
    a_listeners_queue_that_was_full_is_told_again_once_there_is_room(&broker, &bus).await;
    a_broker_short_of_memory_holds_back_publishers_only(&broker, &settings).await;
    a_queue_with_other_arguments_is_said(&broker, &settings).await;
    the_documented_permissions_suffice_and_fewer_are_said(&broker, &settings).await;
    bus.close().await;
}

async fn ctl<const N: usize>(broker: &Arc<Broker>, arguments: [&'static str; N]) -> String {
    let broker = broker.clone();
    spawn_blocking(move || broker.ctl(arguments)).await.unwrap().unwrap()
}

async fn a_deleted_queue_is_made_again(broker: &Arc<Broker>, bus: &Bus, bells: &mut muster_bus::Bells) {
    ctl(broker, ["delete_queue", "muster.worker"]).await;
    ctl(broker, ["delete_queue", "muster.projector"]).await;
    ring_until_confirmed(bus, Role::Worker, bell(1, 2)).await;
    hear_all(bells, [2].into()).await;
    // Nobody consumes this one, so only the publisher can notice.
    ring_until_confirmed(bus, Role::Projector, bell(1, 2)).await;
    hear_all(&mut bus.bells(Role::Projector), [2].into()).await;
    connected(bus).await;
    let queues = ctl(broker, ["list_queues", "name", "type", "durable"]).await;
    assert!(queues.contains("muster.worker\tquorum\ttrue"), "{queues}");
}

async fn a_purged_queue_goes_on(broker: &Arc<Broker>, bus: &Bus) {
    ring_until_confirmed(bus, Role::Projector, bell(1, 3)).await;
    ctl(broker, ["purge_queue", "muster.projector"]).await;
    let mut bells = bus.bells(Role::Projector);
    // What was purged is lost, as documented, until the sweep rings again.
    assert!(silent(&mut bells, Duration::from_millis(500)).await);
    ring_until_confirmed(bus, Role::Projector, bell(1, 3)).await;
    hear_all(&mut bells, [3].into()).await;
}

async fn a_message_that_is_no_bell_is_passed_over(broker: &Arc<Broker>, bus: &Bus) {
    let channel = raw(broker.url()).await.1;
    let properties = lapin::BasicProperties::default();
    let publish = channel.basic_publish("".into(), "muster.worker".into(), Default::default(), b"{}", properties);
    publish.await.unwrap();
    let began = Instant::now();
    while bus.counts().unreadable == 0 {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bus.counts().unreadable, 1, "it does not come again");
}

/// Publishing to an exchange that is gone makes the broker close the channel.
async fn a_deleted_exchange_is_made_again(broker: &Arc<Broker>, bus: &Bus) {
    let (connection, channel) = raw(broker.url()).await;
    channel.exchange_delete("muster.events".into(), Default::default()).await.unwrap();
    let message =
        |n: u8| Message { key: "acme.upload.received".into(), content_type: "text/plain".into(), body: vec![n] };
    let why = bus.tell(message(0)).await.unwrap_err();
    assert!(why.in_doubt() && why.to_string().contains("muster.events"), "{why}");
    let began = Instant::now();
    while bus.tell(message(1)).await.is_err() {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And whoever binds a queue to it gets what is told, with key and content type.
    let queue = channel.queue_declare("listener".into(), Default::default(), Default::default()).await.unwrap();
    let bind = channel.queue_bind(
        queue.name().clone(),
        "muster.events".into(),
        "acme.#".into(),
        Default::default(),
        Default::default(),
    );
    bind.await.unwrap();
    for n in 0..50 {
        bus.tell(message(n)).await.unwrap();
    }
    for n in 0..50u8 {
        let got = channel.basic_get("listener".into(), Default::default()).await.unwrap().unwrap().delivery;
        assert_eq!((got.data, got.routing_key.as_str()), (vec![n], "acme.upload.received"), "in their order");
        assert_eq!(got.properties.content_type().as_ref().map(|t| t.as_str()), Some("text/plain"));
    }
    connection.close(200, "done".into()).await.unwrap();
}

async fn a_full_queue_refuses(broker: &Arc<Broker>, bus: &Bus) {
    let policy = r#"{"max-length":5,"overflow":"reject-publish"}"#;
    ctl(broker, ["set_policy", "--apply-to", "queues", "full", "^muster\\.projector$", policy]).await;
    let rings: Vec<_> = (0..200).map(|n| (Role::Projector, bell(n.into(), n))).collect();
    let began = Instant::now();
    loop {
        let results = bus.ring_all(&rings).await;
        let refused = results.iter().filter(|r| matches!(r, Err(BusError::NotTaken(_)))).count();
        if refused > 0 {
            assert!(results.iter().flat_map(|r| r.as_ref().err()).all(|why| why.to_string().contains("full")));
            break;
        }
        assert!(began.elapsed() < LONG, "the policy does not work");
    }
    says(bus, "muster.projector").await;
    // The other role's bells are not touched by it.
    ring_until_confirmed(bus, Role::Worker, bell(1, 9)).await;
    ctl(broker, ["clear_policy", "full"]).await;
    ctl(broker, ["purge_queue", "muster.projector"]).await;
    ring_until_confirmed(bus, Role::Projector, bell(1, 4)).await;
    connected(bus).await;
}

/// Nobody consumes from it: that there is room only the broker knows.
async fn a_listeners_queue_that_was_full_is_told_again_once_there_is_room(broker: &Arc<Broker>, bus: &Bus) {
    let (connection, channel) = raw(broker.url()).await;
    let quorum = AMQPValue::LongString("quorum".into());
    let arguments = FieldTable::from(BTreeMap::from([("x-queue-type".into(), quorum)]));
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("narrow".into(), durable, arguments).await.unwrap();
    let none = || (Default::default(), Default::default());
    let bind = channel.queue_bind("narrow".into(), "muster.events".into(), "narrow.#".into(), none().0, none().1);
    bind.await.unwrap();
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    ctl(broker, ["set_policy", "--apply-to", "queues", "narrow", "^narrow$", policy]).await;
    let message = || Message { key: "narrow.one.two".into(), content_type: "text/plain".into(), body: vec![1] };
    let told = async |wanted: bool| {
        let began = Instant::now();
        loop {
            match bus.tell(message()).await {
                Ok(()) if wanted => return,
                Err(BusError::NotTaken(_)) if !wanted => return,
                other => assert!(began.elapsed() < LONG, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    told(false).await;
    // In this order the broker does not notice that there is room.
    ctl(broker, ["clear_policy", "narrow"]).await;
    ctl(broker, ["purge_queue", "narrow"]).await;
    told(true).await;
    connected(bus).await;
    channel.queue_delete("narrow".into(), Default::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn a_broker_short_of_memory_holds_back_publishers_only(broker: &Arc<Broker>, settings: &Settings) {
    let mut settings = settings.clone();
    settings.prefix = "short".into();
    settings.confirm_within = Duration::from_secs(1);
    let bus = Bus::amqp(settings).unwrap();
    connected(&bus).await;
    for n in 1..=3 {
        ring_until_confirmed(&bus, Role::Worker, bell(n.into(), n)).await;
    }
    ctl(broker, ["set_vm_memory_high_watermark", "0.00001"]).await;
    let began = Instant::now();
    while !matches!(bus.ring(Role::Projector, bell(1, 1)).await,
        Err(BusError::Refused(why)) if why.contains("does not take messages"))
    {
        assert!(began.elapsed() < LONG, "it is not noticed");
    }
    says(&bus, "does not take messages").await;
    // What is on the queue is heard and acknowledged meanwhile.
    hear_all(&mut bus.bells(Role::Worker), [1, 2, 3].into()).await;
    while bus.counts().done < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let queues = ctl(broker, ["list_queues", "name", "messages"]).await;
    assert!(queues.contains("short.worker\t0"), "{queues}");
    ctl(broker, ["set_vm_memory_high_watermark", "0.6"]).await;
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Projector, bell(1, 2)).await;
    bus.close().await;
}

async fn a_queue_with_other_arguments_is_said(broker: &Arc<Broker>, settings: &Settings) {
    let (connection, channel) = raw(broker.url()).await;
    let declare = channel.queue_declare("other.worker".into(), Default::default(), Default::default());
    declare.await.unwrap();
    let mut settings = settings.clone();
    settings.prefix = "other".into();
    let bus = Bus::amqp(settings).unwrap();
    let mut health = bus.health();
    let said = health.wait_for(|health| format!("{health:?}").contains("other.worker exists with other arguments"));
    tokio::time::timeout(LONG, said).await.expect("it is said").unwrap();
    let why = bus.ring(Role::Worker, bell(1, 1)).await.unwrap_err();
    assert!(matches!(why, BusError::Refused(_)), "{why}");
    // Once it is deleted all is well.
    channel.queue_delete("other.worker".into(), Default::default()).await.unwrap();
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Worker, bell(1, 1)).await;
    bus.close().await;
    connection.close(200, "done".into()).await.unwrap();
}

async fn the_documented_permissions_suffice_and_fewer_are_said(broker: &Arc<Broker>, settings: &Settings) {
    let page = include_str!("../../../docs/bus.md");
    let line = page.lines().find(|line| line.contains("set_permissions")).unwrap();
    let patterns: Vec<_> = line.split('\'').skip(1).step_by(2).collect();
    let [configure, write, read] = patterns[..] else { panic!("{line}") };
    ctl(broker, ["add_user", "muster2", "geheim"]).await;
    let mut settings = settings.clone();
    settings.url = broker.url_for("muster2", "falsch");
    let bus = Bus::amqp(settings.clone()).unwrap();
    says(&bus, "does not let this user in").await;
    bus.close().await;

    ctl(broker, ["set_permissions", "-p", "/", "muster2", "^$", "^$", "^$"]).await;
    settings.url = broker.url_for("muster2", "geheim");
    let bus = Bus::amqp(settings).unwrap();
    says(&bus, "may not declare").await;
    ctl(broker, ["set_permissions", "-p", "/", "muster2", configure, write, read]).await;
    connected(&bus).await;
    ring_until_confirmed(&bus, Role::Projector, bell(7, 7)).await;
    let message = Message { key: "a".into(), content_type: "text/plain".into(), body: vec![] };
    bus.tell(message).await.unwrap();
    hear_all(&mut bus.bells(Role::Projector), [7].into()).await;
    bus.close().await;
}

async fn says(bus: &Bus, what: &str) {
    let mut health = bus.health();
    let said = health.wait_for(|health| format!("{health:?}").contains(what));
    let said = tokio::time::timeout(LONG, said).await;
    assert!(said.is_ok(), "it says {:?}", bus.health().borrow());
    assert!(!format!("{:?}", bus.health().borrow()).contains("geheim"));
}

/// A connection that is not the bus's, and a channel on it.
async fn raw(url: &str) -> (lapin::Connection, lapin::Channel) {
    let connection = lapin::Connection::connect(url, Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}
