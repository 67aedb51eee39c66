//! `examples/chat`, run as the example runs it, with the official SDK in Chromium.

#[path = "../../../examples/chat/site.rs"]
mod site;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use rowcast::app::PartEnded;
use rowcast::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{chromium, declined, run_tests, shared, web_packages};
use crate::support::{DEADLINE, database, within};

/// Serves a site, runs a file of tests against it, and stops it in good order.
pub(super) async fn test_site(
    file: &str,
    shutdown: Shutdown,
    router: Router,
    feed: JoinHandle<Result<(), PartEnded>>,
    more: &[(&str, PathBuf)],
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = shutdown.soft.clone();
    let served = axum::serve(listener, service);
    let served = served.with_graceful_shutdown(async move { stop.cancelled().await });
    let server = tokio::spawn(async move { served.await.unwrap() });
    let own = [
        ("PEERS_CHROMIUM", chromium()),
        ("PEERS_SITE_URL", PathBuf::from(&base)),
    ];
    run_tests(file, &[&own, more].concat()).await;
    shutdown.soft.cancel();
    within(DEADLINE, "the server to end", server).await.unwrap();
    let feed = within(DEADLINE, "the feed to end", feed).await;
    feed.unwrap().unwrap();
}

#[tokio::test]
async fn the_chat_of_the_sdk_works_in_chromium() {
    if declined() {
        return;
    }
    let (database, shutdown) = (database().await, Shutdown::new());
    let packages = web_packages().await;
    let site = site::open(database.url.clone(), packages, shutdown.clone()).await;
    let site = site.unwrap();
    test_site("chat.test.mjs", shutdown, site.router, site.feed, &[]).await;
}
