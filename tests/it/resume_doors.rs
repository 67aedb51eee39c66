//! Coming back as somebody: by key, by header, by query.

use tokio_postgres::Client;

use crate::support::people::{BCRYPT, token};
use crate::support::server::options;
use crate::support::{DEADLINE, Server, Sse, TestDatabase, client, database};

const KEYED: &str = r#"posts/*?options={"query":{"resume":"of-a-member"}}"#;
const OWN: &str = "owner = @request.auth.id";

struct Site {
    _database: TestDatabase,
    client: Client,
    server: Server,
}

impl Site {
    async fn open() -> Self {
        let database = database().await;
        let client = client(&database.url).await;
        let server = Server::start_with(options(&database.url)).await;
        let site = Self {
            _database: database,
            client,
            server,
        };
        let setup = format!(
            "create table members (id text primary key, email text unique, password_hash text);
             create table posts (id text primary key, owner text);
             insert into members values ('anna', 'anna@x.org', '{BCRYPT}'), ('ben', 'ben@x.org', '{BCRYPT}');
             select rowcast.attach('members', kind => 'auth', password => 'password_hash', identity => array['email']);
             select rowcast.attach('posts', list_rule => '{OWN}', view_rule => '{OWN}')"
        );
        site.run(&setup).await;
        site
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.expect(sql);
    }

    async fn token(&self, name: &str) -> String {
        token(&self.server, &format!("{name}@x.org")).await
    }

    async fn stream(&self, token: &str, topics: &[&str]) -> Sse {
        let stream = Sse::connect(&self.server.base).await;
        stream.subscribe_as(token, topics).await;
        stream
    }
}

/// The records told of up to one, and the last position until then.
async fn read(stream: &mut Sse, until: &str) -> (Vec<String>, Option<String>) {
    let (mut ids, mut position) = (Vec::new(), None);
    while ids.last().is_none_or(|id| id != until) {
        let event = stream.next_event(DEADLINE).await;
        position = event.id.clone().or(position);
        if !event.data.is_empty() {
            let id = event.change().1["id"].as_str().map(str::to_owned);
            ids.push(id.expect("a text"));
        }
    }
    (ids, position)
}

#[tokio::test]
async fn a_key_is_its_owners_alone_and_tells_again_what_the_owner_may_see() {
    let site = Site::open().await;
    let (anna, ben) = (site.token("anna").await, site.token("ben").await);
    let mut stream = site.stream(&anna, &[KEYED]).await;
    site.run("insert into posts values ('a0', 'anna'), ('b0', 'ben')")
        .await;
    assert_eq!(read(&mut stream, "a0").await.0, ["a0"]);
    drop(stream);
    site.run("insert into posts values ('b1', 'ben'), ('a1', 'anna'); insert into posts values ('a2', 'anna')")
        .await;
    // The same words are another key for somebody else, and nothing of a guest's.
    let mut other = site.stream(&ben, &[KEYED]).await;
    let mut again = site.stream(&anna, &[KEYED]).await;
    let (told, _) = read(&mut again, "a2").await;
    assert!(told.ends_with(&["a1".into(), "a2".into()]), "{told:?}");
    assert!(told.iter().all(|id| id.starts_with('a')), "{told:?}");
    site.run("insert into posts values ('b2', 'ben')").await;
    assert_eq!(read(&mut other, "b2").await.0, ["b2"]);
}

#[tokio::test]
async fn an_event_source_says_who_it_is_by_a_header_and_where_it_was_in_the_query() {
    let site = Site::open().await;
    let anna = site.token("anna").await;
    let path = "/api/realtime?subscriptions=posts%2F*";
    let as_anna = |request: reqwest::RequestBuilder| request.header("Authorization", &anna);
    let mut stream = Sse::connect_at(&site.server.base, path, as_anna).await;
    let mut guest = Sse::connect_at(&site.server.base, path, |request| request).await;
    site.run("insert into posts values ('b0', 'ben'); insert into posts values ('a0', 'anna')")
        .await;
    let (told, position) = read(&mut stream, "a0").await;
    assert_eq!(told, ["a0"]);
    drop(stream);
    site.run("insert into posts values ('b1', 'ben'); insert into posts values ('a1', 'anna')")
        .await;
    let position = position.expect("a position");
    let encoded: String = form_urlencoded::byte_serialize(position.as_bytes()).collect();
    let back = format!("{path}&lastEventId={encoded}");
    let mut again = Sse::connect_at(&site.server.base, &back, as_anna).await;
    assert_eq!(read(&mut again, "a1").await.0, ["a1"]);
    // What a browser sends by itself is newer than what the page put into the address.
    let newer = again.seen().iter().rev().find_map(|event| event.id.clone());
    let newer = newer.expect("a position");
    site.run("insert into posts values ('a2', 'anna')").await;
    let both = |request: reqwest::RequestBuilder| as_anna(request).header("Last-Event-ID", &newer);
    let mut again = Sse::connect_at(&site.server.base, &back, both).await;
    assert_eq!(read(&mut again, "a2").await.0, ["a2"]);
    // A guest was told where it is all the while, and of nothing.
    site.run(
        "select rowcast.set_rule('posts', 'list', ''); insert into posts values ('all', 'ben')",
    )
    .await;
    assert_eq!(read(&mut guest, "all").await.0, ["all"]);
}

