//! Members who log in: those of a collection `members` with passwords.

use serde_json::{Value, json};

use super::{Feed, Server, Sse};

/// `correct horse` at bcrypt's lowest cost.
pub const BCRYPT: &str = "$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u";

/// The token of a member whose password is `correct horse`.
pub async fn token(server: &Server, identity: &str) -> String {
    let url = format!("{}/api/collections/members/auth-with-password", server.base);
    let body = json!({ "identity": identity, "password": "correct horse" });
    let answer = reqwest::Client::new().post(url).json(&body).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    let token = answer["token"].as_str();
    token
        .unwrap_or_else(|| panic!("{identity} cannot log in: {answer}"))
        .to_owned()
}

/// A stream of a member's; [`Feed::drain`] reads it.
pub async fn stream(feed: &Feed, identity: &str, topics: &[&str]) -> Sse {
    let stream = Sse::connect(&feed.server.base).await;
    let topics: Vec<_> = topics.iter().copied().chain(["mark"]).collect();
    let token = token(&feed.server, identity).await;
    stream.subscribe_as(&token, &topics).await;
    stream
}
