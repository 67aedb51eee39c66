//! Section 2.2 of the contract: which bodies are read, and how.

use super::*;

const ID: &str = "some-client";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=XX";

const REQUIRED: &str = "{\"data\":{\"clientId\":{\"code\":\"validation_required\",\"message\":\"Cannot be blank.\"}},\"message\":\"Something went wrong while processing your request.\",\"status\":400}\n";

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// 204, and these subscriptions for [`ID`].
    Topics(Vec<String>),
    /// 400 without details.
    Generic,
    /// 400: the client id is missing.
    Required,
}

fn topics(topics: &[&str]) -> Seen {
    Seen::Topics(topics.iter().map(|&topic| topic.to_owned()).collect())
}

async fn post(path: &str, content_type: Option<&str>, body: Body) -> Seen {
    let edge = Edge::new();
    let mut request = Request::builder().method("POST").uri(path);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let answer = edge.send(request.body(body).expect("a request")).await;
    match (answer.status.as_u16(), &*answer.body) {
        (400, GENERIC) => Seen::Generic,
        (400, REQUIRED) => Seen::Required,
        (204, "") => {
            let asked = edge.hub.asked().pop().expect("the hub was asked");
            assert_eq!(asked.client_id, ID);
            let texts = asked.subscriptions.iter();
            Seen::Topics(texts.map(|s| s.text().to_string()).collect())
        }
        other => panic!("{other:?}"),
    }
}

async fn post_text(path: &str, content_type: &str, body: &str) -> Seen {
    post(path, Some(content_type), Body::from(body.to_owned())).await
}

#[tokio::test]
async fn content_type_is_matched_by_its_beginning_letter_by_letter() {
    let json = r#"{"clientId":"some-client","subscriptions":["a"]}"#;
    for (content_type, seen) in [
        (Some("application/json"), topics(&["a"])),
        (Some("application/json; charset=utf-8"), topics(&["a"])),
        (Some("application/json+x"), topics(&["a"])),
        (Some("Application/JSON"), Seen::Generic),
        (Some("text/plain"), Seen::Generic),
        (Some("application/vnd.api+json"), Seen::Generic),
        (Some(""), Seen::Generic),
        (None, Seen::Generic),
    ] {
        let answer = post("/api/realtime", content_type, Body::from(json)).await;
        assert_eq!(answer, seen, "{content_type:?}");
    }
}

#[tokio::test]
async fn announced_empty_body_is_an_empty_form_whatever_its_type() {
    for content_type in [None, Some(JSON), Some(MULTIPART), Some("text/plain")] {
        let answer = post("/api/realtime", content_type, Body::empty()).await;
        assert_eq!(answer, Seen::Required, "{content_type:?}");
    }
}

#[tokio::test]
async fn empty_body_of_unannounced_length_is_no_json() {
    let body = Body::from_stream(futures_util::stream::empty::<Result<&str, std::io::Error>>());
    let answer = post("/api/realtime", Some(JSON), body).await;
    assert_eq!(answer, Seen::Generic);
}

