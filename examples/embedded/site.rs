//! The notice board: routes of its own, the feed's beside them, and a hook in each of the feed's stages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use futures_util::FutureExt;
use rowcast::app::{App, AppOptions, PartEnded};
use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::hooks::{Collections, Flow, Hooks, MessageFlow, Refusal};
use rowcast::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Streams at a time. A public board would allow more.
pub const SEATS: usize = 5;

const SCHEMA: &str = "
    create table if not exists public.notices (
        id text primary key default gen_random_uuid()::text,
        body text not null,
        email text not null
    );
    select rowcast.attach('public.notices', list_rule => '', view_rule => '', hidden => array['email']);";

/// The whole site, running.
pub struct Site {
    /// To be served with `ConnectInfo<SocketAddr>`, so that clients can be told apart.
    pub router: Router,
    /// Ends when it is told to stop.
    pub feed: JoinHandle<Result<(), PartEnded>>,
}

/// What the routes and the hooks share.
struct Board {
    database: Client,
    /// The client ids of the streams that are open.
    present: Mutex<BTreeSet<Arc<str>>>,
    /// Those that want to hear nothing for now.
    muted: Mutex<BTreeSet<Arc<str>>>,
    /// Why streams have ended.
    farewells: Mutex<Vec<&'static str>>,
}

/// Opens the site on a database.
pub async fn open(url: &str, shutdown: Shutdown) -> Result<Site, Error> {
    let options = DatabaseOptions::new(url);
    migrate(&Database::new(&options)?).await?;
    let (database, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    database.batch_execute(SCHEMA).await?;
    let board = Arc::new(Board {
        database,
        present: Mutex::default(),
        muted: Mutex::default(),
        farewells: Mutex::default(),
    });

    let app = App::new(AppOptions::new(options))?;
    take_hold(app.hooks(), &board);
    let own = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/notices", post(put_up))
        .route("/present", get(present))
        .route("/mute/{client}", post(mute))
        .with_state(board);
    // The feed answers whatever is not ours, also with its 404.
    let router = own.fallback_service(app.router());
    let mut health = app.health();
    let feed = tokio::spawn(app.run_feed(shutdown));
    health.live().await;
    Ok(Site { router, feed })
}

/// One hook for each stage.
fn take_hold(hooks: &Hooks, board: &Arc<Board>) {
    limit_and_greet(hooks, board);
    say_goodbye(hooks, board);

    // Subscribe: what is nobody's business is refused, and `*` is more than anybody needs here.
    hooks.subscribe.bind("modesty", 0, |subscribe| {
        async move {
            let mut wanted = subscribe.subscriptions.iter();
            if !subscribe.principal.is_superuser() && wanted.any(|one| one.topic() == "staff") {
                return Err(
                    Refusal::new(StatusCode::FORBIDDEN, "staff only").with_data("topic", "staff")
                );
            }
            subscribe.subscriptions.retain(|one| one.topic() != "*");
            Ok(Flow::Next)
        }
        .boxed()
    });

    // Message: for this stream only. It runs for every event of every stream and must not wait.
    let muting = Arc::clone(board);
    hooks.message.bind("mute", 0, move |message| {
        let muted = lock(&muting.muted).contains(&message.subscriber.client_id);
        match muted && message.name != "PB_CONNECT" {
            true => MessageFlow::Skip,
            false => MessageFlow::Next,
        }
    });

    // Enrich: everybody learns who wrote a notice, as far as it is anybody's business.
    let notices = Collections::named(["notices"]);
    hooks.enrich.bind("author", 0, notices, |enrich| {
        if enrich.principal.is_superuser() {
            return Ok(());
        }
        let email = enrich.record.get_hidden("email");
        let email = email.as_ref().and_then(|email| email.as_str());
        enrich
            .record
            .set("author", veiled(email.unwrap_or_default()))?;
        Ok(())
    });
}

/// Connect: as many as there are seats. A seat is free again when its stream has ended, however.
fn limit_and_greet(hooks: &Hooks, board: &Arc<Board>) {
    let seats = Arc::new(Semaphore::new(SEATS));
    hooks.connect.bind("seats", 0, move |connect| {
        let seats = Arc::clone(&seats);
        async move {
            let Ok(seat) = seats.try_acquire_owned() else {
                let full = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "all seats are taken");
                return Err(full
                    .with_data("seats", SEATS)
                    .retry_after(Duration::from_secs(5)));
            };
            connect.hold(seat);
            Ok(Flow::Next)
        }
        .boxed()
    });
    let board = Arc::clone(board);
    // Behind the seats, so that it hears only of those who have one.
    hooks.connect.bind("greet", 10, move |connect| {
        let board = Arc::clone(&board);
        async move {
            // A screen in the hall shows the board all day.
            if connect
                .uri
                .query()
                .is_some_and(|query| query.contains("kiosk"))
            {
                connect.idle_timeout = Duration::from_secs(24 * 3600);
                connect.lifetime = Duration::from_secs(24 * 3600);
            }
            let headers = &mut connect.response_headers;
            headers.insert("x-board", axum::http::HeaderValue::from_static("notices"));
            lock(&board.present).insert(Arc::clone(&connect.subscriber.client_id));
            Ok(Flow::Next)
        }
        .boxed()
    });
}

/// Disconnect: once for everybody who came, also for those who were refused.
fn say_goodbye(hooks: &Hooks, board: &Arc<Board>) {
    let board = Arc::clone(board);
    hooks.disconnect.bind("farewell", 0, move |disconnect| {
        let board = Arc::clone(&board);
        async move {
            lock(&board.present).remove(&disconnect.subscriber.client_id);
            lock(&board.muted).remove(&disconnect.subscriber.client_id);
            let mut farewells = lock(&board.farewells);
            if farewells.len() < 100 {
                farewells.push(disconnect.reason.as_str());
            }
        }
        .boxed()
    });
}

#[derive(Deserialize)]
struct Notice {
    body: String,
    email: String,
}

/// An ordinary route of the application: it writes a row and knows nothing of the feed.
async fn put_up(
    State(board): State<Arc<Board>>,
    Form(notice): Form<Notice>,
) -> Result<StatusCode, StatusCode> {
    let insert = "insert into public.notices (body, email) values ($1, $2)";
    let done = board
        .database
        .execute(insert, &[&notice.body, &notice.email])
        .await;
    done.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(StatusCode::CREATED)
}

#[derive(Serialize)]
struct Presence {
    present: usize,
    farewells: Vec<&'static str>,
}

async fn present(State(board): State<Arc<Board>>) -> Json<Presence> {
    Json(Presence {
        present: lock(&board.present).len(),
        farewells: lock(&board.farewells).clone(),
    })
}

async fn mute(State(board): State<Arc<Board>>, Path(client): Path<String>) -> StatusCode {
    let client: Arc<str> = client.into();
    // Nobody else's memory is filled with names that mean nothing.
    if !lock(&board.present).contains(&client) {
        return StatusCode::NOT_FOUND;
    }
    lock(&board.muted).insert(client);
    StatusCode::NO_CONTENT
}

/// `ann@example.com` as `a…@example.com`.
fn veiled(email: &str) -> String {
    match (email.chars().next(), email.split_once('@')) {
        (Some(first), Some((_, domain))) => format!("{first}…@{domain}"),
        _ => "somebody".to_owned(),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
