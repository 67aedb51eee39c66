//! The chat's own half: one table, a route that writes to it, and one that sends a message of its own. Everything
//! that is told comes from the feed.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use rowcast::app::{App, AppOptions};
use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::messages::{Messenger, NewMessage};
use rowcast::shutdown::Shutdown;
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

use super::shared::{Error, Site, script};

const SCHEMA: &str = "
    create table if not exists public.lines (
        id bigint generated always as identity primary key,
        room text not null,
        author text not null,
        body text not null
    );
    select rowcast.attach('public.lines', list_rule => '', view_rule => '');";

/// What the routes share.
struct Chat {
    database: Client,
    messenger: Messenger,
}

/// Opens the chat on a database; `packages` holds the SDK.
pub async fn open(url: String, packages: PathBuf, shutdown: Shutdown) -> Result<Site, Error> {
    let options = DatabaseOptions::new(&url);
    migrate(&Database::new(&options)?).await?;
    let (database, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    database.batch_execute(SCHEMA).await?;
    let sdk = script(&packages, "pocketbase/dist/pocketbase.umd.js")?;

    let app = App::new(AppOptions::new(options))?;
    let chat = Arc::new(Chat {
        database,
        messenger: app.messenger().clone(),
    });
    let own = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/pocketbase.js", sdk)
        .route("/lines", post(say))
        .route("/typing", post(typing))
        .with_state(chat);
    // The feed answers whatever is not ours.
    let router = own.fallback_service(app.router());
    let mut health = app.health();
    let feed = tokio::spawn(app.run_feed(shutdown));
    health.live().await;
    Ok(Site { router, feed })
}

#[derive(Deserialize)]
struct Line {
    room: String,
    author: String,
    body: String,
}

/// Writes a row; who hears of it is the feed's business.
async fn say(
    State(chat): State<Arc<Chat>>,
    Json(line): Json<Line>,
) -> Result<StatusCode, StatusCode> {
    let insert = "insert into public.lines (room, author, body) values ($1, $2, $3)";
    let values: [&(dyn ToSql + Sync); 3] = [&line.room, &line.author, &line.body];
    let done = chat.database.execute(insert, &values);
    done.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize)]
struct Typing {
    room: String,
    author: String,
}

/// Tells the room something that is no row.
async fn typing(
    State(chat): State<Arc<Chat>>,
    Json(typing): Json<Typing>,
) -> Result<StatusCode, StatusCode> {
    let topic = format!("typing/{}", typing.room);
    let message = NewMessage::new(topic, json!({ "author": typing.author }));
    let sent = chat.messenger.send(&message).await;
    // A room's name may be none for a topic.
    sent.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(StatusCode::NO_CONTENT)
}