#[tokio::test]
async fn json_is_read_as_go_reads_it() {
    for (json, seen) in [
        ("{", Seen::Generic),
        ("  \n", Seen::Generic),
        ("\u{feff}{}", Seen::Generic),
        ("[]", Seen::Generic),
        ("\"x\"", Seen::Generic),
        ("5", Seen::Generic),
        ("true", Seen::Generic),
        ("null", Seen::Required),
        ("{}", Seen::Required),
        (r#"{"clientId":""}"#, Seen::Required),
        (r#"{"clientId":null}"#, Seen::Required),
        (r#"{"clientId":5}"#, Seen::Generic),
        (r#"{"clientId":true}"#, Seen::Generic),
        (r#"{"clientId":{}}"#, Seen::Generic),
        (r#"{"clientId":["some-client"]}"#, Seen::Generic),
        (r#"{"clientId":"some-client"}"#, topics(&[])),
        (r#"{"clientId":"some-client","x":{"y":[1]}}"#, topics(&[])),
        (
            r#"{"CLIENTID":"some-client","Subscriptions":["a"]}"#,
            topics(&["a"]),
        ),
        (r#"{"clientId":"x","clientId":"some-client"}"#, topics(&[])),
        (r#"{"clientId":"some-client","clientid":null}"#, topics(&[])),
        (r#"{"clientId":5,"clientId":"some-client"}"#, Seen::Generic),
        (
            r#"{"clientId":"some-client","subscriptions":["a"],"subscriptions":["b"]}"#,
            topics(&["b"]),
        ),
        (
            r#"{"clientId":"some-client","subscriptions":["a"],"subscriptions":null}"#,
            topics(&[]),
        ),
        (r#"{"clientId":"some-client"} trailing"#, topics(&[])),
        (r#"{"clientId":"some-client"}{"clientId":5}"#, topics(&[])),
        (r#"{"clientId":"some-\u0063lient"}"#, topics(&[])),
    ] {
        assert_eq!(post_text("/api/realtime", JSON, json).await, seen, "{json}");
    }
}

#[tokio::test]
async fn json_subscriptions_are_a_list_of_texts() {
    for (list, seen) in [
        ("null", topics(&[])),
        ("[]", topics(&[])),
        (r#"["a","b/*"]"#, topics(&["a", "b/*"])),
        (r#""a""#, Seen::Generic),
        (r#"{"0":"a"}"#, Seen::Generic),
        ("5", Seen::Generic),
        (r#"[null,"a"]"#, topics(&["a"])),
        (r#"["a",5]"#, Seen::Generic),
        (r#"["a",false]"#, Seen::Generic),
        (r#"["a",{}]"#, Seen::Generic),
        (r#"["a",["b"]]"#, Seen::Generic),
        (r#"["","a",""]"#, topics(&["a"])),
        (r#"["b","a","b"]"#, topics(&["b", "a"])),
        (r#"[" a","a "," b"]"#, topics(&[" a", "a ", " b"])),
        (
            r#"["a?options=%7B%7D","a"]"#,
            topics(&["a?options=%7B%7D", "a"]),
        ),
        (r#"["PB_CONNECT","a\nb"]"#, topics(&["PB_CONNECT", "a\nb"])),
    ] {
        let json = format!(r#"{{"clientId":"some-client","subscriptions":{list}}}"#);
        assert_eq!(
            post_text("/api/realtime", JSON, &json).await,
            seen,
            "{list}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf8_become_replacement_characters() {
    let body = b"{\"clientId\":\"some-client\",\"subscriptions\":[\"a\xffb\"]}";
    let seen = post("/api/realtime", Some(JSON), Body::from(&body[..])).await;
    assert_eq!(seen, topics(&["a\u{fffd}b"]));
}

#[tokio::test]
async fn url_encoded_forms_are_read_with_the_query_after_them() {
    let id = "clientId=some-client";
    for (query, body, seen) in [
        (
            "",
            format!("{id}&subscriptions=a&subscriptions=b"),
            topics(&["a", "b"]),
        ),
        (
            "",
            format!("{id}&subscriptions=a+b%2C%2Fc"),
            topics(&["a b,/c"]),
        ),
        ("", format!("{id}&subscriptions=a,b"), topics(&["a,b"])),
        (
            "",
            format!("{id}&subscriptions=[\"a\"]"),
            topics(&["[\"a\"]"]),
        ),
        ("", format!("{id}&subscriptions[]=a"), topics(&[])),
        ("", format!("{id}&Subscriptions=a"), topics(&[])),
        ("", format!("{id}&clientId=x"), topics(&[])),
        ("", format!("{id}&subscriptions="), topics(&[])),
        ("", format!("{id}&x=%zz"), Seen::Generic),
        ("", format!("{id}&x=%4"), Seen::Generic),
        ("", format!("{id}&x=a;b"), Seen::Generic),
        ("", "subscriptions=a".to_owned(), Seen::Required),
        (
            "?clientId=some-client",
            "subscriptions=a".to_owned(),
            topics(&["a"]),
        ),
        (
            "?clientId=x&subscriptions=b",
            format!("{id}&subscriptions=a"),
            topics(&["a", "b"]),
        ),
        ("?x=%zz", id.to_owned(), Seen::Generic),
        (
            "",
            r#"subscriptions=a&@jsonPayload={"clientId":"some-client"}"#.to_owned(),
            topics(&["a"]),
        ),
        (
            "",
            format!(r#"{id}&subscriptions=a&@jsonPayload={{"subscriptions":["b"]}}"#),
            topics(&["b"]),
        ),
        ("", format!("{id}&@jsonPayload=null"), topics(&[])),
        ("", format!("{id}&@jsonPayload={{"), Seen::Generic),
        ("", format!("{id}&@jsonPayload={{}}x"), Seen::Generic),
        ("", format!("{id}&@jsonPayload=5"), Seen::Generic),
    ] {
        let path = format!("/api/realtime{query}");
        assert_eq!(post_text(&path, FORM, &body).await, seen, "{query} {body}");
    }
}

#[tokio::test]
async fn query_is_not_read_beside_json() {
    let path = "/api/realtime?clientId=some-client";
    assert_eq!(post_text(path, JSON, "{}").await, Seen::Required);
}

fn part(name: &str, value: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[tokio::test]
async fn multipart_forms_are_read_with_the_query_before_them() {
    let id = part("clientId", "some-client");
    let a = part("subscriptions", "a");
    let b = part("subscriptions", "b");
    let end = "--XX--\r\n";
    let file = "--XX\r\nContent-Disposition: form-data; name=\"subscriptions\"; filename=\"x\"\r\n\r\nf\r\n";
    let payload = part("@jsonPayload", r#"{"clientId":"some-client"}"#);
    let no_boundary = "multipart/form-data";
    let other_boundary = "multipart/form-data; boundary=YY";
    for (query, content_type, body, seen) in [
        (
            "",
            MULTIPART,
            format!("{id}{a}{b}{end}"),
            topics(&["a", "b"]),
        ),
        ("", MULTIPART, format!("{a}{payload}{end}"), topics(&["a"])),
        ("", MULTIPART, format!("{id}{file}{end}"), topics(&[])),
        ("", MULTIPART, format!("{a}{end}"), Seen::Required),
        (
            "?clientId=some-client",
            MULTIPART,
            format!("{a}{end}"),
            topics(&["a"]),
        ),
        (
            "?subscriptions=b",
            MULTIPART,
            format!("{id}{a}{end}"),
            topics(&["b", "a"]),
        ),
        ("?x=%zz", MULTIPART, format!("{id}{end}"), Seen::Generic),
        ("", MULTIPART, format!("{id}{a}"), Seen::Generic),
        ("", MULTIPART, "nonsense".to_owned(), Seen::Generic),
        ("", no_boundary, format!("{id}{end}"), Seen::Generic),
        ("", other_boundary, format!("{id}{end}"), Seen::Generic),
    ] {
        let path = format!("/api/realtime{query}");
        let answer = post_text(&path, content_type, &body).await;
        assert_eq!(answer, seen, "{query} {content_type} {body}");
    }
}
