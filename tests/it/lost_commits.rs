//! Transactions that a crash of Postgres takes back, and gives their ids to others.

use rowcast::embedded::Cluster;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::crashes::migrated;
use crate::support::feed::{run, text};
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Sse, client, cluster_options, durable_cluster, eventually};

const TOPICS: &[&str] = &["posts/*"];
const BURST: usize = 40;

async fn open(server: &Server, last_id: Option<&str>) -> Sse {
    Sse::connect_plain(&server.base, TOPICS, last_id, |request| request).await
}

/// The ids of the records told of, up to `until`, and the position after that.
async fn read(stream: &mut Sse, until: &str) -> (Vec<String>, String) {
    let (mut ids, mut position) = (Vec::new(), String::new());
    loop {
        let event = stream.next_event(DEADLINE).await;
        position = event.id.clone().unwrap_or(position);
        if event.data.is_empty() {
            continue;
        }
        let (action, record) = event.change();
        assert_eq!(action, "create", "told {ids:?} so far");
        ids.push(record["id"].as_str().expect("a text").to_owned());
        if ids.last().is_some_and(|id| id == until) {
            return (ids, position);
        }
    }
}

/// One transaction each.
async fn insert(client: &Client, prefix: &str) {
    for number in 0..BURST {
        run(
            client,
            &format!("insert into posts values ('{prefix} {number}')"),
        )
        .await;
    }
}

fn assert_all(told: &[String], prefix: &str, who: &str) {
    let expected = (0..BURST).map(|number| format!("{prefix} {number}"));
    let missing: Vec<_> = expected.filter(|id| !told.contains(id)).collect();
    assert!(
        missing.is_empty(),
        "{who} was not told of {missing:?}, only of {told:?}"
    );
}

/// The first transaction that a position does not contain.
fn xmax(position: &str) -> u64 {
    let parts: Vec<_> = position.split(':').collect();
    let last = if parts.len() > 5 { parts[5] } else { parts[2] };
    last.parse().expect("a transaction")
}

/// Positions from before claim ids that others have by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_from_before_a_crash_is_told_of_transactions_with_ids_of_lost_ones() {
    let cluster = block_in_place(|| {
        let mut options = cluster_options();
        for (name, value) in [("synchronous_commit", "off"), ("wal_writer_delay", "10s")] {
            options.settings.push((name.to_owned(), value.to_owned()));
        }
        Cluster::start(&options).expect("a private Postgres")
    });
    let url = cluster.url("postgres");
    let mut admin = migrated(&url).await;
    run(
        &admin,
        "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '')",
    )
    .await;
    let survivor = Server::start_with(options(&url)).await;
    let mut live = open(&survivor, None).await;
    let mut round = 0;
    // The disk may be quicker than the crash.
    let (last_id, lost) = loop {
        round += 1;
        assert!(round <= 5, "no crash has lost anything");
        let before = text(&admin, "select durable_xid::text from rowcast.log_state").await;
        run(
            &admin,
            &format!("insert into posts values ('round {round}')"),
        )
        .await;
        read(&mut live, &format!("round {round}")).await;
        // Retention has been here just now, and does not come again for ten seconds.
        eventually(DEADLINE, || async {
            let after = text(&admin, "select durable_xid::text from rowcast.log_state").await;
            if after == before { Err(after) } else { Ok(()) }
        })
        .await;
        insert(&admin, &format!("lost {round}")).await;
        let until = format!("lost {round} {}", BURST - 1);
        let (told, position) = read(&mut live, &until).await;
        assert_eq!(told.len(), BURST, "{told:?}");
        block_in_place(|| {
            cluster.kill().expect("a kill");
            cluster.start_again().expect("a new start");
        });
        admin = client(&url).await;
        let kept = format!("select count(*)::text from posts where id like 'lost {round}%'");
        let kept: usize = text(&admin, &kept).await.parse().unwrap();
        if kept < BURST / 2 {
            break (position, BURST - kept);
        }
    };
    insert(&admin, "new").await;
    run(&admin, "insert into posts values ('end')").await;
    let claimed = format!(
        "select count(*)::text from posts where id like 'new%' and xmin::text::bigint < {}",
        xmax(&last_id)
    );
    let claimed = text(&admin, &claimed).await;
    assert_ne!(
        claimed, "0",
        "{lost} were lost, and no id of them was given again"
    );

    let (told, _) = read(&mut live, "end").await;
    assert_all(&told, "new", "a stream that stayed open");
    let (told, _) = read(&mut open(&survivor, Some(&last_id)).await, "end").await;
    assert_all(&told, "new", "who came back to the same server");
    survivor.stop().await;
    let fresh = Server::start_with(options(&url)).await;
    let (told, new_id) = read(&mut open(&fresh, Some(&last_id)).await, "end").await;
    assert_all(&told, "new", "who came back to another server");

    // And from now on exactly.
    run(&admin, "insert into posts values ('after')").await;
    let (told, _) = read(&mut open(&fresh, Some(&new_id)).await, "after").await;
    assert_eq!(told, ["after"]);
    // A life that this database never had.
    let unknown = new_id.replacen('.', ".x", 1);
    assert_ne!(unknown, new_id);
    let mut stranger = open(&fresh, Some(&unknown)).await;
    assert_eq!(next_action(&mut stranger).await, "resync");
    fresh.stop().await;
    drop(cluster);
}

