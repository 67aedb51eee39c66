//! Tokens of auth records under attack, and what becomes of open streams when they end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::StatusCode;
use rowcast::auth::{Authenticator, Principal};
use rowcast::db::{Database, DatabaseOptions};
use rowcast::hub::TokenExpiry;
use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, Sse, TestDatabase, client, database, eventually, server};

const KEYED: &str = "
    create table keyed (id text primary key, email text unique, name text default '', tk text);
    create table others (id text primary key, email text unique, name text default '', tk text);
    select rowcast.attach('keyed', kind => 'auth', token_key => 'tk', list_rule => '', view_rule => '');
    select rowcast.attach('others', kind => 'auth', token_key => 'tk', list_rule => '', view_rule => '');
    insert into keyed values ('anna', 'anna@x', '', 'key-of-anna'), ('ben', 'ben@x', '', 'key-of-ben'),
        ('nokey', 'n@x', '', ''), ('null', 'u@x', '', null);
    insert into others values ('anna', 'anna@x', '', 'key-of-anna');
    insert into rowcast.secrets
    select 'auth_token.' || id, case name when 'keyed' then 'secret-of-keyed' else 'secret-of-others' end
    from rowcast.collections;
";
const KEY: &str = "key-of-annasecret-of-keyed";

struct Site {
    database: TestDatabase,
    admin: tokio_postgres::Client,
    keyed: String,
    others: String,
}

