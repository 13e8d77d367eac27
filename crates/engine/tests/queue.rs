//! Payloads are taken in at once and worked on by whoever comes, one after the other in order of arrival.

use std::{
    io::{self, Read},
    sync::mpsc,
    time::Duration,
};

use chrono::{TimeZone, Utc};
use muster_domain::member::Member;
use muster_engine::{
    Error,
    queue::{Queue, Worked},
};

use crate::rules_given::*;

impl Given {
    async fn taken_in(&self, request: Request, payload: &str) -> Report {
        let report = self.engine.take_in("acme", request, &mut payload.as_bytes()).await.unwrap();
        assert_eq!(report.state, State::Received);
        report
    }

    async fn worked_off(&self) -> Queue {
        self.engine.work_off(&self.acme().await.row).await.unwrap()
    }

    async fn state(&self, report: &Report) -> State {
        let row = self.engine.store.upload(self.acme().await.row.id, report.upload_id.unwrap()).await.unwrap();
        serde_json::from_slice::<muster_domain::documents::Upload>(&row.doc).unwrap().state
    }

    fn files(&self) -> Vec<String> {
        let organisations = std::fs::read_dir(self.engine.data_dir().join("payloads")).unwrap();
        let files = organisations.flat_map(|of| std::fs::read_dir(of.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

async fn three() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_in_waits_and_is_worked_off_in_order_of_arrival() {
    let given = three().await;
    let first = given.taken_in(partial(), &csv([moved(1, "Legal")])).await;
    let second = given.taken_in(partial(), &csv([moved(1, "Press")])).await;
    assert_eq!(given.department("E1").await, "Sales", "nobody has worked on it");
    assert_eq!(given.worked_off().await, Queue::Empty(2));
    assert_eq!((given.state(&first).await, given.state(&second).await), (State::Applied, State::Applied));
    assert_eq!(given.department("E1").await, "Press");
    assert_eq!(given.worked_off().await, Queue::Empty(0));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_for_somebody_who_is_not_as_they_were_seen_when_it_is_worked_on() {
    let given = three().await;
    let as_seen = |member: Member| Request { seen: Some(Box::new(member)), ..partial() };
    let seen = given.member("E1").await;
    // It was there first, and nobody has worked on it when the other looks.
    given.taken_in(partial(), &csv([moved(1, "Legal")])).await;
    let refused = given.try_sync(as_seen(seen.clone()), &csv([moved(1, "Press")])).await.unwrap_err();
    assert!(matches!(refused, Error::Stale(_)), "{refused}");
    assert_eq!(given.department("E1").await, "Legal");
    assert_eq!(given.worked_off().await, Queue::Empty(0), "it is decided, and does not wait for anybody");
    let dry = given.try_sync(dry(as_seen(seen)), &csv([moved(1, "Press")])).await.unwrap_err();
    assert!(matches!(dry, Error::Stale(_)), "{dry}");
    let seen = given.member("E1").await;
    given.applied(as_seen(seen), &csv([moved(1, "Press")])).await;
    assert_eq!(given.department("E1").await, "Press");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_comes_after_what_was_taken_in_before_it() {
    let given = three().await;
    given.taken_in(partial(), &csv([moved(1, "Legal")])).await;
    given.applied(partial(), &csv([moved(1, "Press")])).await;
    assert_eq!(given.department("E1").await, "Press");
    assert_eq!(given.worked_off().await, Queue::Empty(0));
    given.verified().await;
}

/// A payload during which something else happens.
struct Meanwhile {
    text: io::Cursor<String>,
    began: Option<mpsc::Sender<()>>,
    go_on: mpsc::Receiver<()>,
}

impl Read for Meanwhile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(began) = self.began.take() {
            began.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.text.read(buffer)
    }
}

fn meanwhile(text: String) -> (Meanwhile, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((began, begun), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    (Meanwhile { text: io::Cursor::new(text), began: Some(began), go_on }, begun, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_in_beside_a_sync_and_was_there_first_is_worked_on_first() {
    let given = three().await;
    let (mut source, begun, go) = meanwhile(csv([moved(1, "Press")]));
    let engine = given.engine.clone();
    let syncing = tokio::spawn(async move { engine.sync("acme", partial(), &mut source).await });
    tokio::task::block_in_place(|| begun.recv().unwrap());
    // The sync has its lease and has taken its census of nothing; this one arrives before it is whole.
    let first = given.taken_in(partial(), &csv([moved(1, "Legal"), moved(2, "Legal")])).await;
    assert_eq!(given.worked_off().await, Queue::Busy);
    go.send(()).unwrap();
    let report = syncing.await.unwrap().unwrap();
    assert_eq!((report.state, given.state(&first).await), (State::Applied, State::Applied));
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Press", "Legal"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_in_with_a_mapping_of_its_own_is_read_by_it() {
    let given = three().await;
    let mapping = [("unique_id", "Badge"), ("department", "Team")].map(|(f, c)| (f.to_owned(), c.to_owned()));
    let taken = given.taken_in(Request { mapping: mapping.into(), ..partial() }, "Badge,Team\nE1,Legal\n").await;
    // Meanwhile somebody gives the feed another one.
    let feed = given.acme().await.feeds[0].settings.name.clone();
    let other = [("department".to_owned(), "Site".to_owned())].into();
    given.engine.save_mapping("acme", &feed, other).await.unwrap();
    assert_eq!(given.worked_off().await, Queue::Empty(1));
    assert_eq!((given.state(&taken).await, &*given.department("E1").await), (State::Applied, "Legal"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payload_that_is_still_coming_is_no_leftover() {
    let given = three().await;
    let (mut source, begun, go) = meanwhile(csv([moved(1, "Legal")]));
    let engine = given.engine.clone();
    let coming = tokio::spawn(async move { engine.take_in("acme", partial(), &mut source).await });
    tokio::task::block_in_place(|| begun.recv().unwrap());
    let run = given.engine.run_retention("acme", false, Utc::now()).await.unwrap();
    assert_eq!(run.leftovers, 0);
    go.send(()).unwrap();
    let taken = coming.await.unwrap().unwrap();
    assert_eq!(given.worked_off().await, Queue::Empty(1));
    assert_eq!(given.state(&taken).await, State::Applied);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_broke_off_long_ago_is_a_leftover() {
    let given = three().await;
    let organisation = given.acme().await.row.id.to_string();
    let dir = given.engine.data_dir().join("payloads").join(organisation);
    for (name, age) in [("old", 25), ("new", 1)] {
        let file = std::fs::File::create(dir.join(format!("{name}.coming"))).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_hours(age)).unwrap();
    }
    assert_eq!(given.engine.run_retention("acme", false, Utc::now()).await.unwrap().leftovers, 1);
    assert!(given.files().contains(&"new.coming".to_owned()) && !given.files().contains(&"old.coming".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_come_with_one_key_at_once_one_is_taken() {
    let given = three().await;
    let payload = csv([moved(1, "Legal")]);
    let all: Vec<_> = (0..6)
        .map(|_| {
            let (engine, payload) = (given.engine.clone(), payload.clone());
            let request = Request { idempotency_key: Some("monday".to_owned()), ..partial() };
            tokio::spawn(async move { engine.take_in("acme", request, &mut payload.as_bytes()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for one in all {
        ids.push(one.await.unwrap().unwrap().upload_id.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(given.worked_off().await, Queue::Empty(1));
    assert_eq!(given.files().len(), 2, "the first import and this one");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_work_at_once_each_upload_gets_one() {
    let given = three().await;
    for n in 4..=9 {
        given.taken_in(partial(), &staff([n])).await;
    }
    let row = given.acme().await.row;
    let other = (given.engine.clone(), row.clone());
    let (mine, theirs) =
        tokio::join!(given.engine.work_off(&row), tokio::spawn(async move { other.0.work_off(&other.1).await }));
    let worked = [mine.unwrap(), theirs.unwrap().unwrap()].map(|queue| match queue {
        Queue::Empty(n) => n,
        Queue::Busy | Queue::Stopped => 0,
    });
    assert_eq!(worked.iter().sum::<u64>(), 6, "{worked:?}");
    assert_eq!(given.acme().await.row.id, row.id);
    assert_eq!(given.everybody().await.len(), 9);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_older_moment_that_waited_behind_a_newer_one_nothing_is_taken() {
    let given = three().await;
    let day = |day| Some(Utc.with_ymd_and_hms(2026, 3, day, 0, 0, 0).unwrap());
    let newer = given.taken_in(Request { as_of: day(20), ..full() }, &csv([1, 2, 3].map(|n| moved(n, "Press")))).await;
    let older = given.taken_in(Request { as_of: day(19), ..full() }, &csv([1, 2, 3].map(|n| moved(n, "Legal")))).await;
    assert_eq!(given.worked_off().await, Queue::Empty(2));
    assert_eq!((given.state(&newer).await, given.state(&older).await), (State::Applied, State::Refused));
    assert_eq!(given.department("E2").await, "Press");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_may_have_been_accepted_when_the_database_went_away_is_kept() {
    let given = three().await;
    let (mut source, begun, go) = meanwhile(csv([moved(1, "Legal")]));
    let engine = given.engine.clone();
    let coming = tokio::spawn(async move { engine.take_in("acme", partial(), &mut source).await });
    tokio::task::block_in_place(|| begun.recv().unwrap());
    given.engine.store.close().await;
    go.send(()).unwrap();
    assert!(matches!(coming.await.unwrap(), Err(Error::Store(_))));
    assert_eq!(given.files().len(), 2, "the answer of a commit may be lost and the commit be there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_the_work_is_told_of_each_upload_and_can_end_it() {
    let given = three().await;
    let first = given.taken_in(partial(), &csv([moved(1, "Legal")])).await;
    given.taken_in(partial(), &csv([moved(1, "Press")])).await;
    let mut seen = Vec::new();
    let mut watch = |worked: Worked| {
        seen.push((Some(worked.upload), worked.state));
        false
    };
    let row = given.acme().await.row;
    assert_eq!(given.engine.work_off_watched(&row, &mut watch).await.unwrap(), Queue::Stopped);
    assert_eq!(seen, [(first.upload_id, State::Applied)]);
    assert_eq!(given.department("E1").await, "Legal");
    assert_eq!(given.worked_off().await, Queue::Empty(1));
    given.verified().await;
}
