use std::cell::Cell;

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    digest::Keys,
    ids::FeedNo,
    ids::OrganisationId,
    settings::{ApiRates, Mode},
};

thread_local! {
    /// How many secrets were hashed by this test.
    pub(super) static HASHED: Cell<u32> = const { Cell::new(0) };
    /// How many hashes of secrets were compared by it.
    pub(super) static COMPARED: Cell<u32> = const { Cell::new(0) };
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn user(kind: UserKind) -> User {
    User {
        id: Uuid::from_u128(7),
        kind,
        name: "Ada".into(),
        email: None,
        operator: false,
        created_at: noon(),
        disabled_at: None,
    }
}

fn key(scopes: &[&str]) -> ApiKey {
    ApiKey {
        id: "0123456789abcdef".into(),
        organisation: OrganisationId(Uuid::from_u128(1)),
        kind: KeyKind::General,
        name: "nightly".into(),
        user: Uuid::from_u128(7),
        made_by: "os:ada".into(),
        made_at: noon(),
        expires_at: None,
        rights: Rights::read(scopes.iter().copied()).unwrap(),
        fields: FieldLimits::default(),
        rows: RowLimits::default(),
        feed: None,
        networks: Vec::new(),
        rates: Rates::default(),
        last4: "abcd".into(),
        revoked_at: None,
    }
}

fn home() -> core::net::IpAddr {
    "10.1.2.3".parse().unwrap()
}

#[test]
fn an_actor_says_which_key_and_which_user_and_nobody_else_does() {
    let user = Uuid::from_u128(7);
    assert_eq!(read_actor(&actor("0123456789abcdef", user)), Some(("0123456789abcdef", user)));
    for other in ["os:me@here", "key:abc", "key:abc user:me", "user:00000000-0000-0000-0000-000000000007", ""] {
        assert_eq!(read_actor(other), None, "{other}");
    }
}

#[test]
fn a_key_reads_as_it_was_shown() {
    let text = KeyText::new(KeyKind::General, key_id(&[35; 16]), &[255; 32]);
    let shown = text.show().unwrap();
    assert!(shown.starts_with("mk_live_zzzzzzzzzzzzzzzz_"), "{shown}");
    assert_eq!(shown.len(), 8 + 16 + 1 + 43 + 6);
    assert_eq!(KeyText::read(&shown), Some(text.clone()));
    assert_eq!(KeyText::pair(&text.id, text.secret()).map(|k| hash_of(&[1; 32], &k)), Some(hash_of(&[1; 32], &text)));
    assert!(!format!("{text:?}").contains(text.secret()));
}

proptest! {
    #[test]
    fn no_other_letter_goes_unnoticed(random: [u8; 32], at in 0usize..74, letter in "[0-9A-Za-z_]") {
        let shown = KeyText::new(KeyKind::Bulk, key_id(&[9; 16]), &random).show().unwrap();
        let mut other = shown.clone();
        other.replace_range(at..=at, &letter);
        prop_assert_eq!(KeyText::read(&other).is_some(), other == shown);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,90}") {
        let _ = KeyText::read(&text);
        let _ = KeyText::read(&format!("mk_live_{text}"));
        let _ = KeyText::pair(&text, &text);
    }

    #[test]
    fn scopes_read_as_they_were_written(bits: [bool; 54]) {
        let mut rights = Rights::NONE;
        for (at, _) in bits.iter().enumerate().filter(|(_, is)| **is) {
            rights = rights.with(Resource::ALL[at / 6], Action::ALL[at % 6]);
        }
        let scopes = rights.scopes();
        prop_assert_eq!(Rights::read(scopes.iter().map(String::as_str)).unwrap(), rights);
    }
}

#[test]
fn a_scope_that_there_is_none_of_is_told() {
    for scope in ["", "member", "member:", "member:approve", "people:read", "eligibility:write", ":read"] {
        assert!(Rights::read([scope]).is_err(), "{scope}");
    }
    let write = Rights::read(["apikey:write"]).unwrap();
    assert_eq!(write.scopes(), ["apikey:create", "apikey:read", "apikey:update"]);
    assert_eq!(Rights::read(["*"]).unwrap(), Rights::all());
}

#[test]
fn a_key_never_does_more_than_its_user_may_now() {
    let key = key(&["*"]);
    let viewer = key.grant(&user(UserKind::Person), Some(Role::Viewer), home(), noon()).unwrap();
    assert!(viewer.may(Resource::Members, Action::Read) && !viewer.may(Resource::Members, Action::Update));
    let administrator = key.grant(&user(UserKind::Person), Some(Role::Administrator), home(), noon()).unwrap();
    assert!(administrator.may(Resource::Members, Action::Update));
    let nobody = key.grant(&user(UserKind::Person), None, home(), noon());
    assert_eq!(nobody, Err(Denied::NoRole));
    let disabled = User { disabled_at: Some(noon()), ..user(UserKind::Person) };
    assert_eq!(key.grant(&disabled, Some(Role::Administrator), home(), noon()), Err(Denied::UserDisabled));
}

