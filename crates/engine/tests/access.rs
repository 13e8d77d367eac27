//! Who is let in with which key, who may make keys, and users: given a key, when it is used, then this is the answer.

use std::net::IpAddr;

use chrono::{Duration, Utc};
use muster_domain::access::{
    Action, ApiKey, Denied, INSTALLATION, KeyKind, KeyText, Preset, Resource, Rights, Role, User, UserKind, network,
};
use muster_engine::{
    access::{AccessEntry, AccessLogFilter, Caller, MadeKey, Maker, NewUser, Refusal, Terms},
    serve,
};
use muster_store::access::Answer;

use crate::rules_given::*;

const PASSWORD: &str = "correct horse battery";

fn home() -> IpAddr {
    "10.1.2.3".parse().unwrap()
}

fn person(name: &str) -> NewUser {
    let email = Some(format!("{name}@people.example"));
    NewUser { kind: UserKind::Person, name: name.into(), email, password: Some(PASSWORD.into()), operator: false }
}

fn service(name: &str) -> NewUser {
    NewUser { kind: UserKind::Service, name: name.into(), email: None, password: None, operator: false }
}

/// An organisation with the add-on, and a service user who is its administrator.
async fn given() -> (Given, User) {
    let given = Given::with(&[("api_access", "on")]).await;
    let user = with_role(&given, service("nightly"), Role::Administrator).await;
    (given, user)
}

async fn with_role(given: &Given, new: NewUser, role: Role) -> User {
    let user = given.engine.create_user(new).await.unwrap();
    given.engine.set_role(&given.acme().await, user.id, Some(role)).await.unwrap();
    user
}

async fn make(given: &Given, terms: Terms) -> MadeKey {
    given.engine.create_key(&given.acme().await, KeyKind::General, terms, &Maker::Operator).await.unwrap()
}

async fn anything(given: &Given, user: &User) -> MadeKey {
    make(given, Terms::new("everything", user.id, Rights::all())).await
}

async fn try_key(engine: &Engine, text: &str) -> Result<Caller, Refusal> {
    engine.authenticate(&KeyText::read(text).expect("a key"), home()).await
}

async fn denied(engine: &Engine, text: &str) -> Denied {
    match try_key(engine, text).await {
        Err(Refusal::Denied(why, _)) => why,
        other => panic!("{other:?}"),
    }
}

async fn caller(given: &Given, made: &MadeKey) -> Maker {
    Maker::Caller(Box::new(try_key(&given.engine, &made.text).await.unwrap().grant))
}

