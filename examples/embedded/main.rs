//! A notice board that embeds the feed: `cargo run --example embedded`, then open what it prints.
//!
//! Without `DATABASE_URL` it runs a private Postgres that is gone when it ends. What is worth reading
//! is in `site.rs`.

#![allow(clippy::print_stdout, reason = "an example speaks on the terminal")]

mod site;

use std::env;
use std::net::SocketAddr;

use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};
use rowcast::shutdown::Shutdown;
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let own = env::var("DATABASE_URL").ok();
    // Dropped at the end, and the database with it.
    let cluster = match &own {
        Some(_) => None,
        None => Some(tokio::task::spawn_blocking(start_postgres).await??),
    };
    let url = own.unwrap_or_else(|| {
        let cluster = cluster.as_ref().expect("started above");
        cluster.url("postgres")
    });
    let listener = TcpListener::bind(("127.0.0.1", port()?)).await?;
    println!("the notice board: http://{}", listener.local_addr()?);

    let shutdown = Shutdown::new();
    let site = site::open(&url, shutdown.clone()).await?;
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

fn port() -> Result<u16, Error> {
    Ok(env::var("PORT").map_or(Ok(8091), |port| port.parse())?)
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