/// What is over a limit is not remembered, and counted.
#[tokio::test]
async fn more_keys_than_may_be_are_counted_and_the_rest_goes_on() {
    let site = Site::open().await;
    site.run("select rowcast.set_rule('posts', 'list', '')")
        .await;
    let topics: Vec<String> = (0..103)
        .map(|n| format!(r#"posts/*?options={{"query":{{"resume":"0123456789abcdef{n}"}}}}"#))
        .collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let stream = site.server.subscribe(&topics).await;
    let text = site.server.metrics.encode();
    assert!(
        text.contains(r#"rowcast_resume_keys_refused_total{reason="subscriber"} 3"#),
        "{text}"
    );
    drop(stream);
}

/// Each record is larger than what waits for a client that does not read, so that most are decided about afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_revoked_while_the_past_is_told_opens_no_more_of_it() {
    const PAST: usize = 600;
    let database = database().await;
    let client = client(&database.url).await;
    let setup = format!(
        "create table members (id text primary key, email text unique, password_hash text);
         create table plans (id text primary key, body text);
         create table news (id text primary key);
         insert into members values ('anna', 'anna@x.org', '{BCRYPT}');
         select rowcast.attach('members', kind => 'auth', password => 'password_hash', identity => array['email']);
         select rowcast.attach('plans');
         select rowcast.attach('news', list_rule => '');
         insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values ('p', 'role:planner', 'plans', 'list', '', 'allow');
         insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'members/anna', 'role:planner')"
    );
    client.batch_execute(&setup).await.expect("the setup");
    for history_frames in [10_000, 1] {
        let mut options = options(&database.url);
        options.hub.mailbox_frames = 16;
        options.hub.history_frames = history_frames;
        let server = Server::start_with(options).await;
        let anna = token(&server, "anna@x.org").await;
        let open = async |last_id: Option<&str>| {
            let topics = ["plans/*", "news/*"];
            Sse::connect_plain(&server.base, &topics, last_id, |request| {
                request.header("Authorization", &anna)
            })
            .await
        };
        let insert = async |table: &str, id: &str| {
            let sql = format!("insert into {table} (id) values ('{id} {history_frames}')");
            client.batch_execute(&sql).await.expect("an insert");
        };
        let mut stream = open(None).await;
        insert("plans", "seen").await;
        let (_, last_id) = read(&mut stream, &format!("seen {history_frames}")).await;
        drop(stream);
        for part in 0..PAST / 10 {
            let sql = format!(
                "insert into plans select 'past {history_frames} {part} ' || i, repeat('x', 50000) from generate_series(1, 10) i"
            );
            client.batch_execute(&sql).await.expect("an insert");
        }
        let mut again = open(last_id.as_deref()).await;
        let (told, _) = read(&mut again, &format!("past {history_frames} 0 5")).await;
        assert_eq!(told.len(), 5, "{told:?}");
        client
            .batch_execute("delete from rowcast.casbin_rule where ptype = 'g'")
            .await
            .expect("a revocation");
        let mut witness = open(None).await;
        insert("plans", "secret").await;
        insert("news", "end").await;
        let end = format!("end {history_frames}");
        assert_eq!(read(&mut witness, &end).await.0, [end.as_str()]);
        // From here on nobody decides by the role any more; what was decided before may be under way.
        let (told, _) = read(&mut again, &end).await;
        assert!(told.len() < PAST - 100, "{} records", told.len());
        assert!(!told.iter().any(|id| id.starts_with("secret")), "{told:?}");
        client
            .batch_execute("insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'members/anna', 'role:planner')")
            .await
            .expect("a grant");
    }
}