fn is_forbidden<T: std::fmt::Debug>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Forbidden(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_let_in_in_each_of_its_forms_and_does_what_its_user_may() {
    let (given, user) = given().await;
    let made = anything(&given, &user).await;
    let text = KeyText::read(&made.text).unwrap();
    let caller = given.engine.authenticate(&text, home()).await.unwrap();
    assert_eq!((caller.organisation.row.slug.as_str(), &caller.grant.key), ("acme", &made.key));
    assert!(caller.grant.may(Resource::Members, Action::Delete));
    let pair = KeyText::pair(&text.id, text.secret()).unwrap();
    given.engine.authenticate(&pair, home()).await.unwrap();
    // The user may less now, and with it the key.
    given.engine.set_role(&given.acme().await, user.id, Some(Role::Viewer)).await.unwrap();
    let caller = given.engine.authenticate(&text, home()).await.unwrap();
    assert!(caller.grant.may(Resource::Members, Action::Read) && !caller.grant.may(Resource::Members, Action::Delete));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_and_an_unknown_key_are_answered_alike_and_only_counted() {
    let (given, user) = given().await;
    let made = anything(&given, &user).await;
    let other = anything(&given, &user).await;
    let [text, other] = [&made, &other].map(|m| KeyText::read(&m.text).unwrap());
    let wrong = KeyText::pair(&text.id, other.secret()).unwrap();
    let unknown = KeyText::pair("0123456789abcdef", text.secret()).unwrap();
    for key in [wrong, unknown] {
        let refusal = given.engine.authenticate(&key, home()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Denied(Denied::Unknown, None)), "{refusal:?}");
    }
    assert_eq!(given.engine.access_figures().unknown_keys, 2);
    given.engine.flush_access().await.unwrap();
    let keys = given.engine.list_keys(&given.acme().await, &Maker::Operator).await.unwrap();
    assert!(keys.iter().all(|k| k.last_used.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_the_add_on_is_on_every_key_is_told_so() {
    let given = Given::organisation().await;
    let user = with_role(&given, service("nightly"), Role::Administrator).await;
    let made = anything(&given, &user).await;
    assert!(matches!(try_key(&given.engine, &made.text).await, Err(Refusal::AddOnOff)));
    given.set("api_access", "on").await;
    try_key(&given.engine, &made.text).await.unwrap();
    given.set("api_access", "off").await;
    assert!(matches!(try_key(&given.engine, &made.text).await, Err(Refusal::AddOnOff)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_let_in_is_told_why_if_its_secret_is_right() {
    let (given, user) = given().await;
    let acme = given.acme().await;
    let engine = &given.engine;
    let mut terms = Terms::new("office", user.id, Rights::all());
    terms.networks = vec![network("192.0.2.0/24").unwrap()];
    assert_eq!(denied(engine, &make(&given, terms).await.text).await, Denied::Network);
    let mut terms = Terms::new("short", user.id, Rights::all());
    terms.expires_at = Some(Utc::now() + Duration::milliseconds(300));
    let short = make(&given, terms).await;
    while try_key(engine, &short.text).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(denied(engine, &short.text).await, Denied::Expired);
    let made = anything(&given, &user).await;
    engine.set_role(&acme, user.id, None).await.unwrap();
    assert_eq!(denied(engine, &made.text).await, Denied::NoRole);
    engine.set_role(&acme, user.id, Some(Role::Administrator)).await.unwrap();
    engine.disable_user(user.id, true).await.unwrap();
    assert_eq!(denied(engine, &made.text).await, Denied::UserDisabled);
    engine.disable_user(user.id, false).await.unwrap();
    try_key(engine, &made.text).await.unwrap();
    engine.delete_key(&acme, &made.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(denied(engine, &made.text).await, Denied::Revoked);
    // A deleted key stays deleted.
    assert!(engine.edit_key(&acme, &made.key.id, |_| Ok(()), &Maker::Operator).await.is_err());
    assert!(engine.rotate_key(&acme, &made.key.id, Duration::zero(), &Maker::Operator).await.is_err());
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation_both_secrets_work_as_long_as_was_said() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let first = anything(&given, &user).await;
    let second = engine.rotate_key(&acme, &first.key.id, Duration::days(7), &Maker::Operator).await.unwrap();
    assert_eq!((first.key.id.as_str(), second.former_until.is_some()), (second.key.id.as_str(), true));
    for text in [&first.text, &second.text] {
        try_key(engine, text).await.unwrap();
    }
    let third = engine.rotate_key(&acme, &first.key.id, Duration::zero(), &Maker::Operator).await.unwrap();
    assert_eq!(denied(engine, &first.text).await, Denied::Unknown);
    assert_eq!(denied(engine, &second.text).await, Denied::RotatedOut);
    try_key(engine, &third.text).await.unwrap();
    for overlap in [Duration::days(8), Duration::seconds(-1)] {
        assert!(engine.rotate_key(&acme, &first.key.id, overlap, &Maker::Operator).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_keys_are_revoked_at_once_for_another_process_too() {
    let (given, user) = given().await;
    let acme = given.acme().await;
    let keys = [anything(&given, &user).await, anything(&given, &user).await];
    let url = format!("sqlite:{}", given.engine.data_dir().join("muster.db").display());
    let other = Engine::open(&url, given.engine.data_dir(), "other").await.unwrap();
    for made in &keys {
        try_key(&other, &made.text).await.unwrap();
    }
    assert_eq!(given.engine.revoke_all_keys(&acme, &Maker::Operator).await.unwrap().len(), 2);
    for made in &keys {
        assert_eq!(denied(&other, &made.text).await, Denied::Revoked);
        assert_eq!(denied(&given.engine, &made.text).await, Denied::Revoked);
    }
    assert_eq!(given.engine.revoke_all_keys(&acme, &Maker::Operator).await.unwrap().len(), 0);
    other.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_does_not_wait_for_a_transaction_of_an_import() {
    let (given, user) = given().await;
    let acme = given.acme().await;
    let made = anything(&given, &user).await;
    let mut import = given.engine.store.begin(acme.row.id, None).await.unwrap();
    import.take_head().await.unwrap();
    let revoking = given.engine.delete_key(&acme, &made.key.id, &Maker::Operator);
    tokio::time::timeout(std::time::Duration::from_secs(20), revoking).await.expect("it waited").unwrap();
    assert_eq!(denied(&given.engine, &made.text).await, Denied::Revoked);
    import.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_changes_and_rotates_none_that_is_stronger_than_itself() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let strong = anything(&given, &user).await;
    let rights = Rights::read(["apikey:*", "member:read"]).unwrap();
    let weak = make(&given, Terms::new("weak", user.id, rights)).await;
    let by = caller(&given, &weak).await;
    let terms = |rights| Terms::new("new", user.id, rights);
    assert!(is_forbidden(engine.create_key(&acme, KeyKind::General, terms(Rights::all()), &by).await));
    let made = engine.create_key(&acme, KeyKind::General, terms(Preset::SendLists.rights()), &by).await;
    assert!(is_forbidden(made));
    let made = engine.create_key(&acme, KeyKind::General, terms(rights), &by).await.unwrap();
    assert_eq!(made.key.made_by, format!("key:{} user:{}", weak.key.id, user.id));
    let more = |terms: &mut Terms| {
        terms.rights = Rights::all();
        Ok(())
    };
    assert!(is_forbidden(engine.edit_key(&acme, &made.key.id, more, &by).await));
    let mut faster = terms(rights);
    faster.rates.requests = Some(acme.settings.api.rate.requests + 1);
    assert!(is_forbidden(engine.create_key(&acme, KeyKind::General, faster, &by).await));
    // Neither may it get hold of a stronger one's secret, nor of its terms.
    assert!(is_forbidden(engine.rotate_key(&acme, &strong.key.id, Duration::zero(), &by).await));
    assert!(is_forbidden(engine.edit_key(&acme, &strong.key.id, |_| Ok(()), &by).await));
    // Who has no right to keys does nothing with them.
    let reader = make(&given, Terms::new("reader", user.id, Rights::read(["member:read"]).unwrap())).await;
    let by = caller(&given, &reader).await;
    assert!(is_forbidden(engine.list_keys(&acme, &by).await));
    assert!(is_forbidden(engine.delete_key(&acme, &weak.key.id, &by).await));
    assert!(is_forbidden(engine.revoke_all_keys(&acme, &by).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_administrator_sees_the_keys_mapped_to_them_alone() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let other = anything(&given, &user).await;
    let ada = with_role(&given, person("ada"), Role::Viewer).await;
    let own = anything(&given, &ada).await;
    let by = caller(&given, &own).await;
    let ids =
        |keys: Vec<muster_engine::access::ListedKey>| -> Vec<String> { keys.into_iter().map(|k| k.key.id).collect() };
    assert_eq!(ids(engine.list_keys(&acme, &by).await.unwrap()), [own.key.id.as_str()]);
    assert!(matches!(engine.listed_key(&acme, &other.key.id, &by).await, Err(Error::Unknown(_))));
    assert_eq!(engine.list_keys(&acme, &Maker::Operator).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_organisation_is_no_key_here() {
    let (given, user) = given().await;
    let made = anything(&given, &user).await;
    given.engine.create_organisation("other", Settings::default()).await.unwrap();
    let other = given.engine.organisation("other").await.unwrap();
    assert_eq!(given.engine.list_keys(&other, &Maker::Operator).await.unwrap(), []);
    let id = made.key.id.as_str();
    assert!(matches!(given.engine.delete_key(&other, id, &Maker::Operator).await, Err(Error::Unknown(_))));
    let edited = given.engine.edit_key(&other, id, |_| Ok(()), &Maker::Operator).await;
    assert!(matches!(edited, Err(Error::Unknown(_))));
    assert_eq!(given.engine.revoke_all_keys(&other, &Maker::Operator).await.unwrap().len(), 0);
    try_key(&given.engine, &made.text).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_needs_a_user_with_a_role_rights_and_limits_that_there_are() {
    let (given, user) = given().await;
    given.set("api.key_max_days", "90").await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let outsider = engine.create_user(service("outsider")).await.unwrap();
    let gone = with_role(&given, service("gone"), Role::Viewer).await;
    engine.disable_user(gone.id, true).await.unwrap();
    let good =
        || Terms { expires_at: Some(Utc::now() + Duration::days(80)), ..Terms::new("k", user.id, Rights::all()) };
    type Change = fn(&mut Terms, &[User; 2]);
    let wrong: [(&str, Change); 9] = [
        ("no role", |t, [outsider, _]| t.user = outsider.id),
        ("disabled", |t, [_, gone]| t.user = gone.id),
        ("rights", |t, _| t.rights = Rights::NONE),
        ("name", |t, _| t.name = " ".into()),
        ("at most", |t, _| t.expires_at = None),
        ("at most", |t, _| t.expires_at = Some(Utc::now() + Duration::days(91))),
        ("over already", |t, _| t.expires_at = Some(Utc::now() - Duration::seconds(1))),
        ("no such feed", |t, _| t.feed = Some(FeedNo(9))),
        ("rate", |t, _| t.rates.requests = Some(0)),
    ];
    let users = [outsider, gone];
    for (why, change) in wrong {
        let mut terms = good();
        change(&mut terms, &users);
        let error = engine.create_key(&acme, KeyKind::General, terms, &Maker::Operator).await.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    let bulk = engine.create_key(&acme, KeyKind::Bulk, good(), &Maker::Operator).await;
    assert!(bulk.unwrap_err().to_string().contains("bulk"));
    let bulk = Terms { rights: Rights::NONE, ..good() };
    let bulk = engine.create_key(&acme, KeyKind::Bulk, bulk, &Maker::Operator).await.unwrap();
    assert!(bulk.text.starts_with("ml_live_"));
    assert_eq!(bulk.key.rights.scopes(), ["upload:create", "upload:read"]);
    let soon = Terms { expires_at: Some(Utc::now() + Duration::days(13)), ..good() };
    let soon = make(&given, soon).await;
    let listed = engine.listed_key(&acme, &soon.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(listed.ends_in_days, Some(12));
    let listed = engine.listed_key(&acme, &bulk.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(listed.ends_in_days, None);
    assert_eq!(engine.keys_ending(acme.row.id, engine.now()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_is_shown_and_costs_no_write_a_request() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    for _ in 0..50 {
        try_key(engine, &made.text).await.unwrap();
    }
    let stored = async || engine.store.access().await.unwrap().keys(acme.row.id).await.unwrap().remove(0).1;
    assert_eq!(stored().await, None);
    let listed = engine.listed_key(&acme, &made.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(listed.last_used.as_ref().map(|used| used.from.as_str()), Some("10.1.2.3"));
    engine.flush_access().await.unwrap();
    assert_eq!(stored().await.map(|used| used.at), listed.last_used.map(|used| used.at));
}

fn entry(key: &ApiKey, at: chrono::DateTime<Utc>, eligible: Option<bool>) -> AccessEntry {
    AccessEntry {
        at,
        key: key.id.clone(),
        user: key.user,
        from: Some(home()),
        method: "POST".into(),
        route: "/api/v1/eligibility".into(),
        status: 200,
        member: None,
        eligible,
        reason: eligible.filter(|yes| !yes).map(|_| "left".into()),
        roster_version: Some(3),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_kept_for_90_days() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    let entries = [now - Duration::days(91), now - Duration::days(89), now].map(|at| entry(&made.key, at, Some(false)));
    for entry in &entries {
        engine.note_access(acme.row.id, entry.clone());
    }
    engine.flush_access().await.unwrap();
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    let [old, kept, new] = entries;
    let found = engine.access_log(&acme, &all).await.unwrap();
    assert_eq!(found, [new.clone(), kept.clone(), old]);
    let tried = engine.run_retention("acme", true, now).await.unwrap();
    let done = engine.run_retention("acme", false, now).await.unwrap();
    assert_eq!((tried.reads_forgotten, done.reads_forgotten), (1, 1));
    assert_eq!(engine.access_log(&acme, &all).await.unwrap(), [new.clone(), kept]);
    let since = AccessLogFilter { since: Some(now), ..all.clone() };
    assert_eq!(engine.access_log(&acme, &since).await.unwrap(), [new]);
    let other = AccessLogFilter { key: Some("another".into()), ..all };
    assert_eq!(engine.access_log(&acme, &other).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_with_users_and_keys_is_in_a_chained_log_without_secrets_or_addresses_in_metadata() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let ada = with_role(&given, person("ada"), Role::Administrator).await;
    let made = anything(&given, &ada).await;
    let rename = |terms: &mut Terms| {
        terms.name = "Ada's other key".into();
        Ok(())
    };
    engine.edit_key(&acme, &made.key.id, rename, &Maker::Operator).await.unwrap();
    let rotated = engine.rotate_key(&acme, &made.key.id, Duration::hours(1), &Maker::Operator).await.unwrap();
    let by = caller(&given, &rotated).await;
    let deleted = anything(&given, &user).await;
    engine.delete_key(&acme, &deleted.key.id, &by).await.unwrap();
    engine.revoke_all_keys(&acme, &Maker::Operator).await.unwrap();
    engine.set_password(ada.id, "another good password".into()).await.unwrap();
    engine.disable_user(ada.id, true).await.unwrap();
    engine.set_role(&acme, ada.id, None).await.unwrap();
    given.verified().await;

    let access = engine.store.access().await.unwrap();
    let mut kinds = Vec::new();
    for org in [acme.row.id, INSTALLATION] {
        for event in access.events(org, 0, 1000).await.unwrap() {
            let meta = String::from_utf8(event.meta_bytes.clone()).unwrap();
            assert!(
                !meta.contains("people.example") && !meta.contains("Ada") && !meta.contains("everything"),
                "{meta}"
            );
            let lines = event.body.map_or(String::new(), |body| String::from_utf8(body.lines).unwrap());
            for secret in [&made.text, &rotated.text, &deleted.text] {
                let text = KeyText::read(secret).unwrap();
                assert!(!(meta.clone() + &lines).contains(text.secret()));
            }
            assert!(!lines.contains("password\":") && !lines.contains("argon2"), "{lines}");
            if event.meta.kind == "key.deleted" {
                assert_eq!(event.meta.actor, format!("key:{} user:{}", made.key.id, ada.id));
            }
            if event.meta.kind == "key.changed" {
                assert!(lines.contains(r#""before":{"#) && lines.contains("Ada's other key"), "{lines}");
            }
            kinds.push(event.meta.kind);
        }
    }
    let expected = [
        "user.role_set", "user.role_set", "key.created", "key.changed", "key.rotated", "key.created", "key.deleted",
        "keys.revoked", "user.role_set", "user.created", "user.created", "user.password_set", "user.disabled",
    ];
    assert_eq!(kinds, expected);
    assert!(!format!("{made:?}").contains(KeyText::read(&made.text).unwrap().secret()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_log_of_access_that_was_altered() {
    let (given, user) = given().await;
    anything(&given, &user).await;
    given.verified().await;
    let file = muster_store::access::path(&given.engine.data_dir().join("muster.db"));
    let url = format!("sqlite:{}", file.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    const ALTER: &str = "UPDATE event SET meta = CAST(replace(CAST(meta AS TEXT), 'key.created', 'key.deleted') AS BLOB) \
        WHERE type = 'key.created'";
    assert_eq!(sqlx::query(ALTER).execute(&pool).await.unwrap().rows_affected(), 1);
    pool.close().await;
    let report = given.engine.verify(&given.acme().await).await.unwrap();
    assert!(report.differences.iter().any(|d| d.contains("keys and roles")), "{:?}", report.differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_with_address_and_password_unless_disabled() {
    let (given, nightly) = given().await;
    let engine = &given.engine;
    let ada = engine.create_user(person("ada")).await.unwrap();
    let check = async |email: &str, password: &str| engine.check_password(email, password).await.unwrap().map(|u| u.id);
    assert_eq!(check("ADA@people.example ", PASSWORD).await, Some(ada.id));
    assert_eq!(check("ada@people.example", "correct horse batteries").await, None);
    assert_eq!(check("nobody@people.example", PASSWORD).await, None);
    let stored = engine.store.access().await.unwrap().account(ada.id).await.unwrap().password.unwrap();
    assert!(stored.starts_with("$argon2id$"), "{stored}");
    engine.set_password(ada.id, "another good password".into()).await.unwrap();
    assert_eq!(check("ada@people.example", PASSWORD).await, None);
    assert_eq!(check("ada@people.example", "another good password").await, Some(ada.id));
    engine.disable_user(ada.id, true).await.unwrap();
    assert_eq!(check("ada@people.example", "another good password").await, None);
    assert!(engine.create_user(person("ada")).await.unwrap_err().to_string().contains("already"));
    assert!(engine.set_password(nightly.id, PASSWORD.into()).await.is_err());
    let weak = NewUser { password: Some("short".into()), ..person("bob") };
    assert!(engine.create_user(weak).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_found_and_their_keys_listed_before_they_die() {
    let (given, user) = given().await;
    let engine = &given.engine;
    let ada = with_role(&given, person("ada"), Role::Reviewer).await;
    let made = anything(&given, &ada).await;
    anything(&given, &user).await;
    for text in ["ada", "ADA", "ada@people.example", &ada.id.to_string()] {
        assert_eq!(engine.find_user(text).await.unwrap().id, ada.id, "{text}");
    }
    assert!(matches!(engine.find_user("nobody").await, Err(Error::Unknown(_))));
    engine.create_user(service("Ada")).await.unwrap();
    assert!(engine.find_user("ada").await.unwrap_err().to_string().contains("Several"));
    assert_eq!(engine.keys_of_user(ada.id).await.unwrap(), std::slice::from_ref(&made.key));
    engine.delete_key(&given.acme().await, &made.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(engine.keys_of_user(ada.id).await.unwrap(), []);
    let listed = engine.users().await.unwrap();
    let roles: Vec<_> = listed.iter().map(|u| u.roles.first().map(|(_, role)| *role)).collect();
    assert_eq!(roles, [Some(Role::Administrator), Some(Role::Reviewer), None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_needs_no_role() {
    let (given, _) = given().await;
    let operator = NewUser { operator: true, ..service("operator") };
    let operator = given.engine.create_user(operator).await.unwrap();
    let made = anything(&given, &operator).await;
    assert_eq!(try_key(&given.engine, &made.text).await.unwrap().grant.role, Role::Administrator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_again_gets_its_answer_for_24_hours() {
    let (given, user) = given().await;
    let (engine, org) = (&given.engine, given.acme().await.row.id);
    let key = anything(&given, &user).await.key.id;
    let claim = async |content: u8| engine.claim_answer(org, &key, "retry-1", &[content; 32]).await.unwrap();
    let Answer::New(claimed) = claim(1).await else { panic!("not new") };
    assert_eq!(claim(1).await, Answer::InFlight);
    assert!(engine.prolong_answer(&claimed).await.unwrap());
    assert!(engine.keep_answer(&claimed, 202, b"{}").await.unwrap());
    assert_eq!(claim(1).await, Answer::Given { status: 202, body: b"{}".to_vec() });
    assert_eq!(claim(2).await, Answer::OtherContent);
    let later = engine.now() + Duration::hours(24) - Duration::minutes(1);
    assert_eq!(engine.tidy_access(org, later).await.unwrap().answers, 0);
    assert_eq!(engine.tidy_access(org, later + Duration::minutes(2)).await.unwrap().answers, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_serves_writes_what_was_noted_and_deletes_what_is_old() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    engine.note_access(acme.row.id, entry(&made.key, now - Duration::days(91), None));
    engine.flush_access().await.unwrap();
    let roles = [serve::Role::Api, serve::Role::Scheduler].into();
    let pace = serve::Pace { notes: std::time::Duration::from_millis(20), ..serve::Pace::default() };
    let (tell, stop) = tokio::sync::watch::channel(false);
    let serving = serve::Serving {
        engine: engine.clone(),
        bus: muster_bus::Bus::in_process(),
        alone: true,
        pace,
        figures: std::sync::Arc::default(),
    };
    let serving = tokio::spawn(async move { serving.run(&roles, stop).await });
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    let read = async || engine.access_log(&acme, &all).await.unwrap();
    // What this process notes is written, and what is too old goes: wait until both are so.
    engine.note_access(acme.row.id, entry(&made.key, now, None));
    let both = async {
        while read().await != [entry(&made.key, now, None)] {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("it was not written, or not deleted");
    tell.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(read().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_kept_for_the_next_time() {
    let (given, user) = given().await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    let file = muster_store::access::path(&engine.data_dir().join("muster.db"));
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query("ALTER TABLE access_log RENAME TO elsewhere").execute(&pool).await.unwrap();
    engine.note_access(acme.row.id, entry(&made.key, now, None));
    assert!(engine.flush_access().await.is_err());
    engine.note_access(acme.row.id, entry(&made.key, now + Duration::seconds(1), None));
    sqlx::query("ALTER TABLE elsewhere RENAME TO access_log").execute(&pool).await.unwrap();
    pool.close().await;
    engine.flush_access().await.unwrap();
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    assert_eq!(engine.access_log(&acme, &all).await.unwrap().len(), 2);
    assert_eq!(engine.access_figures().lost_entries, 0);
}
