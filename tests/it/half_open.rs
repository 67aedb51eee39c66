//! Connections of which one end is gone without a word: a cable that is pulled, a host that loses power.
//!
//! The wire is a pair of virtual interfaces, one of them in a network namespace of its own, which takes root. Pulling it
//! takes the far end's address away: what is sent there vanishes, and nothing comes back.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rowcast::app::AppOptions;
use rowcast::db::{Database, DatabaseOptions};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::Host;

use crate::support::feed::run;
use crate::support::ledger::{self, Replay, Writers, patient};
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Sse, TestDatabase, client, database, eventually};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A wire between here and a namespace; both are gone when dropped.
struct Wire {
    name: String,
    here: String,
    there: String,
}

impl Wire {
    /// `None`, and said so, for those who may not make one.
    fn lay() -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = format!("10.213.{}", id() % 250);
        let wire = Self {
            name: format!("rc{}x{number}", id()),
            here: format!("{net}.{}", number * 4 + 1),
            there: format!("{net}.{}", number * 4 + 2),
        };
        let Self { name, here, there } = &wire;
        let laid = [
            format!("netns add {name}"),
            format!("link add {name}h type veth peer name {name}t netns {name}"),
            format!("addr add {here}/30 dev {name}h"),
            format!("link set {name}h up"),
            format!("-n {name} addr add {there}/30 dev {name}t"),
            format!("-n {name} link set {name}t up"),
        ];
        for command in laid {
            if let Err(why) = ip(&command) {
                println!(
                    "SKIPPED: ip {command}: {why}; nothing was tested (it takes root and iproute2)"
                );
                return None;
            }
        }
        // Known for good, or the kernel would notice that nobody answers.
        let address =
            wire.inside(|name| fs::read_to_string(format!("/sys/class/net/{name}t/address")));
        let address = address.or_else(|_| wire.far_address());
        let address = address.expect("the far interface has an address");
        let known = format!(
            "neigh replace {there} lladdr {} dev {name}h nud permanent",
            address.trim()
        );
        ip(&known).expect("a neighbour");
        Some(wire)
    }

    /// What `/sys` of the namespace would say, which is mounted here for our own only.
    fn far_address(&self) -> std::io::Result<String> {
        let shown = ip(&format!("-n {0} -o link show dev {0}t", self.name));
        let shown = shown.map_err(std::io::Error::other)?;
        let mut words = shown
            .split_whitespace()
            .skip_while(|word| *word != "link/ether");
        words
            .nth(1)
            .map(str::to_owned)
            .ok_or_else(|| std::io::Error::other(shown.clone()))
    }

    fn pull(&self) {
        let Self { name, there, .. } = self;
        ip(&format!("-n {name} addr del {there}/30 dev {name}t")).expect("an address to take away");
    }

    fn mend(&self) {
        let Self { name, there, .. } = self;
        ip(&format!("-n {name} addr add {there}/30 dev {name}t")).expect("the address again");
    }

    /// Does something in the namespace. Sockets stay where they were made.
    fn inside<T: Send>(&self, act: impl FnOnce(&str) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace =
                    File::open(format!("/run/netns/{}", self.name)).expect("it is there");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                act(&self.name)
            });
            thread.join().expect("no panic")
        })
    }

    /// The address at which a database is found at the far end.
    fn database(&self, database: &TestDatabase) -> String {
        let listener =
            self.inside(|_| StdListener::bind((self.there.as_str(), 0)).expect("a port"));
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let config: tokio_postgres::Config = database.url.parse().unwrap();
        let (host, port) = (config.get_hosts()[0].clone(), config.get_ports()[0]);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let host = host.clone();
                tokio::spawn(async move {
                    // Whatever happens to one of the two ends the other.
                    let _ = match host {
                        Host::Unix(folder) => {
                            let socket = folder.join(format!(".s.PGSQL.{port}"));
                            let mut far = UnixStream::connect(socket).await.unwrap();
                            copy_bidirectional(&mut near, &mut far).await
                        }
                        Host::Tcp(name) => {
                            let mut far = TcpStream::connect((name, port)).await.unwrap();
                            copy_bidirectional(&mut near, &mut far).await
                        }
                    };
                });
            }
        });
        let user = config.get_user().unwrap();
        let password = config
            .get_password()
            .map(|word| format!(":{}", String::from_utf8_lossy(word)));
        let password = password.unwrap_or_default();
        format!(
            "postgres://{user}{password}@{address}/{}?sslmode=disable",
            database.name
        )
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.name));
        let _ = ip(&format!("link del {}h", self.name));
    }
}