impl Site {
    async fn open() -> Self {
        let database = database().await;
        let admin = client(&database.url).await;
        admin.batch_execute(KEYED).await.unwrap();
        let rows = admin
            .query("select id from rowcast.collections order by name", &[])
            .await
            .unwrap();
        Self {
            database,
            admin,
            keyed: rows[0].get(0),
            others: rows[1].get(0),
        }
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({
            "collectionId": self.keyed, "exp": in_seconds(600), "id": "anna", "refreshable": true, "type": "auth",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn token(&self, changes: Value) -> String {
        signed(&self.claims(changes), KEY)
    }

    async fn server(&self, expiry: TokenExpiry) -> Server {
        let mut options = server::options(&self.database.url);
        options.hub.token_expiry = expiry;
        Server::start_with(options).await
    }
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

fn signed(claims: &Value, key: &str) -> String {
    signed_with(Algorithm::HS256, claims, key)
}

fn signed_with(algorithm: Algorithm, claims: &Value, key: &str) -> String {
    let key = EncodingKey::from_secret(key.as_bytes());
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

#[tokio::test]
async fn only_a_token_of_this_record_signed_with_its_own_key_proves_anything() {
    let site = Site::open().await;
    let options = DatabaseOptions::new(&*site.database.url);
    let authenticator = Authenticator::new(Database::new(&options).unwrap());
    let ours = site.claims(json!({}));
    let good = site.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let mut last = good.clone().into_bytes();
    let middle = last.len() - 20;
    last[middle] = if last[middle] == b'A' { b'B' } else { b'A' };
    let with = |changes| site.token(changes);
    for (what, token, proves) in [
        ("ours", good.clone(), true),
        (
            "by the collection's name",
            with(json!({"collectionId": "KEYED"})),
            true,
        ),
        (
            "without exp",
            {
                let mut c = ours.clone();
                c.as_object_mut().unwrap().remove("exp");
                signed(&c, KEY)
            },
            true,
        ),
        (
            "float exp",
            with(json!({"exp": in_seconds(60) as f64 + 0.5})),
            true,
        ),
        (
            "more claims",
            with(json!({"admin": true, "aud": "x", "iss": 7})),
            true,
        ),
        ("alg none", format!("{none}.{}.", parts[1]), false),
        (
            "alg none with a signature",
            format!("{none}.{}.{}", parts[1], parts[2]),
            false,
        ),
        ("HS384", signed_with(Algorithm::HS384, &ours, KEY), false),
        ("HS512", signed_with(Algorithm::HS512, &ours, KEY), false),
        (
            "tampered signature",
            String::from_utf8(last).unwrap(),
            false,
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), false),
        ("two parts", format!("{}.{}", parts[0], parts[1]), false),
        (
            "signed with the secret alone",
            signed(&ours, "secret-of-keyed"),
            false,
        ),
        (
            "signed with the token key alone",
            signed(&ours, "key-of-anna"),
            false,
        ),
        ("signed with nothing", signed(&ours, ""), false),
        (
            "another record's key",
            signed(&ours, "key-of-bensecret-of-keyed"),
            false,
        ),
        (
            "another collection's secret",
            signed(&ours, "key-of-annasecret-of-others"),
            false,
        ),
        (
            "another collection's token",
            with(json!({"collectionId": site.others})),
            false,
        ),
        (
            "as a superuser",
            with(json!({"collectionId": "_superusers"})),
            false,
        ),
        (
            "as a superuser by id",
            with(json!({"collectionId": "pbc_3142635823"})),
            false,
        ),
        ("somebody else", with(json!({"id": "ben"})), false),
        ("nobody", with(json!({"id": "nobody"})), false),
        (
            "nobody, by injection",
            with(json!({"id": "' or 1=1 --"})),
            false,
        ),
        ("a zero byte", with(json!({"id": "anna\0"})), false),
        (
            "no collection",
            with(json!({"collectionId": "nothing"})),
            false,
        ),
        (
            "no auth collection",
            with(json!({"collectionId": "posts"})),
            false,
        ),
        ("a file token", with(json!({"type": "file"})), false),
        ("no type", with(json!({"type": ""})), false),
        ("expired", with(json!({"exp": in_seconds(-1)})), false),
        (
            "exp as text",
            with(json!({"exp": in_seconds(60).to_string()})),
            false,
        ),
        ("exp null", with(json!({"exp": null})), false),
        (
            "issued tomorrow",
            with(json!({"iat": in_seconds(86_400)})),
            false,
        ),
        ("not yet", with(json!({"nbf": in_seconds(60)})), false),
        (
            "an empty token key",
            signed(&site.claims(json!({"id": "nokey"})), "secret-of-keyed"),
            false,
        ),
        (
            "no token key",
            signed(&site.claims(json!({"id": "null"})), "secret-of-keyed"),
            false,
        ),
        ("a megabyte", with(json!({"x": "x".repeat(1 << 20)})), false),
    ] {
        let principal = authenticator.principal(&token).await;
        assert_eq!(!principal.is_guest(), proves, "{what}: {principal:?}");
        assert!(!principal.is_superuser(), "{what}");
        if let Principal::Record(record) = principal {
            assert_eq!(
                (&*record.id, &*record.collection_name),
                ("anna", "keyed"),
                "{what}"
            );
            assert_eq!(record.values.json("email").as_deref(), Some("\"anna@x\""));
            assert_eq!(record.values.json("tk"), None, "keys are no values");
        }
    }
    site.run("update rowcast.secrets set value = ''").await;
    let half = signed(&ours, "key-of-anna");
    assert!(
        authenticator.principal(&half).await.is_guest(),
        "half a key is none"
    );
}

/// Whether the stream is still anna's: then nobody else may have it.
async fn is_hers(stream: &Sse, guest_token: &str) -> bool {
    let (status, _) = stream.post(&["others/*"], Some(guest_token)).await;
    status == StatusCode::FORBIDDEN
}

#[tokio::test]
async fn a_stream_belongs_to_one_record_until_its_keys_change() {
    let site = Site::open().await;
    let server = site.server(TokenExpiry::End).await;
    let anna = site.token(json!({}));
    let ben = signed(
        &site.claims(json!({"id": "ben"})),
        "key-of-bensecret-of-keyed",
    );
    for (change, cleared) in [
        ("update keyed set name = 'new' where id = 'anna'", false),
        (
            "update keyed set email = 'other@x' where id = 'anna'",
            false,
        ),
        ("update keyed set tk = 'other' where id = 'ben'", false),
        ("update keyed set tk = 'other' where id = 'anna'", true),
        ("update keyed set id = 'anne' where id = 'anna'", true),
        ("delete from keyed where id = 'anna'", true),
        ("truncate keyed", true),
        ("update rowcast.secrets set value = 'other'", true),
        ("select rowcast.set_rule('keyed', 'auth', null)", true),
        ("select rowcast.detach('keyed')", true),
    ] {
        let mut stream = Sse::connect(&server.base).await;
        stream.subscribe_as(&anna, &["others/*"]).await;
        assert!(is_hers(&stream, &ben).await, "before {change}");
        assert_eq!(
            stream.post(&["others/*"], None).await.0,
            StatusCode::FORBIDDEN
        );
        stream.subscribe_as(&anna, &["others/*"]).await;
        site.run(change).await;
        site.run("insert into others (id) values ('mark'); delete from others where id = 'mark'")
            .await;
        let last = stream.next_events(2, DEADLINE).await;
        assert_eq!(last[1].change().0, "delete");
        if cleared {
            stream.subscribe(&["others/*"]).await;
        } else {
            assert_eq!(
                stream.post(&["others/*"], None).await.0,
                StatusCode::FORBIDDEN,
                "{change}"
            );
        }
        drop(stream);
        site.run(
            "select rowcast.attach('keyed', kind => 'auth', token_key => 'tk', list_rule => '', view_rule => '');
             select rowcast.set_rule('keyed', 'auth', '');
             delete from keyed;
             insert into keyed values ('anna', 'anna@x', '', 'key-of-anna'), ('ben', 'ben@x', '', 'key-of-ben');
             delete from rowcast.secrets;
             insert into rowcast.secrets
             select 'auth_token.' || id, case name when 'keyed' then 'secret-of-keyed' else 'secret-of-others' end
             from rowcast.collections",
        )
        .await;
        let id: String = site
            .admin
            .query_one(
                "select id from rowcast.collections where name = 'keyed'",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        if id != site.keyed {
            break;
        }
    }
}

#[tokio::test]
async fn who_is_deleted_still_sees_its_own_end() {
    let site = Site::open().await;
    let server = site.server(TokenExpiry::End).await;
    let mut stream = Sse::connect(&server.base).await;
    stream
        .subscribe_as(&site.token(json!({})), &["keyed/*"])
        .await;
    site.run("update keyed set name = 'x' where id = 'anna'")
        .await;
    site.run("delete from keyed where id = 'anna'").await;
    for action in ["update", "delete"] {
        let (seen, record) = stream.next_event(DEADLINE).await.change();
        assert_eq!((&*seen, &record["email"]), (action, &json!("anna@x")));
    }
    site.run("insert into keyed values ('anna', 'back@x')")
        .await;
    let (_, record) = stream.next_event(DEADLINE).await.change();
    assert_eq!(record.get("email"), None, "a guest's stream by now");
}

#[tokio::test]
async fn a_change_of_keys_from_before_the_login_takes_nothing_away() {
    let site = Site::open().await;
    let server = site.server(TokenExpiry::End).await;
    for round in 0..20 {
        let key = format!("key-{round}");
        site.run(&format!("update keyed set tk = '{key}' where id = 'anna'"))
            .await;
        let token = signed(&site.claims(json!({})), &format!("{key}secret-of-keyed"));
        let mut stream = Sse::connect(&server.base).await;
        stream.subscribe_as(&token, &["others/*"]).await;
        site.run("insert into others (id) values ('mark'); delete from others where id = 'mark'")
            .await;
        stream.next_events(2, DEADLINE).await;
        assert_eq!(
            stream.post(&["others/*"], None).await.0,
            StatusCode::FORBIDDEN,
            "{round}"
        );
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token_unless_told_to_ignore_it() {
    let site = Site::open().await;
    let server = site.server(TokenExpiry::End).await;
    let token = site.token(json!({"exp": in_seconds(2)}));
    let mut stream = Sse::connect(&server.base).await;
    stream.subscribe_as(&token, &["others/*"]).await;
    let mut renewed = Sse::connect(&server.base).await;
    renewed.subscribe_as(&token, &["others/*"]).await;
    renewed
        .subscribe_as(&site.token(json!({})), &["others/*"])
        .await;
    stream.ended(DEADLINE).await;
    site.run("insert into others (id) values ('still here')")
        .await;
    renewed.next_event(DEADLINE).await;

    let parity = site.server(TokenExpiry::Ignore).await;
    let mut stream = Sse::connect(&parity.base).await;
    let exp = in_seconds(2);
    stream
        .subscribe_as(&site.token(json!({"exp": exp})), &["keyed/*"])
        .await;
    eventually(DEADLINE, || async {
        if in_seconds(0) > exp {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    site.run("update keyed set name = 'still me' where id = 'anna'")
        .await;
    let (_, record) = stream.next_event(DEADLINE).await.change();
    assert_eq!(record["email"], "anna@x");
    stream.stays_silent(Duration::from_millis(10)).await;
}

#[tokio::test]
async fn a_superuser_without_its_key_is_a_guest_at_once() {
    let site = Site::open().await;
    let server = site.server(TokenExpiry::End).await;
    for change in [
        "update rowcast.superusers set token_key = 'another'",
        "delete from rowcast.superusers",
        "update rowcast.secrets set value = 'another' where name = 'superusers.auth_token'",
        "truncate rowcast.superusers",
        "truncate rowcast.secrets",
    ] {
        let lifetime = Duration::from_secs(60);
        let root = rowcast::auth::issue_superuser_token(&site.admin, "root@x.org", lifetime).await;
        let root = root.unwrap().token;
        let mut stream = Sse::connect(&server.base).await;
        stream.subscribe_as(&root, &["keyed/*"]).await;
        site.run("update keyed set name = 'a' where id = 'ben'")
            .await;
        let (_, record) = stream.next_event(DEADLINE).await.change();
        assert_eq!(record["email"], "ben@x");
        site.run(change).await;
        site.run("update keyed set name = 'b' where id = 'ben'")
            .await;
        let (_, record) = stream.next_event(DEADLINE).await.change();
        assert_eq!(record.get("email"), None, "{change}");
    }
}
