//! What the chats have in common: a database, the packages of their pages, and an orderly end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::{MethodRouter, get};
use rowcast::app::PartEnded;
use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};
use rowcast::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A site that is open: what it answers with, and the feed that runs beside it.
pub struct Site {
    /// To be served with `ConnectInfo<SocketAddr>`, so that clients can be told apart.
    pub router: Router,
    /// Ends when it is told to stop.
    pub feed: JoinHandle<Result<(), PartEnded>>,
}

/// Opens a site on `DATABASE_URL`, or on a private Postgres that is gone when this ends, and serves it until it
/// is told to stop. `PORT` is where, instead of the usual port.
pub async fn serve(
    name: &str,
    port: u16,
    open: impl AsyncFnOnce(String, PathBuf, Shutdown) -> Result<Site, Error>,
) -> Result<(), Error> {
    let own = env::var("DATABASE_URL").ok();
    // Dropped at the end, and the database with it.
    let cluster = match &own {
        Some(_) => None,
        None => Some(spawn_blocking(start_postgres).await??),
    };
    let url = own.unwrap_or_else(|| {
        let cluster = cluster.as_ref().expect("started above");
        cluster.url("postgres")
    });
    let packages = spawn_blocking(packages).await??;
    let port = env::var("PORT").map_or(Ok(port), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let shutdown = Shutdown::new();
    let site = open(url, packages, shutdown.clone()).await?;
    println!("{name}: http://{}", listener.local_addr()?);
    tokio::spawn(shutdown.clone().on_signals());
    let service = site
        .router
        .into_make_service_with_connect_info::<SocketAddr>();
    let stop = shutdown.soft.clone();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await?;
    site.feed.await??;
    Ok(())
}

/// A route for a script of a package.
pub fn script<S: Clone + Send + Sync + 'static>(
    packages: &Path,
    path: &str,
) -> Result<MethodRouter<S>, Error> {
    let path = packages.join(path);
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = Bytes::from(text);
    let javascript = [(header::CONTENT_TYPE, "text/javascript")];
    Ok(get(move || async move { (javascript, text) }))
}

fn start_postgres() -> Result<Cluster, Error> {
    let binaries = Binaries::find(&Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: env::home_dir().map(|home| home.join(".cache")),
        offline: false,
    })?;
    Ok(Cluster::start(&ClusterOptions::new(binaries))?)
}

/// The packages that pages load, fetched with npm the first time.
fn packages() -> Result<PathBuf, Error> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web");
    let packages = web.join("node_modules");
    // Another example may be fetching them; this one waits for it.
    let turn = fs::File::open(web.join("package-lock.json"))?;
    turn.lock()?;
    // npm writes this last.
    if !packages.join(".package-lock.json").exists() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        let status = npm.current_dir(&web).status();
        let status =
            status.map_err(|error| format!("npm, which fetches the page's packages: {error}"))?;
        if !status.success() {
            return Err(format!("npm ci in {} ended with {status}", web.display()).into());
        }
    }
    Ok(packages)
}