fn ip(command: &str) -> Result<String, String> {
    let done = Command::new("ip").args(command.split_whitespace()).output();
    let done = done.map_err(|error| error.to_string())?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_to_postgres_that_is_pulled_under_load_is_noticed_in_time_and_nothing_is_lost() {
    let Some(wire) = block_in_place(Wire::lay) else {
        return;
    };
    let database = database().await;
    let admin = client(&database.url).await;
    ledger::create(&admin).await;
    let mut options = patient(options(&wire.database(&database)));
    let answer_deadline = Duration::from_secs(2);
    options.capture.answer_deadline = answer_deadline;
    let server = Server::start_with(options).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writers = Writers::start(&database.url, 4, 13);
    writers.commit(60).await;
    assert_eq!(server.metrics.capture_failures.get(), 0);
    block_in_place(|| wire.pull());
    let pulled_at = Instant::now();
    writers.commit(60).await;
    eventually(DEADLINE, || async {
        match server.metrics.capture_failures.get() {
            0 => Err("no failure noticed"),
            _ => Ok(()),
        }
    })
    .await;
    let noticed = pulled_at.elapsed();
    // The machine may be busy; the kernel alone would take half a minute.
    assert!(noticed < answer_deadline * 4, "noticed after {noticed:?}");
    block_in_place(|| wire.mend());
    writers.commit(60).await;
    writers.stop().await;
    ledger::finish(&admin).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&admin).await;
}

/// Not every wait has a deadline of its own; the kernel's is what is left then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_to_postgres_and_never_acknowledged_fails_within_half_a_minute() {
    let Some(wire) = block_in_place(Wire::lay) else {
        return;
    };
    let database = database().await;
    let far = Database::new(&DatabaseOptions::new(wire.database(&database))).unwrap();
    let pooled = far.pool().get().await.expect("a connection");
    pooled.batch_execute("select 1").await.expect("an answer");
    block_in_place(|| wire.pull());
    let pulled_at = Instant::now();
    let answer = timeout(Duration::from_secs(50), pooled.batch_execute("select 2")).await;
    let error = answer
        .expect("it does not wait for a quarter of an hour")
        .expect_err("no answer");
    let noticed = pulled_at.elapsed();
    assert!(pooled.is_closed(), "{error:?}");
    assert!(
        noticed > Duration::from_secs(20),
        "{noticed:?}: something else ended it: {error:?}"
    );
    block_in_place(|| wire.mend());
    let again = far.pool().get().await.expect("another connection");
    again.batch_execute("select 3").await.expect("an answer");
}

/// Reads the head of a stream, up to so many ids; returns the last.
async fn read_ids(stream: &mut TcpStream, ids: usize) -> String {
    let mut text = String::new();
    let read = async {
        while text.matches("\nid:").count() < ids || !text.ends_with("\n\n") {
            text.push(char::from(stream.read_u8().await.expect("a byte")));
        }
    };
    let read = timeout(DEADLINE, read).await;
    assert!(read.is_ok(), "{ids} ids are not in {text}");
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id:"));
    ids.next_back().expect("an id").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_without_a_word_is_let_go_and_misses_nothing_when_it_comes_back() {
    let Some(wire) = block_in_place(Wire::lay) else {
        return;
    };
    let database = database().await;
    let admin = client(&database.url).await;
    run(
        &admin,
        "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '')",
    )
    .await;
    let address: SocketAddr = format!("{}:0", wire.here).parse().unwrap();
    let options: AppOptions = options(&database.url);
    let server = Server::start_unready(options, address).await;
    let mut health = server.health.clone();
    health.live().await;
    let neighbour = server.subscribe(&["posts/*"]).await;
    let near: SocketAddr = server.base.trim_start_matches("http://").parse().unwrap();
    let far = wire.inside(|_| StdStream::connect(near).expect("a way there"));
    far.set_nonblocking(true).unwrap();
    let mut far = TcpStream::from_std(far).unwrap();
    let request = "GET /api/realtime?subscriptions=posts%2F* HTTP/1.1\r\nHost: x\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    // The first mark, and an event; PB_CONNECT has no id here.
    read_ids(&mut far, 1).await;
    run(&admin, "insert into posts values ('before')").await;
    let last_id = read_ids(&mut far, 1).await;
    assert_eq!(server.metrics.subscribers.get(), 2);
    block_in_place(|| wire.pull());
    let pulled_at = Instant::now();
    run(&admin, "insert into posts values ('away 1')").await;
    eventually(Duration::from_secs(40), || async {
        match server.metrics.subscribers.get() {
            1 => Ok(()),
            seen => Err(format!("{seen} subscribers")),
        }
    })
    .await;
    let noticed = pulled_at.elapsed();
    // Twenty seconds unacknowledged, which is less than what is told again to those who come back by key.
    assert!(
        (Duration::from_secs(15)..Duration::from_secs(29)).contains(&noticed),
        "noticed after {noticed:?}"
    );
    run(&admin, "insert into posts values ('away 2')").await;
    block_in_place(|| wire.mend());
    let mut again = Sse::connect_plain(&server.base, &["posts/*"], Some(&last_id), |request| {
        request
    })
    .await;
    let mut missed = Vec::new();
    while missed.len() < 2 {
        let event = again.next_event(DEADLINE).await;
        if !event.data.is_empty() {
            missed.push(event.change().1["id"].clone());
        }
    }
    assert_eq!(missed, ["away 1", "away 2"]);
    drop(neighbour);
}
