//! Connections, TLS and migrations against a real server.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use rowcast::db::{ConnectError, ConnectFault, Database, DatabaseOptions, MigrateError, migrate};
use rowcast::embedded::{Cluster, Tcp};
use tokio_postgres::Client;

use crate::support::{client, cluster_options, database, empty_database};

fn open(url: impl Into<String>) -> Database {
    Database::new(&DatabaseOptions::new(url)).expect("a good address")
}

#[tokio::test]
async fn six_processes_may_migrate_at_once_and_one_of_them_does() {
    let fresh = empty_database().await;
    let databases: Vec<_> = (0..6).map(|_| open(&fresh.url)).collect();
    let outcomes = join_all(databases.iter().map(migrate)).await;
    let mut applied: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("everybody succeeds").len())
        .collect();
    applied.sort_unstable();
    let all = fs::read_dir("migrations").unwrap().count();
    assert_eq!(applied, [0, 0, 0, 0, 0, all]);
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_ask_for_and_may_then_migrate() {
    let fresh = empty_database().await;
    let admin = client(&fresh.url).await;
    let role = format!("poor_{}", fresh.name);
    let setup = format!(
        "create role {role} login; revoke create on database {} from public",
        fresh.name
    );
    admin.batch_execute(&setup).await.unwrap();
    let poor = open(as_role(&fresh.url, &role));
    let error = migrate(&poor).await.expect_err("no right to create");
    assert!(matches!(error, MigrateError::Denied { .. }), "{error:?}");
    let remedy = format!("create schema if not exists rowcast authorization \"{role}\"");
    assert!(error.to_string().ends_with(&remedy), "{error}");
    admin.batch_execute(&remedy).await.unwrap();
    assert!(!migrate(&poor).await.expect("its own schema").is_empty());
    let cleanup = format!("drop owned by {role}; drop role {role}");
    admin.batch_execute(&cleanup).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let migrated = database().await;
    let admin = client(&migrated.url).await;
    let later = "insert into rowcast.schema_history (version, name, applied_on, checksum)
                 values (9999, 'later', '2026-01-01T00:00:00Z', '1')";
    admin.batch_execute(later).await.unwrap();
    let error = migrate(&open(&migrated.url)).await.expect_err("too new");
    assert!(matches!(error, MigrateError::OtherVersion(_)), "{error:?}");
}

#[tokio::test]
async fn a_wrong_login_a_wrong_name_and_a_wrong_port_are_told_apart() {
    let cluster = cluster(&[]);
    let good = cluster.tcp_url("postgres").expect("it listens");
    let port = good
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    for (url, fault) in [
        (
            format!("postgres://postgres:geheim@127.0.0.1:{port}/postgres"),
            ConnectFault::Denied,
        ),
        (
            cluster.tcp_url("nothing").expect("it listens"),
            ConnectFault::NoSuchDatabase,
        ),
        (
            "postgres://postgres:geheim@127.0.0.1:1/postgres".to_owned(),
            ConnectFault::Unreachable,
        ),
    ] {
        let error = refused(&url).await;
        assert_eq!(error.fault, fault, "{error:?}");
        assert!(
            !format!("{error:?} {error}").contains("geheim"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn sslmode_means_what_it_means_to_libpq() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
    let file = |name: &str| certificates.join(name).display().to_string();
    let cluster = cluster_with_tls(&certificates).await;
    let good = cluster.tcp_url("postgres").expect("it listens");
    let ours = format!("sslrootcert={}", file("authority.crt"));
    let pinned = format!("sslrootcert={}", file("server.crt"));
    let strange = format!("sslrootcert={}", file("stranger.crt"));
    // Whether the session is encrypted, or the words of the refusal.
    for (host, options, outcome) in [
        ("localhost", "sslmode=disable".to_owned(), Ok(false)),
        ("localhost", String::new(), Ok(true)),
        ("localhost", "sslmode=allow".to_owned(), Ok(true)),
        ("localhost", "sslmode=prefer".to_owned(), Ok(true)),
        ("localhost", "sslmode=require".to_owned(), Ok(true)),
        ("localhost", format!("sslmode=require&{ours}"), Ok(true)),
        (
            "localhost",
            format!("sslmode=require&{strange}"),
            Err("UnknownIssuer"),
        ),
        (
            "localhost",
            "sslmode=verify-ca".to_owned(),
            Err("UnknownIssuer"),
        ),
        (
            "localhost",
            "sslmode=verify-full".to_owned(),
            Err("UnknownIssuer"),
        ),
        ("localhost", format!("sslmode=verify-ca&{ours}"), Ok(true)),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}"), Ok(true)),
        ("localhost", format!("sslmode=verify-full&{ours}"), Ok(true)),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{ours}"),
            Err("not valid for name"),
        ),
        (
            "localhost",
            format!("sslmode=verify-full&{strange}"),
            Err("UnknownIssuer"),
        ),
        (
            "localhost",
            format!("sslmode=verify-full&{pinned}"),
            Ok(true),
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{pinned}"),
            Err("not valid for name"),
        ),
    ] {
        let url = good.replace("127.0.0.1", host);
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}{options}");
        let seen = match open(&url).connect("tls test").await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(is_encrypted(&client).await)
            }
            Err(error) => Err(chain(&error)),
        };
        match (&seen, outcome) {
            (Ok(seen), Ok(wanted)) if *seen == wanted => {}
            (Err(said), Err(word)) if said.contains(word) => {}
            (_, wanted) => panic!("{host} {options}: {seen:?}, not {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let cluster = cluster(&[]);
    let url = cluster.tcp_url("postgres").expect("it listens");
    let error = refused(&format!("{url}?sslmode=require")).await;
    assert_eq!(error.fault, ConnectFault::Tls, "{error:?}");
    assert!(error.to_string().contains("sslmode=disable"), "{error}");
    let plain = open(format!("{url}?sslmode=prefer"));
    assert!(plain.connect("test").await.is_ok(), "works without TLS");
}

async fn refused(url: &str) -> ConnectError {
    match open(url).connect("test").await {
        Ok(_) => panic!("{url} lets us in"),
        Err(error) => error,
    }
}

async fn is_encrypted(client: &Client) -> bool {
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    client.query_one(encrypted, &[]).await.unwrap().get(0)
}

fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The same database for another role, over the server's socket, which trusts everybody.
fn as_role(url: &str, role: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}user={role}")
}

fn cluster(settings: &[(&str, &str)]) -> Cluster {
    let mut options = cluster_options();
    options.tcp = Tcp::Free;
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    options.settings.extend(settings);
    Cluster::start(&options).expect("a private Postgres")
}

/// A server with a certificate; TLS is switched on while it runs, as its folder is made by its start.
async fn cluster_with_tls(certificates: &Path) -> Cluster {
    let cluster = cluster(&[]);
    let admin = client(&cluster.url("postgres")).await;
    let data: String = admin
        .query_one("show data_directory", &[])
        .await
        .unwrap()
        .get(0);
    let data = PathBuf::from(data);
    let owner = fs::metadata(&data).unwrap();
    for name in ["server.crt", "server.key"] {
        let file = data.join(name);
        fs::copy(certificates.join(name), &file).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        // Postgres refuses a key that others may read.
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    admin
        .batch_execute("alter system set ssl = on")
        .await
        .unwrap();
    admin
        .batch_execute("select pg_reload_conf()")
        .await
        .unwrap();
    crate::support::eventually(crate::support::DEADLINE, || async {
        let on: String = admin.query_one("show ssl", &[]).await.unwrap().get(0);
        if on == "on" { Ok(()) } else { Err(on) }
    })
    .await;
    cluster
}
