//! Given this log, when this payload, then these events: a rule told as a story, on a database that is thrown away.
//!
//! ```
//! use muster_testkit::given::{full, given, organisation};
//!
//! let log = organisation(&[("guard.first_import", "off")])
//!     .and(full("Employee ID,First Name,Department\n1,Ann,Sales\n2,Bob,Tools\n"));
//! given(log).when(full("Employee ID,First Name,Department\n1,Ann,Law\n2,Bob,Tools\n3,Cy,Tools\n")).then(&[
//!     "upload.received main full",
//!     "change_set.chunk",
//!     "  update 1: department Sales -> Law",
//!     "  add 3: department Tools, employee_id 3, first_name Cy",
//!     "change_set.computed applied",
//!     "change_set.applied 2 of 2",
//! ]);
//! ```
//!
//! A log is made on the spot ([`organisation`], [`Log::and`]) or was exported ([`exported`], [`recorded`]). Events are told
//! a line each: the type, what it came to, and under a chunk its changes, two spaces in. Nothing random is told.

use std::path::Path;

use muster_domain::{
    change::{Change, Named},
    event::StoredEvent,
    fact::Fact,
    guard::Asked,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{Engine, import::ImportRequest, pipeline::Request};
use tempfile::TempDir;

/// A payload and what is said with it.
#[derive(Clone, Debug)]
pub struct Payload {
    request: Request,
    bytes: Vec<u8>,
}

/// A full payload of `main`, pushed by a program, in any format that Muster reads.
pub fn full(bytes: impl AsRef<[u8]>) -> Payload {
    payload(Mode::Full, bytes.as_ref())
}

/// A partial payload.
pub fn partial(bytes: impl AsRef<[u8]>) -> Payload {
    payload(Mode::Partial, bytes.as_ref())
}

/// A list of leavers.
pub fn leavers(bytes: impl AsRef<[u8]>) -> Payload {
    payload(Mode::Leavers, bytes.as_ref())
}

fn payload(mode: Mode, bytes: &[u8]) -> Payload {
    let request = Request { mode: Some(mode), channel: Some(Channel::Api), ..Request::default() };
    Payload { request, bytes: bytes.to_vec() }
}

impl Payload {
    /// Of another feed.
    pub fn of(mut self, feed: &str) -> Payload {
        self.request.feed = Some(feed.to_owned());
        self
    }

    /// To be applied, whatever the policy.
    pub fn applied(mut self) -> Payload {
        self.request.asked = Some(Asked::Apply);
        self
    }

    /// To be held, whatever the policy.
    pub fn held(mut self) -> Payload {
        self.request.asked = Some(Asked::Hold);
        self
    }
}

/// A log from which a story begins.
#[derive(Clone, Debug)]
pub struct Log {
    exported: Option<Vec<u8>>,
    settings: Vec<(String, String)>,
    payloads: Vec<Payload>,
}

/// An organisation `acme` with these settings and nobody on its roster.
pub fn organisation(settings: &[(&str, &str)]) -> Log {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Log { exported: None, settings, payloads: Vec::new() }
}

/// A log as `muster events export` wrote it.
pub fn exported(log: impl Into<Vec<u8>>) -> Log {
    Log { exported: Some(log.into()), settings: Vec::new(), payloads: Vec::new() }
}

/// One of the logs in `fixtures/logs`, by name.
///
/// # Panics
/// If there is none of that name.
#[track_caller]
pub fn recorded(name: &str) -> Log {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/logs").join(format!("{name}.ndjson"));
    exported(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

impl Log {
    /// And behind it this payload.
    pub fn and(mut self, payload: Payload) -> Log {
        self.payloads.push(payload);
        self
    }
}

/// A story that begins with a log.
pub fn given(log: Log) -> Given {
    Given { log }
}

/// See [`given`].
pub struct Given {
    log: Log,
}

impl Given {
    /// What happens next.
    pub fn when(self, payload: Payload) -> When {
        When { log: self.log, payload }
    }
}

/// See [`Given::when`].
pub struct When {
    log: Log,
    payload: Payload,
}

/// What a story came to.
pub struct Then {
    /// The events that the payload brought, as they are told.
    pub told: Vec<String>,
    /// The whole log from then on, as it is exported: another story may begin with it.
    pub log: Log,
}

impl When {
    /// Plays the story, and expects these events of the payload.
    ///
    /// # Panics
    /// If others came, or the log or the payload cannot be taken at all.
    #[track_caller]
    pub fn then(self, events: &[&str]) -> Then {
        let then = self.play();
        let (told, expected) = (then.told.join("\n"), events.join("\n"));
        assert!(told == expected, "these events were told:\n{told}\n\nand these expected:\n{expected}");
        then
    }

    /// Plays the story, and expects nothing.
    ///
    /// # Panics
    /// If the log or the payload cannot be taken at all.
    #[track_caller]
    pub fn play(self) -> Then {
        // On a thread of its own it does not matter whether the test has a runtime.
        let playing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(play(self))
        });
        playing.join().expect("the story can be told")
    }
}

async fn play(story: When) -> Then {
    let dir = TempDir::new().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("muster.db").display());
    let engine = Engine::open(&url, dir.path(), "test").await.expect("opened");
    let slug = match &story.log.exported {
        Some(log) => engine.import(log.as_slice(), ImportRequest::default()).await.expect("a whole log").slug,
        None => {
            let settings = story.log.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let settings = Settings::default().with(settings).expect("settings");
            engine.create_organisation("acme", settings).await.expect("created");
            "acme".to_owned()
        }
    };
    for before in story.log.payloads {
        sync(&engine, &slug, before).await;
    }
    let org = engine.organisation(&slug).await.expect("the organisation");
    let before = engine.store.head(org.row.id).await.expect("a head").last_seq;
    sync(&engine, &slug, story.payload).await;
    let events = engine.store.events(org.row.id, before, u32::MAX).await.expect("events");
    let mut log = Vec::new();
    engine.export(&org, &mut log).await.expect("exported");
    let report = engine.verify(&org).await.expect("verified");
    assert!(report.is_clean(), "the roster is not what the log says: {:?}", report.differences);
    let feeds = |no| org.feed_name(no).to_owned();
    let told = events.iter().flat_map(|event| tell(event, &feeds)).collect();
    Then { told, log: exported(log) }
}