/// Which ids were given twice nobody knows. So of the latest that an id from before a crash claims none is believed: neither
/// what was told, nor what happened before the stream began. What was on disk for certain is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_from_before_a_crash_is_told_what_was_lately_once_and_nothing_older() {
    let cluster = durable_cluster();
    let url = cluster.url("postgres");
    let admin = migrated(&url).await;
    run(
        &admin,
        "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '');
         insert into posts values ('old')",
    )
    .await;
    let server = Server::start_with(options(&url)).await;
    // Retention notes that when it looks for the first time.
    eventually(DEADLINE, || async {
        let noted = "select (durable_xid::text::bigint > (select p.xmin::text::bigint from posts p))::text \
            from rowcast.log_state";
        match &*text(&admin, noted).await {
            "true" => Ok(()),
            _ => Err("not noted to be on disk".to_owned()),
        }
    })
    .await;
    let mut witness = open(&server, None).await;
    run(&admin, "insert into posts values ('before')").await;
    read(&mut witness, "before").await;
    let mut live = open(&server, None).await;
    run(&admin, "insert into posts values ('heard')").await;
    let (told, last_id) = read(&mut live, "heard").await;
    assert_eq!(told, ["heard"]);
    block_in_place(|| {
        cluster.kill().expect("a kill");
        cluster.start_again().expect("a new start");
    });
    let admin = client(&url).await;
    run(&admin, "insert into posts values ('after')").await;

    let (told, _) = read(&mut live, "after").await;
    assert_eq!(told, ["after"], "a stream that stayed open");
    let doubted = "select string_agg(id, ' ' order by xmin::text::bigint) from posts \
        where xmin::text::bigint >= (select first_xid::text::bigint from rowcast.lives)";
    let doubted = text(&admin, doubted).await;
    assert!(doubted.ends_with("after"), "{doubted}");
    assert!(!doubted.contains("old"), "{doubted}");
    let mut back = open(&server, Some(&last_id)).await;
    let (told, new_id) = read(&mut back, "after").await;
    assert_eq!(told.join(" "), doubted, "who came back with {last_id}");
    run(&admin, "insert into posts values ('end')").await;
    assert_eq!(read(&mut back, "end").await.0, ["end"]);
    let (told, _) = read(&mut open(&server, Some(&new_id)).await, "end").await;
    assert_eq!(told, ["end"], "who came back with {new_id}");
    drop((witness, live, back));
    server.stop().await;
    drop(cluster);
}

async fn next_action(stream: &mut Sse) -> String {
    loop {
        let event = stream.next_event(DEADLINE).await;
        if !event.data.is_empty() {
            return event.change().0;
        }
    }
}
