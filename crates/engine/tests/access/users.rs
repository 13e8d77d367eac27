//! Users: signing in, being found, and what dies with them.

use super::*;

on_both_engines! {
    a_person_signs_in_with_address_and_password_unless_disabled,
    users_are_found_and_their_keys_listed_before_they_die,
    an_operator_needs_no_role,
}

async fn a_person_signs_in_with_address_and_password_unless_disabled(on: On) {
    let (given, nightly) = given(on).await;
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

async fn users_are_found_and_their_keys_listed_before_they_die(on: On) {
    let (given, user) = given(on).await;
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

async fn an_operator_needs_no_role(on: On) {
    let (given, _) = given(on).await;
    let operator = NewUser { operator: true, ..service("operator") };
    let operator = given.engine.create_user(operator).await.unwrap();
    let made = anything(&given, &operator).await;
    assert_eq!(try_key(&given.engine, &made.text).await.unwrap().grant.role, Role::Administrator);
}
