//! Who is let in with which key, who may make keys, and users: given a key, when it is used, then this is the answer.

use std::net::IpAddr;

use chrono::{Duration, Utc};
use muster_domain::access::{
    Action, ApiKey, Denied, INSTALLATION, KeyKind, KeyText, Preset, Resource, Rights, Role, User, UserKind, network,
};
use muster_engine::access::{Caller, MadeKey, Maker, NewUser, Refusal, Terms};
use muster_store::access::Answer;
use muster_testkit::database::Engine as On;

use crate::rules_given::*;

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

mod keys;
mod reads;
mod users;

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
async fn given(on: On) -> (Given, User) {
    let given = Given::on(on, &[("api_access", "on")]).await;
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

on_both_engines! {
    a_key_is_let_in_in_each_of_its_forms_and_does_what_its_user_may,
    a_wrong_secret_and_an_unknown_key_are_answered_alike_and_only_counted,
    until_the_add_on_is_on_every_key_is_told_so,
    a_key_that_is_not_let_in_is_told_why_if_its_secret_is_right,
    what_is_done_with_users_and_keys_is_in_a_chained_log_without_secrets_or_addresses_in_metadata,
    a_request_that_comes_again_gets_its_answer_for_24_hours,
}

async fn a_key_is_let_in_in_each_of_its_forms_and_does_what_its_user_may(on: On) {
    let (given, user) = given(on).await;
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

async fn a_wrong_secret_and_an_unknown_key_are_answered_alike_and_only_counted(on: On) {
    let (given, user) = given(on).await;
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

async fn until_the_add_on_is_on_every_key_is_told_so(on: On) {
    let given = Given::on(on, &[]).await;
    let user = with_role(&given, service("nightly"), Role::Administrator).await;
    let made = anything(&given, &user).await;
    assert!(matches!(try_key(&given.engine, &made.text).await, Err(Refusal::AddOnOff)));
    given.set("api_access", "on").await;
    try_key(&given.engine, &made.text).await.unwrap();
    given.set("api_access", "off").await;
    assert!(matches!(try_key(&given.engine, &made.text).await, Err(Refusal::AddOnOff)));
}

async fn a_key_that_is_not_let_in_is_told_why_if_its_secret_is_right(on: On) {
    let (given, user) = given(on).await;
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

async fn what_is_done_with_users_and_keys_is_in_a_chained_log_without_secrets_or_addresses_in_metadata(on: On) {
    let (given, user) = given(on).await;
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
    let (given, user) = given(On::Sqlite).await;
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

async fn a_request_that_comes_again_gets_its_answer_for_24_hours(on: On) {
    let (given, user) = given(on).await;
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
