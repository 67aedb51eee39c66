//! Auth collections defined in SQL: logging in, trading tokens, and what others see of an email.

use reqwest::{Client, StatusCode};
use rowcast::app::AppOptions;
use rowcast::auth::{ForeignAlgorithm, ForeignOptions, ForeignTokens};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, TestDatabase, client, database, server};

/// `correct horse` at bcrypt's lowest cost.
const BCRYPT: &str = "$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u";

const MEMBERS: &str = "
    create table members (
        id text primary key, email text unique, username text unique, name text not null default '',
        \"emailVisibility\" boolean not null default false, verified boolean not null default true,
        password_hash text, secret_note text not null default 'hush');
    select rowcast.attach('members', kind => 'auth', identity => array['email', 'username'],
        password => 'password_hash', hidden => array['secret_note'], list_rule => '', view_rule => '');
";

fn without_login_limit(url: &str) -> AppOptions {
    let mut options = server::options(url);
    options.http.login_rate = None;
    options
}

struct Site {
    server: Server,
    database: TestDatabase,
    admin: tokio_postgres::Client,
    http: Client,
}

impl Site {
    async fn open() -> Self {
        let database = database().await;
        let admin = client(&database.url).await;
        admin.batch_execute(MEMBERS).await.unwrap();
        let site = Self {
            server: Server::start_with(without_login_limit(&database.url)).await,
            database,
            admin,
            http: Client::new(),
        };
        for (id, email) in [("anna", "anna@example.com"), ("ben", "ben@example.com")] {
            site.admin
                .execute(
                    "insert into members (id, email, username, password_hash) values ($1, $2, $1, $3)",
                    &[&id, &email, &BCRYPT],
                )
                .await
                .unwrap();
        }
        site
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/api/collections/{path}", self.server.base);
        let mut request = self.http.post(url);
        if !body.is_null() {
            request = request.json(&body);
        }
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn log_in(&self, identity: &str) -> Value {
        let body = json!({ "identity": identity, "password": "correct horse" });
        let (status, answer) = self.post("members/auth-with-password", None, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn token(&self, identity: &str) -> String {
        self.log_in(identity).await["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn refresh(&self, token: &str) -> (StatusCode, Value) {
        self.post("members/auth-refresh", Some(token), Value::Null)
            .await
    }
}

#[tokio::test]
async fn a_record_logs_in_by_any_identity_and_is_shown_itself_without_its_keys() {
    let site = Site::open().await;
    for identity in ["anna@example.com", "anna"] {
        let answer = site.log_in(identity).await;
        let id: String = site
            .admin
            .query_one("select id from rowcast.collections", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(
            answer["record"],
            json!({
                "collectionId": id, "collectionName": "members", "email": "anna@example.com",
                "emailVisibility": false, "id": "anna", "name": "", "username": "anna", "verified": true,
            })
        );
    }
    let (status, picked) = site
        .post(
            "members/auth-with-password?fields=record.id",
            None,
            json!({ "identity": "anna", "password": "correct horse" }),
        )
        .await;
    assert_eq!(
        (status, picked),
        (StatusCode::OK, json!({"record": {"id": "anna"}}))
    );
}

#[tokio::test]
async fn a_login_that_fails_says_why_as_pocketbase_does() {
    let site = Site::open().await;
    site.run("create table posts (id int primary key); select rowcast.attach('posts')")
        .await;
    site.run(
        "create table robots (id int primary key); select rowcast.attach('robots', kind => 'auth')",
    )
    .await;
    let long = "x".repeat(256);
    let good = json!({ "identity": "anna", "password": "correct horse" });
    let failed = "Failed to authenticate.";
    let invalid = "An error occurred while validating the submitted data.";
    let unloadable = "An error occurred while loading the submitted data.";
    for (collection, body, status, message, fields) in [
        (
            "nothing",
            good.clone(),
            404,
            "Missing or invalid collection context.",
            json!({}),
        ),
        (
            "posts",
            good.clone(),
            404,
            "Missing or invalid auth collection context.",
            json!({}),
        ),
        (
            "robots",
            good.clone(),
            403,
            "The collection is not configured to allow password authentication.",
            json!({}),
        ),
        (
            "_superusers",
            json!({ "identity": "anna@example.com", "password": "correct horse" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "anna", "password": "wrong" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "nobody", "password": "wrong" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "anna' or '1'='1", "password": "x" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "anna\0", "password": "x" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "ANNA", "password": "correct horse" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": "anna", "password": "correct horse", "identityField": "email" }),
            400,
            failed,
            json!({}),
        ),
        (
            "members",
            json!({ "identity": 7, "password": "x" }),
            400,
            unloadable,
            json!({}),
        ),
        ("members", json!(["anna"]), 400, unloadable, json!({})),
        (
            "members",
            json!({ "identity": long }),
            400,
            invalid,
            json!({
                "identity": {
                    "code": "validation_length_out_of_range", "message": "The length must be between 1 and 255.",
                    "params": { "max": 255, "min": 1 },
                },
                "password": { "code": "validation_required", "message": "Cannot be blank." },
            }),
        ),
        (
            "members",
            json!({ "identity": "a", "password": "b", "identityField": "name" }),
            400,
            invalid,
            json!({ "identityField": { "code": "validation_in_invalid", "message": "Must be a valid value." } }),
        ),
    ] {
        let path = format!("{collection}/auth-with-password");
        let (seen, answer) = site.post(&path, None, body.clone()).await;
        let expected = json!({ "data": fields, "message": message, "status": status });
        assert_eq!(
            (seen.as_u16(), answer),
            (status, expected),
            "{collection} {body}"
        );
    }
    site.run("select rowcast.set_rule('members', 'auth', null)")
        .await;
    let (status, answer) = site.post("members/auth-with-password", None, good).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        answer["message"],
        "The request doesn't satisfy the collection requirements to authenticate."
    );
}

#[tokio::test]
async fn a_superuser_logs_in_by_password_until_it_has_another() {
    use rowcast::auth::{PasswordChange, SuperuserError, set_superuser_password};
    let site = Site::open().await;
    let mut admin = client(&site.database.url).await;
    let mut set = async |password: &str, change| {
        set_superuser_password(&mut admin, "root@example.com", password, change).await
    };
    let log_in = async |password: &str| {
        let body = json!({ "identity": "root@example.com", "password": password });
        site.post("_superusers/auth-with-password", None, body)
            .await
    };
    let refused = set("correct horse", PasswordChange::Another).await;
    assert!(matches!(refused, Err(SuperuserError::NoPassword(_))));
    assert_eq!(log_in("correct horse").await.0, 400);
    set("correct horse", PasswordChange::First).await.unwrap();
    let refused = set("another horse", PasswordChange::First).await;
    assert!(matches!(refused, Err(SuperuserError::HasPassword(_))));
    assert_eq!(log_in("another horse").await.0, 400);
    let (status, answer) = log_in("correct horse").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["record"]["email"], "root@example.com");
    assert_eq!(answer["record"]["collectionName"], "_superusers");
    let shown = answer["record"].to_string();
    assert!(
        !shown.contains("argon2") && !shown.contains("token_key"),
        "{shown}"
    );
    let token = answer["token"].as_str().unwrap();
    let refresh = async || {
        let path = "_superusers/auth-refresh";
        site.post(path, Some(token), Value::Null).await
    };
    let (status, answer) = refresh().await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["record"]["email"], "root@example.com");
    set("another horse", PasswordChange::Another).await.unwrap();
    assert_eq!(refresh().await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(log_in("correct horse").await.0, 400);
    assert_eq!(log_in("another horse").await.0, StatusCode::OK);
    site.run("delete from rowcast.superusers").await;
    assert_eq!(log_in("another horse").await.0, 400);
}

#[tokio::test]
async fn an_auth_rule_is_asked_about_the_record_at_login_and_at_refresh() {
    let site = Site::open().await;
    let log_in = async |query: &str| {
        let body = json!({ "identity": "anna", "password": "correct horse" });
        let path = format!("members/auth-with-password{query}");
        site.post(&path, None, body).await.0.as_u16()
    };
    for (rule, status, undecided) in [
        ("verified = true", 200, None),
        ("verified = false", 403, None),
        ("id = 'anna' && secret_note = 'hush'", 200, None),
        ("@request.auth.id = ''", 200, None),
        ("@request.auth.id = id", 403, None),
        ("@request.method = 'POST'", 200, None),
        ("@request.context = 'password'", 200, None),
        ("@request.query.door = 'back'", 200, None),
        ("@request.query.door = 'front'", 403, None),
        (
            "@request.headers.content_type = 'application/json'",
            200,
            None,
        ),
        ("@collection.members.id ?= id", 200, None),
        ("@collection.members:other.id ?= 'nobody'", 403, None),
        ("emial != ''", 403, Some("invalid")),
        ("password_hash != ''", 403, Some("invalid")),
    ] {
        let set = "select rowcast.set_rule('members', 'auth', $1)";
        site.admin.execute(set, &[&rule]).await.unwrap();
        let before = site.server.metrics.encode();
        assert_eq!(log_in("?door=back").await, status, "{rule}");
        let after = site.server.metrics.encode();
        let count = |text: &str, reason| {
            let label = format!("rule_errors_total{{reason=\"{reason}\"}} ");
            let count = text.split_once(&label).map(|(_, rest)| rest);
            let count = count.and_then(|rest| rest.lines().next());
            count.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        for reason in ["not_fetched", "invalid"] {
            let more = count(&after, reason) - count(&before, reason);
            assert_eq!(more > 0, undecided == Some(reason), "{rule}: {reason}");
        }
    }
    // At a refresh it is the record itself that asks, as it is by then.
    let rule = "verified = true && (@request.auth.id = '' || @request.auth.id = id)";
    let set = "select rowcast.set_rule('members', 'auth', $1)";
    site.admin.execute(set, &[&rule]).await.unwrap();
    let token = site.token("anna").await;
    assert_eq!(site.refresh(&token).await.0, StatusCode::OK);
    site.run("update members set verified = false where id = 'anna'")
        .await;
    let (status, answer) = site.refresh(&token).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(log_in("").await, 403);
}

#[tokio::test]
async fn a_token_is_traded_for_a_newer_one_of_the_same_collection() {
    let site = Site::open().await;
    let token = site.token("anna").await;
    let (status, answer) = site.refresh(&token).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["record"]["id"], "anna");
    let newer = answer["token"].as_str().unwrap();
    assert_eq!(site.refresh(newer).await.0, StatusCode::OK);
    let (status, answer) = site.post("nothing/auth-refresh", None, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    let (status, answer) = site.refresh("nonsense").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    assert_eq!(
        answer["message"],
        "The request requires valid record authorization token."
    );
    let (status, answer) = site
        .post("_superusers/auth-refresh", Some(&token), Value::Null)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        answer["message"],
        "The request requires auth record from members collection."
    );
}

#[tokio::test]
async fn a_token_ends_with_the_password_the_email_the_rule_the_record_or_the_secret() {
    let site = Site::open().await;
    for change in [
        "update members set password_hash = password_hash || 'x' where id = 'anna'",
        "update members set email = 'other@example.com' where id = 'anna'",
        "update rowcast.secrets set value = 'another'",
        "update rowcast.secrets set value = ''",
        "select rowcast.set_rule('members', 'auth', 'id != \"\"')",
        "delete from members where id = 'anna'",
        "select rowcast.detach('members')",
    ] {
        let token = site.token("ben").await;
        let anna = site.token("anna").await;
        assert_eq!(
            site.refresh(&anna).await.0,
            StatusCode::OK,
            "before {change}"
        );
        site.run("begin").await;
        site.run(change).await;
        site.run("commit").await;
        let (status, answer) = site.refresh(&anna).await;
        assert_ne!(status, StatusCode::OK, "after {change}: {answer}");
        let of_one = change.contains("where id");
        assert_eq!(
            site.refresh(&token).await.0 == StatusCode::OK,
            of_one,
            "{change}"
        );
        site.run(&format!(
            "delete from rowcast.secrets where value = '';
             select rowcast.attach('members', kind => 'auth', identity => array['email', 'username'],
                password => 'password_hash', hidden => array['secret_note'], list_rule => '', view_rule => '');
             select rowcast.set_rule('members', 'auth', '');
             delete from members where id = 'anna';
             insert into members (id, email, username, password_hash)
             values ('anna', 'anna@example.com', 'anna', '{BCRYPT}')"
        ))
        .await;
    }
}

#[tokio::test]
async fn nothing_of_the_password_is_in_the_log_whatever_becomes_of_its_column() {
    let site = Site::open().await;
    for change in [
        "update members set name = 'x'",
        "update members set password_hash = 'SECRET-2' where id = 'anna'",
        "alter table members rename password_hash to pwd",
        "update members set name = 'y'",
        "insert into members (id, pwd) values ('carl', 'SECRET-3')",
        "delete from members where id = 'carl'",
        "alter table members rename secret_note to password_hash",
        "update members set name = 'z'",
        "truncate members",
    ] {
        site.run(change).await;
    }
    let count: i64 = site
        .admin
        .query_one(
            "select count(*) from rowcast.changes where concat(old, new) ~ '\\$2b\\$|SECRET'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 0);
    drop(site.database);
}

#[tokio::test]
async fn an_email_is_shown_to_its_owner_to_superusers_and_to_others_if_it_wants_to() {
    let site = Site::open().await;
    let anna = site.token("anna").await;
    let root = rowcast::auth::issue_superuser_token(
        &site.admin,
        "root@example.com",
        rowcast::auth::SUPERUSER_TOKEN_LIFETIME,
    )
    .await
    .unwrap();
    let streams = [Some(&*anna), None, Some(&*root.token)];
    let mut open = Vec::new();
    for token in streams {
        let stream = crate::support::Sse::connect(&site.server.base).await;
        let (status, body) = stream.post(&["members/*"], token).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
        open.push(stream);
    }
    for (change, seen) in [
        (
            "update members set name = 'a' where id = 'anna'",
            [true, false, true],
        ),
        (
            "update members set name = 'b' where id = 'ben'",
            [false, false, true],
        ),
        (
            "update members set name = 'c', \"emailVisibility\" = true where id = 'ben'",
            [true, true, true],
        ),
    ] {
        site.run(change).await;
        for (stream, seen) in open.iter_mut().zip(seen) {
            let (_, record) = stream.next_event(DEADLINE).await.change();
            assert_eq!(record.get("email").is_some(), seen, "{change}: {record}");
            assert_eq!(record.get("password_hash"), None);
        }
    }
}

#[tokio::test]
async fn each_sees_its_own_rows_and_what_its_record_or_its_tokens_roles_allow() {
    let database = database().await;
    let admin = client(&database.url).await;
    admin.batch_execute(MEMBERS).await.unwrap();
    admin
        .batch_execute(
            "create table posts (id text primary key, author text not null);
             select rowcast.attach('posts', list_rule => '@request.auth.id = author');
             create table notes (id text primary key);
             select rowcast.attach('notes', list_rule => '@request.auth.name = \"chief\"');
             create table plans (id text primary key);
             select rowcast.attach('plans');
             insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4)
             values ('p', 'role:editor', 'plans', 'list', '', 'allow')",
        )
        .await
        .unwrap();
    const SECRET: &str = "a secret of thirty-two bytes or so";
    let foreign = ForeignOptions {
        algorithm: Some(ForeignAlgorithm::Hs256),
        secret: Some(SECRET.to_owned()),
        ..ForeignOptions::default()
    };
    let mut options = without_login_limit(&database.url);
    options.foreign_tokens = ForeignTokens::new(foreign).unwrap();
    let site = Site {
        server: Server::start_with(options).await,
        database,
        admin,
        http: Client::new(),
    };
    site.run(&format!(
        "insert into members (id, email, password_hash) values ('anna', 'a@x.org', '{BCRYPT}'), ('ben', 'b@x.org', '{BCRYPT}')"
    ))
    .await;
    let claims =
        json!({ "sub": "carl", "roles": ["editor"], "name": "chief", "exp": 4_000_000_000_u64 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let carl = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let tokens = [
        site.token("a@x.org").await,
        site.token("b@x.org").await,
        carl,
    ];
    let mut streams = Vec::new();
    for token in &tokens {
        let stream = crate::support::Sse::connect(&site.server.base).await;
        stream
            .subscribe_as(token, &["posts/*", "notes/*", "plans/*"])
            .await;
        streams.push(stream);
    }
    site.run("insert into posts values ('1', 'anna'), ('2', 'ben'), ('3', 'carl')")
        .await;
    site.run("insert into notes values ('before')").await;
    site.run("update members set name = 'chief' where id = 'anna'")
        .await;
    site.run("insert into notes values ('after')").await;
    site.run("insert into plans values ('plan')").await;
    site.run("insert into posts values ('4', 'anna'), ('5', 'ben'), ('6', 'carl')")
        .await;
    for (stream, expected) in streams.iter_mut().zip([
        &["1", "after", "4"][..],
        &["2", "5"],
        &["3", "before", "after", "plan", "6"],
    ]) {
        let events = stream.next_events(expected.len(), DEADLINE).await;
        let seen: Vec<String> = events
            .iter()
            .map(|event| event.change().1["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(seen, expected);
    }
}
