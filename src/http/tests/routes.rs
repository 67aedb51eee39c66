//! Sections 1.1, 1.2 and 1.6 of the contract, and the operators' endpoints.

use super::*;
use crate::telemetry::CaptureState;

const SECURITY: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-xss-protection", "1; mode=block"),
];

/// Headers as sorted lines, for comparing whole sets.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn unknown_paths_and_methods_are_not_found() {
    let edge = Edge::new();
    for (method, path) in [
        ("PUT", "/api/realtime"),
        ("PATCH", "/api/realtime"),
        ("DELETE", "/api/realtime"),
        ("TRACE", "/api/realtime"),
        ("QUERY", "/api/realtime"),
        ("GET", "/api/realtime/"),
        ("GET", "/api/realtime/x"),
        ("GET", "/api/Realtime"),
        ("POST", "/api/realtime/"),
        ("POST", "/api/health"),
        ("GET", "/"),
        ("GET", "/x"),
    ] {
        let answer = edge.send(request(method, path, &[], "")).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert_eq!(answer.body, NOT_FOUND, "{method} {path}");
        let mut expected: Vec<_> = SECURITY.map(|(k, v)| format!("{k}: {v}")).into();
        expected.push(format!("content-length: {}", NOT_FOUND.len()));
        expected.push("content-type: application/json".to_owned());
        expected.push("vary: Origin".to_owned());
        expected.sort();
        assert_eq!(lines(&answer.headers), expected, "{method} {path}");
    }
    assert!(edge.hub.joined().is_none());
}

#[tokio::test]
async fn path_with_empty_segments_is_redirected() {
    let answer = Edge::new().send(get("//api/realtime?a=b")).await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.lines("location"), ["/api/realtime?a=b"]);
}

#[tokio::test]
async fn stream_opens_whatever_the_request_says_beside_method_and_path() {
    for (path, headers, body) in [
        ("/api/realtime", &[][..], ""),
        ("/api/realtime?token=x&fields=id", &[], ""),
        ("/api/realtime", &[("accept", "application/json")], ""),
        ("/api/realtime", &[("accept", "text/event-stream")], ""),
        ("/api/realtime", &[("accept-encoding", "gzip, br")], ""),
        ("/api/realtime", &[("authorization", "nonsense")], ""),
        ("/api/realtime", &[("last-event-id", "7")], ""),
        ("/api/realtime", &[("content-type", "x")], "a body"),
    ] {
        let edge = Edge::new();
        let answer = edge.open(request("GET", path, headers, body)).await;
        let mut expected: Vec<_> = SECURITY.map(|(k, v)| format!("{k}: {v}")).into();
        expected.extend(
            [
                "cache-control: no-store",
                "content-type: text/event-stream",
                "vary: Origin",
                "x-accel-buffering: no",
            ]
            .map(str::to_owned),
        );
        expected.sort();
        assert_eq!(answer.status(), 200, "{path} {headers:?}");
        assert_eq!(lines(answer.headers()), expected, "{path} {headers:?}");
        let subscriber = edge.hub.joined().expect("a subscriber");
        assert_eq!(subscriber.address.to_string(), "10.0.0.9");
    }
}

#[tokio::test]
async fn head_answers_the_same_head_and_registers_nobody() {
    let edge = Edge::new();
    let stream = edge.open(get("/api/realtime")).await;
    edge.hub.joined().expect("a subscriber");
    let head = edge.send(request("HEAD", "/api/realtime", &[], "")).await;
    assert_eq!(head.status, 200);
    assert_eq!(lines(&head.headers), lines(stream.headers()));
    assert_eq!(head.body, "");
    assert!(edge.hub.joined().is_none());
}

