//! The chat's own half: one table, and routes that write to it. What pages show comes from templates, for those who
//! load it and those who are told alike.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{delete, get, post};
use axum::{Form, Router};
use rowcast::app::{App, AppOptions};
use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::shutdown::Shutdown;
use rowcast::templates::Templates;
use serde::Deserialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

use super::shared::{Error, Site, script};

const SCHEMA: &str = "
    create table if not exists public.lines (
        id bigint generated always as identity primary key,
        author text not null,
        body text not null
    );
    select rowcast.attach('public.lines', list_rule => '', view_rule => '');
    select rowcast.set_templates('lines', on_create => 'line.html', on_delete => 'gone.html');";

/// A row, and a message that comes with it or not at all.
const SAY: &str = "
    with line as (insert into public.lines (author, body) values ($1, $2))
    select rowcast.send('latest', template => 'latest.html', context => jsonb_build_object('author', $1::text))";

const LINES: &str = "
    select coalesce(jsonb_agg(jsonb_build_object('record', l) order by l.id), '[]')::text
    from (select id, author, body from public.lines order by id desc limit 50) l";

/// What the routes share.
struct Chat {
    database: Client,
    templates: Templates,
}

/// Opens the chat on a database; `packages` holds htmx and its extension.
pub async fn open(url: String, packages: PathBuf, shutdown: Shutdown) -> Result<Site, Error> {
    let options = DatabaseOptions::new(&url);
    migrate(&Database::new(&options)?).await?;
    let (database, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    database.batch_execute(SCHEMA).await?;
    let htmx = script(&packages, "htmx.org/dist/htmx.min.js")?;
    let sse = script(&packages, "htmx-ext-sse/dist/sse.min.js")?;

    let mut options = AppOptions::new(options);
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("examples/htmx-chat/templates");
    options.templates = Some(folder);
    let app = App::new(options)?;
    let chat = Arc::new(Chat {
        database,
        templates: app.templates().clone(),
    });
    let own = Router::new()
        .route("/", get(page))
        .route("/htmx.js", htmx)
        .route("/sse.js", sse)
        .route("/lines", get(lines).merge(post(say)))
        .route("/lines/{id}", delete(take_back))
        .with_state(chat);
    // The feed answers whatever is not ours.
    let router = own.fallback_service(app.router());
    let mut health = app.health();
    let feed = tokio::spawn(app.run_feed(shutdown));
    health.live().await;
    Ok(Site { router, feed })
}

type Answer = Result<Html<String>, StatusCode>;

impl Chat {
    fn show(&self, template: &str, context: &str) -> Answer {
        let html = self.templates.render(template, context);
        html.map(Html).map_err(failed)
    }
}

async fn page(State(chat): State<Arc<Chat>>) -> Answer {
    chat.show("page.html", "{}")
}

/// What was said before the page's stream was open.
async fn lines(State(chat): State<Arc<Chat>>) -> Answer {
    let row = chat.database.query_one(LINES, &[]).await.map_err(failed)?;
    let lines: &str = row.get(0);
    chat.show("lines.html", &format!(r#"{{"lines":{lines}}}"#))
}

#[derive(Deserialize)]
struct Line {
    author: String,
    body: String,
}

/// Writes a row and answers with an empty field. The line itself comes by the stream, as for everybody.
async fn say(State(chat): State<Arc<Chat>>, Form(line): Form<Line>) -> Answer {
    let values: [&(dyn ToSql + Sync); 2] = [&line.author, &line.body];
    let said = chat.database.query(SAY, &values).await;
    said.map_err(failed)?;
    chat.show("field.html", "{}")
}

async fn take_back(
    State(chat): State<Arc<Chat>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, StatusCode> {
    let delete = "delete from public.lines where id = $1";
    let done = chat.database.execute(delete, &[&id]).await;
    done.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn failed<E>(_: E) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}
