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
