//! Superusers' tokens against a real database.

use std::time::Duration;

use rowcast::auth::{
    Authenticate, Authenticator, Principal, SUPERUSER_TOKEN_LIFETIME, issue_superuser_token,
};
use rowcast::db::{Database, DatabaseOptions};

use crate::support::{client, database};

const EMAIL: &str = "admin@example.com";

fn authenticator(url: &str) -> Authenticator {
    Authenticator::new(Database::new(&DatabaseOptions::new(url)).expect("a good address"))
}

#[tokio::test]
async fn a_token_proves_its_superuser_until_the_keys_change() {
    let database = database().await;
    let admin = client(&database.url).await;
    let authenticator = authenticator(&database.url);
    let first = issue_superuser_token(&admin, EMAIL, SUPERUSER_TOKEN_LIFETIME).await;
    let first = first.expect("a token");
    assert!(first.created);
    let second = issue_superuser_token(&admin, EMAIL, Duration::from_secs(10)).await;
    let second = second.expect("a token");
    assert!(!second.created, "there is one already");
    let id: String = admin
        .query_one("select id from rowcast.superusers", &[])
        .await
        .unwrap()
        .get(0);
    let superuser = Principal::Superuser {
        id: id.as_str().into(),
    };
    for header in [first.token.clone(), format!("bearer {}", second.token)] {
        let proof = authenticator.authenticate(Some(&header)).await;
        assert_eq!(proof.principal, superuser);
        assert!(proof.expires_at.is_some());
    }
    for broken in [
        "update rowcast.superusers set token_key = 'another'",
        "update rowcast.secrets set value = 'another'",
        "update rowcast.superusers set token_key = ''",
        "delete from rowcast.superusers",
    ] {
        let token = issue_superuser_token(&admin, EMAIL, SUPERUSER_TOKEN_LIFETIME).await;
        let token = token.expect("a token").token;
        assert!(
            authenticator.principal(&token).await.is_superuser(),
            "before {broken}"
        );
        admin.batch_execute(broken).await.unwrap();
        assert!(
            authenticator.principal(&token).await.is_guest(),
            "after {broken}"
        );
        admin
            .batch_execute("delete from rowcast.superusers")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_no_token_and_a_database_that_does_not_answer_make_a_guest() {
    let database = database().await;
    let admin = client(&database.url).await;
    let token = issue_superuser_token(&admin, EMAIL, SUPERUSER_TOKEN_LIFETIME).await;
    let token = token.expect("a token").token;
    let here = authenticator(&database.url);
    for header in [
        None,
        Some(""),
        Some("Bearer "),
        Some("Bearer  x"),
        Some("nonsense"),
        Some("a.b.c"),
    ] {
        assert!(
            here.authenticate(header).await.principal.is_guest(),
            "{header:?}"
        );
    }
    let tampered = format!("{}x", &token[..token.len() - 1]);
    assert!(
        here.authenticate(Some(&format!("Token {token}")))
            .await
            .principal
            .is_guest()
    );
    assert!(here.principal(&tampered).await.is_guest());
    let nowhere = authenticator("postgres://nobody@127.0.0.1:1/nothing");
    let proof = nowhere.proof(&token).await;
    assert!(proof.principal.is_guest() && proof.is_unchecked);
    assert!(!here.proof(&tampered).await.is_unchecked);
}
