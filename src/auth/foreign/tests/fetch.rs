//! Fetching from real sockets.

use std::sync::Arc;

use http::HeaderValue;
use hyper_rustls::HttpsConnectorBuilder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::super::fetch::{Address, Answer, FetchError, Http, Source, tcp};
use super::*;

/// Answers every request with these bytes, over whatever `wrap` makes of the connection.
async fn serve(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> (u16, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let heard = Arc::<std::sync::Mutex<String>>::default();
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            match &tls {
                None => reply(socket, &answer, &hears).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        reply(socket, &answer, &hears).await;
                    }
                }
            }
        }
    });
    (port, heard)
}

async fn reply(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    heard: &std::sync::Mutex<String>,
) {
    let mut request = [0; 4096];
    let read = socket.read(&mut request).await.unwrap_or(0);
    *heard.lock().expect("unharmed") = String::from_utf8_lossy(&request[..read]).into_owned();
    // Who has read enough may have gone.
    let _ = socket.write_all(answer).await;
    let _ = socket.shutdown().await;
}

fn http(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

async fn get(answer: Vec<u8>, etag: Option<&'static str>) -> (Result<Answer, FetchError>, String) {
    let (port, heard) = serve(answer, None).await;
    let uri = format!("http://127.0.0.1:{port}/keys?a=b").parse();
    let mut address = Address::new(uri.expect("a URI"));
    let answer = address.get(etag.map(HeaderValue::from_static)).await;
    let heard = heard.lock().expect("unharmed").clone();
    (answer, heard.to_ascii_lowercase())
}

#[tokio::test]
async fn an_answer_comes_with_its_tag_and_its_age() {
    for (head, age) in [
        ("200 OK\r\nETag: \"a\"", None),
        (
            "200 OK\r\nETag: \"a\"\r\nCache-Control: public, max-age=7",
            Some(7),
        ),
        (
            "200 OK\r\nETag: \"a\"\r\nCache-Control: MAX-AGE=\"7\"",
            Some(7),
        ),
        ("200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=x", None),
        (
            "200 OK\r\nETag: \"a\"\r\nCache-Control: no-store, max-age=7",
            Some(0),
        ),
    ] {
        let (answer, heard) = get(http(head, "{}"), None).await;
        let answer = answer.expect(head);
        assert_eq!(answer.body.as_deref(), Some(&b"{}"[..]));
        assert_eq!(answer.etag, Some(HeaderValue::from_static("\"a\"")));
        assert_eq!(answer.max_age, age.map(Duration::from_secs), "{head}");
        assert!(heard.starts_with("get /keys?a=b http/1.1\r\n"), "{heard}");
        assert!(heard.contains("\r\nhost: 127.0.0.1:"), "{heard}");
        assert!(!heard.contains("if-none-match"), "{heard}");
    }
    let (answer, heard) = get(http("304 Not Modified", ""), Some("\"a\"")).await;
    assert!(answer.expect("an answer").body.is_none());
    assert!(heard.contains("\r\nif-none-match: \"a\"\r\n"), "{heard}");
}

#[tokio::test]
async fn what_is_no_key_set_is_refused_within_limits() {
    let large = "x".repeat(256 * 1024 + 1);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned();
    for (answer, why) in [
        (http("200 OK", &large), "more than 256 KiB"),
        (chunked.into_bytes(), "more than 256 KiB"),
        (broken.into_bytes(), "broke off"),
        (
            http("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
            "leads elsewhere",
        ),
        (http("304 Not Modified", ""), "leads elsewhere"),
        (http("404 Not Found", "{}"), "404 Not Found"),
        (http("204 No Content", ""), "204 No Content"),
        (b"nonsense\r\n\r\n".to_vec(), "request failed"),
        (Vec::new(), "request failed"),
    ] {
        let refusal = get(answer, None).await.0.expect_err(why).to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let uri = format!("http://127.0.0.1:{port}/").parse();
    let answer = Address::new(uri.expect("a URI")).get(None).await;
    assert!(
        matches!(answer, Err(FetchError::Timeout | FetchError::Request(_))),
        "{answer:?}"
    );
}

fn file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/certificates");
    format!("{folder}/{name}")
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file("server.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("they fit")))
}

fn trusting(authority: &str) -> Http {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file(authority)).expect("a certificate");
    roots.add(authority).expect("an authority");
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(config);
    let https = https.https_only().enable_http1();
    Http::secure(https.wrap_connector(tcp()))
}

#[tokio::test]
async fn over_https_only_who_is_vouched_for_is_believed() {
    for (host, authority, believed) in [
        ("localhost", "authority.crt", true),
        ("127.0.0.1", "authority.crt", false),
        ("localhost", "stranger.crt", false),
    ] {
        let (port, _) = serve(http("200 OK", "{}"), Some(acceptor())).await;
        let uri = format!("https://{host}:{port}/").parse().expect("a URI");
        let mut address = Address::new(uri).through(trusting(authority));
        let answer = address.get(None).await;
        assert_eq!(answer.is_ok(), believed, "{host} {authority}: {answer:?}");
    }
}
