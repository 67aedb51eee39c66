//! `examples/htmx-chat`, run as the example runs it, with htmx and its extension in Chromium.

#[path = "../../../examples/htmx-chat/site.rs"]
mod site;

use rowcast::shutdown::Shutdown;

use super::chat::test_site;
use super::{declined, shared, web_packages};
use crate::support::database;

#[tokio::test]
async fn the_chat_without_javascript_of_its_own_works_in_chromium() {
    if declined() {
        return;
    }
    let (database, shutdown) = (database().await, Shutdown::new());
    let packages = web_packages().await;
    let site = site::open(database.url.clone(), packages.clone(), shutdown.clone()).await;
    let site = site.unwrap();
    let more = [("PEERS_PACKAGES", packages)];
    test_site("htmx.test.mjs", shutdown, site.router, site.feed, &more).await;
}
