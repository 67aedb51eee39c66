//! Sections 2.1, 2.3 and 2.4 of the contract: the order of checks, and what each one answers.

use super::*;
use crate::hub::{SetTopicsError, Unfit, Unfitting};

const TYPE: (&str, &str) = ("content-type", "application/json");

fn post(json: &str, headers: &[(&str, &str)]) -> Request<Body> {
    request("POST", "/api/realtime", &[&[TYPE], headers].concat(), json)
}

fn form(client_id: &str, subscriptions: &[String]) -> String {
    serde_json::json!({ "clientId": client_id, "subscriptions": subscriptions }).to_string()
}

/// An edge whose body limit lets the limits of the form be reached.
fn roomy() -> Edge {
    Edge::with(HttpOptions {
        body_bytes_max: 4 * 1024 * 1024,
        ..HttpOptions::default()
    })
}

#[tokio::test]
async fn valid_form_reaches_the_hub_and_is_answered_with_nothing() {
    let edge = Edge::new();
    let json = form("abc", &["posts/*".to_owned()]);
    let answer = edge.send(post(&json, &[("authorization", "root")])).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.body, "");
    assert!(answer.lines("content-type").is_empty());
    let asked = edge.hub.asked().pop().expect("the hub was asked");
    assert_eq!(asked.client_id, "abc");
    assert_eq!(asked.address.to_string(), "10.0.0.9");
    assert_eq!(asked.principal, root());
    assert_eq!(&**asked.subscriptions[0].text(), "posts/*");
}

#[tokio::test]
async fn unproved_authorization_is_a_guest() {
    let edge = Edge::new();
    for headers in [
        &[][..],
        &[("authorization", "nonsense")],
        &[("authorization", "")],
    ] {
        edge.send(post(&form("abc", &[]), headers)).await;
        let asked = edge.hub.asked().pop().expect("the hub was asked");
        assert_eq!(asked.principal, Principal::Guest, "{headers:?}");
    }
}

/// Found by the oracle: for a moment without a database, a superuser was a guest as long as its stream lasted.
#[tokio::test]
async fn a_token_that_cannot_be_checked_now_is_asked_for_again_later() {
    let edge = Edge::new();
    let answer = edge
        .send(post(&form("abc", &[]), &[("authorization", "unchecked")]))
        .await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.lines("retry-after").len(), 1);
    assert!(edge.hub.asked().is_empty());
}