#[tokio::test]
async fn options_is_answered_on_any_path() {
    const ORIGIN: (&str, &str) = ("origin", "https://a.example");
    const ASKED: (&str, &str) = (
        "access-control-request-headers",
        "authorization,Content-Type",
    );
    let allowed = [
        "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
        "access-control-allow-origin: *",
        "vary: Access-Control-Request-Headers",
        "vary: Access-Control-Request-Method",
        "vary: Origin",
    ];
    let echoed = "access-control-allow-headers: authorization,Content-Type";
    let with_echo = [&[echoed][..], &allowed].concat();
    for path in ["/api/realtime", "/nowhere", "/api/realtime/x"] {
        for (headers, expected) in [
            (&[][..], &["vary: Origin"][..]),
            (&[ASKED], &["vary: Origin"]),
            (&[ORIGIN], &allowed),
            (&[ORIGIN, ASKED], &with_echo),
        ] {
            let answer = Edge::new()
                .send(request("OPTIONS", path, headers, ""))
                .await;
            let mut seen = lines(&answer.headers);
            seen.retain(|line| !line.starts_with("content-length"));
            assert_eq!(answer.status, 204, "{path} {headers:?}");
            assert_eq!(seen, expected, "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn origins_are_answered_on_streams_and_errors_alike() {
    let only_a = || HttpOptions {
        allowed_origins: vec!["https://a.example".to_owned()],
        ..HttpOptions::default()
    };
    for (options, origin, answer) in [
        (HttpOptions::default(), "https://a.example", Some("*")),
        (only_a(), "https://a.example", Some("https://a.example")),
        (only_a(), "https://b.example", None),
    ] {
        let edge = Edge::with(options);
        for (method, path, status) in [
            ("GET", "/api/realtime", 200),
            ("POST", "/api/realtime", 400),
            ("GET", "/nowhere", 404),
        ] {
            let request = request(method, path, &[("origin", origin)], "");
            let response = edge.open(request).await;
            let seen = response.headers().get("access-control-allow-origin");
            let seen = seen.map(|value| value.to_str().expect("ASCII"));
            assert_eq!(response.status(), status, "{method} {path} {origin}");
            assert_eq!(seen, answer, "{method} {path} {origin}");
            assert_eq!(response.headers()["vary"], "Origin");
        }
        let preflight = request("OPTIONS", "/api/realtime", &[("origin", origin)], "");
        let preflight = edge.send(preflight).await;
        assert_eq!(preflight.status, 204);
        let vary = if answer.is_some() { 3 } else { 1 };
        assert_eq!(preflight.lines("vary").len(), vary, "{origin}");
    }
}

#[tokio::test]
async fn health_says_that_the_process_answers() {
    let answer = Edge::new().send(get("/api/health")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.lines("content-type"), ["application/json"]);
    assert_eq!(
        answer.body,
        "{\"message\":\"API is healthy.\",\"code\":200,\"data\":{}}\n"
    );
}

#[tokio::test(start_paused = true)]
async fn ready_says_whether_events_can_be_relied_on() {
    let edge = Edge::with(HttpOptions {
        ready_behind_max: Duration::from_secs(10),
        ready_silence_max: Duration::from_secs(30),
        ..HttpOptions::default()
    });
    let ask = async || {
        let answer = edge.send(get("/api/ready")).await;
        let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(json["code"], answer.status.as_u16());
        (answer.status.as_u16(), json["data"]["trouble"].clone())
    };
    assert_eq!(ask().await, (503, "not connected to the database".into()));
    edge.reporter.contact(CaptureState::CatchingUp);
    assert_eq!(ask().await, (200, serde_json::Value::Null));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(ask().await, (503, "behind the change log".into()));
    edge.reporter.contact(CaptureState::Live);
    assert_eq!(ask().await, (200, serde_json::Value::Null));
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(ask().await, (503, "no answer from the database".into()));
}

#[tokio::test]
async fn metrics_are_written_for_prometheus() {
    let edge = Edge::new();
    edge.metrics.deliveries.inc();
    let answer = edge.send(get("/metrics")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.lines("content-type"),
        ["application/openmetrics-text; version=1.0.0; charset=utf-8"]
    );
    assert!(
        answer.body.contains("rowcast_deliveries_total 1\n"),
        "{}",
        answer.body
    );
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
}
