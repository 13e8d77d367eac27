//! An organisation in a database of its own, an embedded one unless a test says otherwise, for tests of the roster's rules that need the whole pipeline.

use std::collections::BTreeMap;

pub use muster_domain::{
    documents::ChangeSet,
    fact::State,
    field::FieldId,
    guard::Asked,
    ids::FeedNo,
    member::Member,
    settings::{Channel, FeedSettings, Mode, Settings},
};
pub use muster_engine::{
    Engine, Error, Organisation,
    hand::Edit,
    members::{At, By, Whom},
    pipeline::{Report, Request},
    review::{Approval, Choice},
    undo::{Seen, UndoRequest},
};
use muster_testkit::database::{Engine as On, fresh};

/// The columns of every payload here, unless a test says otherwise.
pub const HEADER: &str = "employee_id,email,first_name,last_name,date_of_birth,department,location";

/// An organisation `acme` whose first import waits for nobody.
pub struct Given {
    pub engine: Engine,
    pub url: String,
    _dir: tempfile::TempDir,
}

/// Payload text under the usual header.
pub fn csv<S: AsRef<str>>(rows: impl IntoIterator<Item = S>) -> String {
    let rows: Vec<String> = rows.into_iter().map(|r| r.as_ref().to_owned()).collect();
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// Person number `n` in department Sales, in Bonn.
pub fn person(n: usize) -> String {
    let day = n % 27 + 1;
    format!("E{n},p{n}@x.example,First{n},Last{n},1990-01-{day:02},Sales,Bonn")
}

/// The same person in another department.
pub fn moved(n: usize, department: &str) -> String {
    person(n).replace("Sales", department)
}

pub fn staff(numbers: impl IntoIterator<Item = usize>) -> String {
    csv(numbers.into_iter().map(person))
}

/// A full payload of `main`, pushed by a program.
pub fn full() -> Request {
    Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() }
}

pub fn partial() -> Request {
    Request { mode: Some(Mode::Partial), ..full() }
}

pub fn leavers() -> Request {
    Request { mode: Some(Mode::Leavers), ..full() }
}

pub fn of(feed: &str, request: Request) -> Request {
    Request { feed: Some(feed.to_owned()), ..request }
}

pub fn dry(request: Request) -> Request {
    Request { dry_run: true, ..request }
}

/// The names of the guards that tripped.
pub fn guards(report: &Report) -> Vec<&str> {
    report.holds.iter().map(|h| h.guard.as_str()).collect()
}

impl Given {
    pub async fn organisation() -> Given {
        Given::with(&[]).await
    }

    pub async fn with(settings: &[(&'static str, &'static str)]) -> Given {
        Given::on(On::Sqlite, settings).await
    }

    /// The same on either engine.
    pub async fn on(on: On, settings: &[(&'static str, &'static str)]) -> Given {
        let dir = tempfile::tempdir().unwrap();
        let url = match on {
            On::Sqlite => format!("sqlite:{}", dir.path().join("muster.db").display()),
            On::Postgres => fresh(on).await.url,
        };
        let engine = Engine::open(&url, dir.path(), "test").await.unwrap();
        let pairs = [("guard.first_import", "off")].into_iter().chain(settings.iter().copied());
        engine.create_organisation("acme", Settings::default().with(pairs).unwrap()).await.unwrap();
        Given { engine, url, _dir: dir }
    }

    /// And a second feed.
    pub async fn feed(&self, settings: FeedSettings) {
        self.engine.create_feed(&self.acme().await, settings).await.unwrap();
    }

    pub async fn feed_named(&self, name: &str) {
        self.feed(FeedSettings { name: name.to_owned(), ..FeedSettings::default() }).await;
    }

    pub async fn acme(&self) -> Organisation {
        self.engine.organisation("acme").await.unwrap()
    }

    pub async fn try_sync(&self, request: Request, payload: &str) -> Result<Report, Error> {
        self.engine.sync("acme", request, &mut payload.as_bytes()).await
    }

    pub async fn sync(&self, request: Request, payload: &str) -> Report {
        self.try_sync(request, payload).await.unwrap()
    }

    /// A payload that must have been applied, so that the test can go on from there.
    pub async fn applied(&self, request: Request, payload: &str) -> Report {
        let report = self.sync(request, payload).await;
        assert_eq!(report.state, State::Applied, "{:?}", report.holds);
        report
    }

    pub async fn set(&self, key: &str, value: &str) {
        let pairs = [(key.to_owned(), value.to_owned())];
        self.engine.set_settings(&self.acme().await, &pairs).await.unwrap();
    }

    pub async fn by_hand(&self, edit: Edit) -> Report {
        self.engine.by_hand("acme", edit, None).await.unwrap()
    }

    pub async fn set_by_hand(&self, key: &str, field: &str, value: &str) -> Report {
        self.by_hand(Edit::Set { key: key.into(), fields: vec![(field.into(), value.into())] }).await
    }

    pub async fn member(&self, key: &str) -> Member {
        self.engine.member(&self.acme().await, key).await.unwrap()
    }

    pub async fn is_eligible(&self, key: &str) -> bool {
        self.engine.check(&self.acme().await, By::Any(key), None, None, |_| true).await.unwrap().answer.eligible
    }

    pub async fn department(&self, key: &str) -> String {
        self.member(key).await.values.get(FieldId::DEPARTMENT).unwrap_or_default().to_owned()
    }

    /// Everybody, listed or not, by key.
    pub async fn everybody(&self) -> BTreeMap<String, Member> {
        let mut all = BTreeMap::new();
        let acme = self.acme().await;
        self.engine.each_member(acme.row.id, |m| drop(all.insert(m.key.clone(), m))).await.unwrap();
        all
    }

    /// The keys of those on the roster.
    pub async fn listed(&self) -> Vec<String> {
        self.everybody().await.into_values().filter(Member::is_listed).map(|m| m.key).collect()
    }

    pub async fn change_set(&self, report: &Report) -> ChangeSet {
        let id = report.change_set_id.unwrap().to_string();
        self.engine.find_change_set(&self.acme().await, Some(&id)).await.unwrap()
    }

    /// The lines of a change set, without identities (they differ from store to store).
    pub async fn lines(&self, report: &Report) -> Vec<String> {
        if report.change_set_id.is_none() {
            return Vec::new();
        }
        let (acme, set) = (self.acme().await, self.change_set(report).await);
        let mut lines = Vec::new();
        self.engine
            .each_change(&acme, &set, |_, change, _| {
                let mut change = change.unwrap().clone();
                change.member = Default::default();
                lines.push(serde_json::to_string(&change).unwrap());
            })
            .await
            .unwrap();
        lines
    }

    pub async fn approve(&self, report: &Report, approval: Approval) -> Result<Report, Error> {
        self.engine.approve("acme", Some(&report.change_set_id.unwrap().to_string()), approval).await
    }

    pub async fn reject(&self, report: &Report, choice: Choice) -> Report {
        self.engine.reject("acme", Some(&report.change_set_id.unwrap().to_string()), choice, None).await.unwrap()
    }

    /// Deletes the fingerprints of every feed.
    pub async fn forget_fingerprints(&self) {
        let acme = self.acme().await;
        let mut tx = self.engine.store.begin(acme.row.id, None).await.unwrap();
        for feed in &acme.feeds {
            tx.drop_fingerprints(feed.no).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// The log replayed is the stored roster.
    pub async fn verified(&self) {
        let report = self.engine.verify(&self.acme().await).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.differences);
    }
}