#[tokio::test]
async fn every_invalid_field_is_named() {
    let long = |bytes: usize| "x".repeat(bytes);
    let required = r#""clientId":{"code":"validation_required","message":"Cannot be blank."}"#;
    let range = r#""clientId":{"code":"validation_length_out_of_range","message":"The length must be between 1 and 255.","params":{"max":255,"min":1}}"#;
    let many = r#""subscriptions":{"code":"validation_length_too_long","message":"The length must be no more than 1000.","params":{"max":1000,"min":0}}"#;
    let item = r#"{"code":"validation_length_too_long","message":"The length must be no more than 2500.","params":{"max":2500,"min":0}}"#;
    for (client_id, subscriptions, data) in [
        (String::new(), vec![], required.to_owned()),
        (long(256), vec![], range.to_owned()),
        ("é".repeat(128), vec![], range.to_owned()),
        (long(1), vec![String::new(); 1001], many.to_owned()),
        (long(1), vec![long(2501); 1001], many.to_owned()),
        (
            String::new(),
            vec![long(2501)],
            format!(r#"{required},"subscriptions":{{"0":{item}}}"#),
        ),
        (
            long(1),
            vec![long(2501), long(2500), "é".repeat(1251)],
            format!(r#""subscriptions":{{"0":{item},"2":{item}}}"#),
        ),
    ] {
        let edge = roomy();
        let answer = edge
            .send(post(&form(&client_id, &subscriptions), &[]))
            .await;
        let message = "Something went wrong while processing your request.";
        let expected =
            format!("{{\"data\":{{{data}}},\"message\":\"{message}\",\"status\":400}}\n");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body, expected);
        assert_eq!(answer.lines("content-type"), ["application/json"]);
        assert!(edge.hub.asked().is_empty(), "nothing may change: {data}");
    }
}

#[tokio::test]
async fn longest_valid_form_is_accepted() {
    let edge = roomy();
    let subscriptions: Vec<_> = (0..1000).map(|i| format!("{i:0>2500}")).collect();
    let answer = edge
        .send(post(&form(&"x".repeat(255), &subscriptions), &[]))
        .await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert_eq!(edge.hub.asked()[0].subscriptions.len(), 1000);
}

#[tokio::test]
async fn hub_refusals_have_their_own_answers() {
    for (error, status, message) in [
        (
            SetTopicsError::UnknownClient,
            404,
            "Missing or invalid client id.",
        ),
        (
            SetTopicsError::ForeignAddress,
            400,
            "Invalid realtime client.",
        ),
        (
            SetTopicsError::OtherPrincipal,
            403,
            "The current and the previous request authorization don't match.",
        ),
        (
            SetTopicsError::Stopped,
            503,
            "The server is stopping. Try again later.",
        ),
    ] {
        let edge = Edge::new();
        edge.hub.refuse_topics(error.clone());
        let answer = edge.send(post(&form(" ", &[]), &[])).await;
        let expected = format!("{{\"data\":{{}},\"message\":\"{message}\",\"status\":{status}}}\n");
        assert_eq!(answer.status, status, "{error:?}");
        assert_eq!(answer.body, expected, "{error:?}");
        assert_eq!(answer.lines("content-type"), ["application/json"]);
        let invalid = edge.send(post("{}", &[])).await;
        assert_eq!(invalid.status, 400, "the form is checked before {error:?}");
    }
}

#[tokio::test]
async fn body_beyond_the_limit_is_refused_announced_or_not() {
    let options = HttpOptions {
        body_bytes_max: 100,
        ..HttpOptions::default()
    };
    let edge = Edge::with(options);
    let expected = "{\"data\":{},\"message\":\"Request entity too large.\",\"status\":413}\n";
    let chunked = || {
        let chunks = ["x"; 101].map(Ok::<_, std::io::Error>);
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    for (content_type, body, status) in [
        ("application/json", Body::from("x".repeat(101)), 413),
        ("text/plain", Body::from("x".repeat(101)), 413),
        ("application/json", chunked(), 413),
        ("multipart/form-data; boundary=X", chunked(), 413),
        ("application/json", Body::from(" ".repeat(100)), 400),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/api/realtime")
            .header("content-type", content_type)
            .body(body)
            .expect("a request");
        let answer = edge.send(request).await;
        assert_eq!(answer.status, status, "{content_type}");
        if status == 413 {
            assert_eq!(answer.body, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_does_not_arrive_is_given_up() {
    let body = Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>());
    let request = Request::builder()
        .method("POST")
        .uri("/api/realtime")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request");
    assert_eq!(Edge::new().send(request).await.status, 408);
}

#[tokio::test]
async fn panic_in_a_handler_is_answered_like_any_error() {
    let edge = Edge::new();
    let headers = [("authorization", "panic"), ("origin", "https://a.example")];
    let answer = edge.send(post(&form("abc", &[]), &headers)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, GENERIC.replace("400", "500"),);
    assert_eq!(answer.lines("access-control-allow-origin"), ["*"]);
}

#[tokio::test]
async fn unfit_subscriptions_are_named_by_their_place_in_the_form() {
    let edge = Edge::new();
    let why = Unfit::WildcardOff;
    let unfit = [0, 2].map(|at| {
        let why = why.clone();
        Unfitting { at, why }
    });
    edge.hub.refuse_topics(SetTopicsError::Unfit(unfit.into()));
    let texts = ["", "a", "a", "b", "c"].map(str::to_owned);
    let answer = edge.send(post(&form("abc", &texts), &[])).await;
    assert_eq!(answer.status, 400);
    let item = r#"{"code":"subscription_invalid_topic","message":"The topic * is switched off here. Name the collections."}"#;
    assert_eq!(
        answer.body,
        format!(
            "{{\"data\":{{\"subscriptions\":{{\"1\":{item},\"4\":{item}}}}},\"message\":\"Something went wrong while processing your request.\",\"status\":400}}\n"
        )
    );
}