#[test]
fn a_key_is_let_in_within_its_time_and_from_its_networks() {
    let ada = user(UserKind::Person);
    let try_at =
        |key: &ApiKey, at, from: &str| key.grant(&ada, Some(Role::Viewer), from.parse().unwrap(), at).map(drop);
    let mut key = key(&["member:read"]);
    key.expires_at = Some(noon());
    assert_eq!(try_at(&key, noon() - Duration::microseconds(1), "10.1.2.3"), Ok(()));
    assert_eq!(try_at(&key, noon(), "10.1.2.3"), Err(Denied::Expired));
    key.expires_at = None;
    key.networks = vec![network("10.0.0.0/8").unwrap(), network("2001:db8::1").unwrap()];
    for (from, outcome) in [
        ("10.1.2.3", Ok(())),
        ("::ffff:10.1.2.3", Ok(())),
        ("2001:db8::1", Ok(())),
        ("11.0.0.1", Err(Denied::Network)),
        ("2001:db8::2", Err(Denied::Network)),
    ] {
        assert_eq!(try_at(&key, noon(), from), outcome, "{from}");
    }
    key.revoked_at = Some(noon());
    assert_eq!(try_at(&key, noon(), "10.1.2.3"), Err(Denied::Revoked));
}

#[test]
fn both_secrets_work_while_a_rotation_overlaps() {
    let secret = KeySecret { hash: [2; 32], former: Some(([1; 32], noon())) };
    assert_eq!(secret.check(&[2; 32], noon()), Ok(()));
    assert_eq!(secret.check(&[1; 32], noon() - Duration::seconds(1)), Ok(()));
    assert_eq!(secret.check(&[1; 32], noon()), Err(Denied::RotatedOut));
    assert_eq!(secret.check(&[3; 32], noon()), Err(Denied::Unknown));
}

#[test]
fn whoever_has_no_right_secret_is_told_so_after_the_same_work() {
    let (own, nobody) = (Keys::derive(b"own"), Keys::derive(b"nobody"));
    let text = |letter: char| KeyText::pair("0123456789abcdef", &letter.to_string().repeat(43)).unwrap();
    let (right, wrong) = (text('a'), text('b'));
    let hash = own.secret_of(&right);
    let plain = KeySecret { hash, former: None };
    let overlapping = KeySecret { hash: [1; 32], former: Some((hash, noon() + Duration::days(1))) };
    let rotated = KeySecret { hash: [1; 32], former: Some((hash, noon())) };
    let cases = [
        (&wrong, None, Err(Denied::Unknown)),
        (&wrong, Some(&plain), Err(Denied::Unknown)),
        (&wrong, Some(&overlapping), Err(Denied::Unknown)),
        (&wrong, Some(&rotated), Err(Denied::Unknown)),
        (&right, None, Err(Denied::Unknown)),
        (&right, Some(&plain), Ok(())),
        (&right, Some(&overlapping), Ok(())),
        (&right, Some(&rotated), Err(Denied::RotatedOut)),
    ];
    for (no, (text, found, outcome)) in cases.into_iter().enumerate() {
        HASHED.set(0);
        COMPARED.set(0);
        let weighed = KeySecret::weigh(text, found.map(|secret| (&own, secret)), &nobody, noon());
        assert_eq!((weighed, HASHED.get(), COMPARED.get()), (outcome, 1, 2), "case {no}");
    }
}

