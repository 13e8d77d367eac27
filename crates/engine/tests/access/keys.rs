//! Keys: who makes, changes, rotates and revokes which.

use super::*;

on_both_engines! {
    after_a_rotation_both_secrets_work_as_long_as_was_said,
    all_keys_are_revoked_at_once_for_another_process_too,
    a_revocation_does_not_wait_for_a_transaction_of_an_import,
    a_key_makes_changes_and_rotates_none_that_is_stronger_than_itself,
    who_is_no_administrator_sees_the_keys_mapped_to_them_alone,
    a_key_of_another_organisation_is_no_key_here,
    a_key_needs_a_user_with_a_role_rights_and_limits_that_there_are,
}

async fn after_a_rotation_both_secrets_work_as_long_as_was_said(on: On) {
    let (given, user) = given(on).await;
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

async fn all_keys_are_revoked_at_once_for_another_process_too(on: On) {
    let (given, user) = given(on).await;
    let acme = given.acme().await;
    let keys = [anything(&given, &user).await, anything(&given, &user).await];
    let other = Engine::open(&given.url, given.engine.data_dir(), "other").await.unwrap();
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

async fn a_revocation_does_not_wait_for_a_transaction_of_an_import(on: On) {
    let (given, user) = given(on).await;
    let acme = given.acme().await;
    let made = anything(&given, &user).await;
    let mut import = given.engine.store.begin(acme.row.id, None).await.unwrap();
    import.take_head().await.unwrap();
    let revoking = given.engine.delete_key(&acme, &made.key.id, &Maker::Operator);
    tokio::time::timeout(std::time::Duration::from_secs(20), revoking).await.expect("it waited").unwrap();
    assert_eq!(denied(&given.engine, &made.text).await, Denied::Revoked);
    import.rollback().await.unwrap();
}

async fn a_key_makes_changes_and_rotates_none_that_is_stronger_than_itself(on: On) {
    let (given, user) = given(on).await;
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

async fn who_is_no_administrator_sees_the_keys_mapped_to_them_alone(on: On) {
    let (given, user) = given(on).await;
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

async fn a_key_of_another_organisation_is_no_key_here(on: On) {
    let (given, user) = given(on).await;
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

async fn a_key_needs_a_user_with_a_role_rights_and_limits_that_there_are(on: On) {
    let (given, user) = given(on).await;
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