/// A payload that is refused is told by the log, too.
async fn sync(engine: &Engine, slug: &str, payload: Payload) {
    engine.sync(slug, payload.request, &mut payload.bytes.as_slice()).await.expect("an answer");
}

fn tell(event: &StoredEvent, feed: &impl Fn(muster_domain::ids::FeedNo) -> String) -> Vec<String> {
    let fact = Fact::read(&event.meta).expect("a fact");
    let kind = &event.meta.kind;
    let said = match &fact {
        Fact::UploadReceived(r) => format!("{} {}", feed(r.feed), r.mode.word()),
        Fact::UploadDecided { state, .. } => state.word().to_owned(),
        Fact::Computed(c) => {
            let guards: Vec<&str> = c.holds.iter().map(|h| h.guard.as_str()).collect();
            let guards = if guards.is_empty() { String::new() } else { format!(" ({})", guards.join(", ")) };
            format!("{}{guards}", c.state.word())
        }
        Fact::Applied(a) => format!("{} of {}", a.selection.len(), a.selection.iter().last().map_or(0, |n| n + 1)),
        _ => String::new(),
    };
    let mut lines = vec![format!("{kind} {said}").trim_end().to_owned()];
    if let (Fact::Chunk { .. }, Some(body)) = (&fact, &event.body) {
        lines.extend(body.iter().map(|line| format!("  {}", line.map_or("(erased)".to_owned(), tell_change))));
    }
    lines
}

/// A change in one line: kind, key, and what it sets.
fn tell_change(line: &[u8]) -> String {
    let change = Change::read(line).expect("a change");
    let old = |name: &str| value(&change.from, name).map(|v| format!("{v} -> "));
    let mut sets: Vec<String> = change
        .to
        .iter()
        .map(|(name, to)| format!("{name} {}{}", old(name).unwrap_or_default(), to.as_deref().unwrap_or("(blank)")))
        .collect();
    sets.sort_unstable();
    sets.extend(change.old_key.as_deref().map(|old| format!("key {old} -> {}", change.key)));
    let sets = if sets.is_empty() { String::new() } else { format!(": {}", sets.join(", ")) };
    format!("{} {}{sets}", change.kind.word(), change.key)
}

/// The value of a field; blank is said too.
fn value<'a>(list: &'a Named, name: &str) -> Option<&'a str> {
    list.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_deref().unwrap_or("(blank)"))
}
