//! The live page under `/_/`: shows the feed in a browser, with nothing fetched from elsewhere.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY,
};

/// Only our own files run here, and they talk to nobody but us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 4] = [
    Asset {
        path: "/_/",
        content_type: "text/html; charset=utf-8",
        content: include_str!("../../assets/page.html"),
    },
    Asset {
        path: "/_/page.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("../../assets/page.css"),
    },
    Asset {
        path: "/_/page.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("../../assets/page.js"),
    },
    Asset {
        path: "/_/pocketbase.umd.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("../../assets/vendor/pocketbase.umd.js"),
    },
];

/// Names this build's files, so that browsers fetch them again after an upgrade and not before.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let content: String = ASSETS.iter().map(|asset| asset.content).collect();
    let hash = digest(&SHA256, content.as_bytes());
    let hex = hex(&hash.as_ref()[..8]);
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits make a header")
});

/// The page and its files; needs no state, so it can be merged into any router.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let to_page = || async { Redirect::permanent("_/") };
    ASSETS
        .iter()
        .fold(Router::new().route("/_", get(to_page)), |router, asset| {
            router.route(
                asset.path,
                get(move |headers: HeaderMap| async move { asset.answer(&headers) }),
            )
        })
}

impl Asset {
    fn answer(&self, request: &HeaderMap) -> Response {
        let headers = [
            (ETAG, TAG.clone()),
            // Kept, but asked about each time: the answer is mostly 304.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        if is_known(request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let content_type = [(CONTENT_TYPE, self.content_type)];
        (headers, content_type, self.content).into_response()
    }
}

/// Whether the client has this build's files already.
fn is_known(request: &HeaderMap) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == TAG.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::SHA512;
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = routes::<()>().oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(body.to_vec()).expect("text");
        (head.status, head.headers, text)
    }

    #[tokio::test]
    async fn every_file_the_page_names_is_served() {
        let (status, headers, page) = ask("/_/", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
        let names = page
            .split(['"'])
            .filter(|text| text.ends_with(".js") || text.ends_with(".css"));
        let mut count = 0;
        for name in names {
            let (status, _, content) = ask(&format!("/_/{name}"), None).await;
            assert_eq!(status, StatusCode::OK, "{name}");
            assert!(!content.is_empty(), "{name}");
            count += 1;
        }
        assert_eq!(count, ASSETS.len() - 1);
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let (_, headers, _) = ask("/_/page.js", None).await;
        let tag = headers[ETAG].to_str().expect("text").to_owned();
        for (sent, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"old\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("\"old\"".to_owned(), StatusCode::OK),
        ] {
            assert_eq!(ask("/_/page.js", Some(&sent)).await.0, status, "{sent}");
        }
    }

    #[tokio::test]
    async fn the_address_without_a_slash_leads_to_the_page() {
        let (status, headers, _) = ask("/_", None).await;
        assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(headers["location"], "_/");
    }

    /// The strict policy forbids them, so they would silently not work.
    #[test]
    fn the_page_has_no_inline_scripts_or_styles() {
        let page = ASSETS[0].content;
        for forbidden in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_vendored_client_is_the_one_in_the_lock() {
        let lock = include_str!("../../assets/vendor/README.md");
        let client = ASSETS[3].content;
        let hash = digest(&SHA512, client.as_bytes());
        let text = hex(hash.as_ref());
        assert!(
            lock.contains(&text),
            "{text} is not in assets/vendor/README.md"
        );
    }
}