#[test]
fn a_key_makes_none_that_is_stronger() {
    let ada = user(UserKind::Person);
    let usual = ApiRates::default();
    let mut own = key(&["apikey:write", "member:read"]);
    own.expires_at = Some(noon() + Duration::days(1));
    own.networks = vec![network("10.0.0.0/8").unwrap()];
    own.feed = Some(FeedNo::MAIN);
    own.rates.requests = Some(60);
    own.rows.departments = vec!["Sales".into()];
    own.fields.0.insert(
        Resource::Members,
        Fields { read: Some(["email".to_owned(), "department".to_owned()].into()), write: None },
    );
    let grant = own.grant(&ada, Some(Role::Administrator), home(), noon()).unwrap();
    let mut weaker = ApiKey { rights: Rights::read(["member:read"]).unwrap(), ..own.clone() };
    weaker.rates.eligibility = Some(usual.eligibility);
    assert_eq!(grant.cannot_make(&weaker, &ada, usual), None);
    let changes: [fn(&mut ApiKey); 10] = [
        |k| k.rights = Rights::all(),
        |k| k.expires_at = None,
        |k| k.networks.clear(),
        |k| k.networks = vec![network("0.0.0.0/0").unwrap()],
        |k| k.feed = None,
        |k| k.rates.requests = None,
        |k| k.rates.requests = Some(61),
        // Its own rate of uploads is the usual one.
        |k| k.rates.uploads = Some(ApiRates::default().uploads + 1),
        |k| k.rows.departments.clear(),
        |k| k.fields = FieldLimits::default(),
    ];
    for (no, change) in changes.iter().enumerate() {
        let mut stronger = weaker.clone();
        change(&mut stronger);
        assert!(grant.cannot_make(&stronger, &ada, usual).is_some(), "{no}");
    }
    let other = User { id: Uuid::from_u128(8), ..user(UserKind::Person) };
    assert!(grant.cannot_make(&weaker, &other, usual).is_some());
    let service = User { id: Uuid::from_u128(9), ..user(UserKind::Service) };
    assert_eq!(grant.cannot_make(&weaker, &service, usual), None);
}

#[test]
fn whoever_sees_only_some_people_says_of_nobody_that_they_left() {
    let mut key = key(&["*"]);
    key.rows.feeds = vec![FeedNo(2)];
    let grant = |key: &ApiKey| key.grant(&user(UserKind::Person), Some(Role::Administrator), home(), noon()).unwrap();
    assert!(!grant(&key).may_send(Mode::Full, FeedNo(2)) && grant(&key).may_send(Mode::Partial, FeedNo(2)));
    key.feed = Some(FeedNo(2));
    assert!(grant(&key).may_send(Mode::Full, FeedNo(2)));
    assert_eq!(grant(&key).feed(None), Ok(FeedNo(2)));
    assert_eq!(grant(&key).feed(Some(FeedNo::MAIN)), Err(FeedNo(2)));
    assert!(!grant(&key).sees_everything());
}

#[test]
fn whatever_a_key_is_limited_in_it_is_limited() {
    let grant = |key: &ApiKey| key.grant(&user(UserKind::Person), Some(Role::Administrator), home(), noon()).unwrap();
    let free = key(&["*"]);
    assert!(!grant(&free).is_limited() && grant(&free).sees_all(Resource::Events));
    let some = || Some(["email".to_owned()].into());
    let of = |resource, read, write| FieldLimits([(resource, Fields { read, write })].into());
    let fed = |key: &mut ApiKey| key.feed = Some(FeedNo(2));
    let few = |key: &mut ApiKey| key.rows.departments = vec!["Sales".to_owned()];
    type Limit<'a> = &'a dyn Fn(&mut ApiKey);
    let limits: [(Limit<'_>, [bool; 2]); 5] = [
        (&fed, [false, false]),
        (&few, [false, false]),
        (&|key| key.fields = of(Resource::Members, some(), None), [false, false]),
        (&|key| key.fields = of(Resource::Events, some(), None), [false, true]),
        (&|key| key.fields = of(Resource::Members, None, some()), [true, true]),
    ];
    for (limit, sees) in limits {
        let mut limited = free.clone();
        limit(&mut limited);
        assert!(grant(&limited).is_limited(), "{limited:?}");
        let found = [Resource::Events, Resource::Feeds].map(|resource| grant(&limited).sees_all(resource));
        assert_eq!(found, sees, "{limited:?}");
    }
}

#[test]
fn a_limit_on_members_holds_wherever_they_are_shown() {
    let set = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let mut limits = FieldLimits::default();
    assert_eq!(limits.readable(Resource::Events), None);
    limits.0.insert(Resource::Members, Fields { read: set(&["email", "location"]), write: None });
    assert_eq!(limits.readable(Resource::Events), set(&["email", "location"]));
    limits.0.insert(Resource::Events, Fields { read: set(&["email", "job_title"]), write: None });
    assert_eq!(limits.readable(Resource::Events), set(&["email"]));
    assert_eq!(limits.readable(Resource::Members), set(&["email", "location"]));
}

#[test]
fn passwords_are_long_and_no_address_is_one() {
    assert!(check_password("correct horse battery", "ada@example.com").is_ok());
    for bad in ["short", "aaaaaaaaaaaaaaaaaaaa", "ada@example.com1"] {
        assert!(check_password(bad, "ada@example.com").is_err(), "{bad}");
    }
    assert_eq!(check_email(" Ada@Example.com "), Ok("ada@example.com".to_owned()));
    for bad in ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@example"] {
        assert!(check_email(bad).is_err(), "{bad}");
    }
}
