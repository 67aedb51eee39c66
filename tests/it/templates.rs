//! HTML instead of JSON: messages and records as templates show them, on every kind of stream.

use std::fs;
use std::path::Path;

use reqwest::Client;
use rowcast::auth::{SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};
use rowcast::hooks::Collections;
use rowcast::messages::NewMessage;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::people::{BCRYPT, stream};
use crate::support::{DEADLINE, Event, Feed, Sse, with_query};

const LINE: &str = "<li>\n  {{ text }}\n</li>\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A feed with these templates; the folder goes with the test.
async fn feed(setup: &str, topics: &[&str], files: &[(&str, &str)]) -> (Feed, TempDir) {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let path = folder.path().to_owned();
    let feed = Feed::open_with(setup, topics, |options| options.templates = Some(path)).await;
    (feed, folder)
}

async fn send(feed: &Feed, body: &Value) -> (u16, Value) {
    let token = issue_superuser_token(&feed.client, "root@x.y", SUPERUSER_TOKEN_LIFETIME).await;
    let url = format!("{}/api/realtime/send", feed.server.base);
    let request = Client::new().post(url).json(body);
    let request = request.header("Authorization", token.unwrap().token);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.data).collect()
}

/// A stream of a client that shows data as it is.
async fn html_stream(feed: &Feed, topics: &str, last_id: Option<&str>) -> Sse {
    let path = format!("/api/realtime?format=html&subscriptions=mark&{topics}");
    Sse::connect_at(&feed.server.base, &path, |request| match last_id {
        Some(id) => request.header("Last-Event-ID", id),
        None => request,
    })
    .await
}

#[tokio::test]
async fn what_a_template_makes_is_sent_as_one_json_string_by_every_door() {
    let (mut feed, folder) = feed("", &["chat"], &[("chat/line.html", LINE)]).await;
    feed.run(
        "begin;
         select rowcast.send('chat', '\"before\"');
         select rowcast.send('chat', template => 'chat/line.html', context => '{\"text\": \"<b>&\"}');
         select rowcast.send('chat', '\"after\"');
         commit;
         select rowcast.send('chat', template => 'chat/line.html', filter => '@request.auth.id != \"\"');
         select rowcast.send('chat', template => 'chat/line.html', filter => '@request.auth.id = \"\"');",
    )
    .await;
    let body =
        json!({"topic": "chat", "template": "chat/line.html", "context": {"text": "over HTTP"}});
    assert_eq!(send(&feed, &body).await, (204, Value::Null));
    let templates = rowcast::templates::Templates::new(
        Some(folder.path().to_owned()),
        feed.server.metrics.clone(),
    );
    let html = templates.render("chat/line.html", r#"{"text":"crate"}"#);
    let message = NewMessage::new("chat", html.unwrap());
    feed.server.messenger.send(&message).await.unwrap();
    assert_eq!(
        data(&feed.events().await),
        [
            r#""before""#,
            r#""<li>\n  &lt;b&gt;&amp;\n</li>""#,
            r#""after""#,
            r#""<li>\n  \n</li>""#,
            r#""<li>\n  over HTTP\n</li>""#,
            r#""<li>\n  crate\n</li>""#,
        ]
    );
    // Without a new start, as a designer wants it.
    write(folder.path(), "chat/line.html", "<p>{{ text }}</p>");
    feed.run(
        "select rowcast.send('chat', template => 'chat/line.html', context => '{\"text\": 7}')",
    )
    .await;
    assert_eq!(data(&feed.events().await), [r#""<p>7</p>""#]);
}

#[tokio::test]
async fn a_template_that_fails_is_told_to_nobody_and_disturbs_nothing_else() {
    let files = [
        ("bad.html", "\n{{ text|nothing }}"),
        (
            "endless.html",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        ),
        ("good.html", "{{ text }}"),
    ];
    let posts = "create table posts (id text primary key);
         select rowcast.attach('posts', list_rule => '');
         select rowcast.set_templates('posts', on_create => 'bad.html');";
    let in_html = with_query("posts", json!({"html": true}));
    let (mut feed, _folder) = feed(posts, &["chat", &in_html, "posts"], &files).await;
    let mut other = feed.subscribe(&["chat"]).await;
    for template in [
        "bad.html",
        "endless.html",
        "../good.html",
        "good.html",
        "none.html",
    ] {
        feed.run(&format!(
            "select rowcast.send('chat', template => '{template}', context => '{{\"text\": \"s3cret\"}}')"
        ))
        .await;
    }
    feed.run("insert into posts values ('a')").await;
    let events = feed.events().await;
    let names: Vec<_> = events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["chat", "posts"], "{events:?}");
    assert_eq!(events[0].data, r#""s3cret""#);
    assert_eq!(data(&Feed::drain(&mut other).await), [r#""s3cret""#]);
    let metrics = feed.server.metrics.encode();
    // The one that failed twice was for a message and for a row; each was made once for all streams.
    for line in [
        r#"rowcast_template_failures_total{reason="rendering"} 2"#,
        r#"rowcast_template_failures_total{reason="too_much"} 1"#,
        r#"rowcast_template_failures_total{reason="missing"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    for (body, field, why) in [
        (
            json!({"template": "bad.html"}),
            "template",
            r#"The template "bad.html" fails in line 2: unknown filter: filter nothing is unknown."#,
        ),
        (
            json!({"template": "none.html"}),
            "template",
            r#"The template "none.html" fails: there is no such template"#,
        ),
        (
            json!({"template": "endless.html"}),
            "template",
            "it takes too many steps",
        ),
        (
            json!({"template": "good.html", "data": {}}),
            "template",
            "Must not stand beside data",
        ),
        (
            json!({"template": "good.html", "context": []}),
            "context",
            "Must be an object",
        ),
        (
            json!({"data": {}, "context": {}}),
            "context",
            "beside a template",
        ),
        (json!({"template": 7}), "template", "Must be a text"),
    ] {
        let mut body = body;
        body["topic"] = json!("chat");
        let (status, answer) = send(&feed, &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        let message = answer["data"][field]["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("nothing about {field} in {answer}"));
        assert!(message.contains(why), "{body}: {answer}");
    }
    assert_eq!(data(&feed.events().await), [] as [&str; 0]);
}

const POSTS: &str = "
    create table posts (id text primary key, title text, secret text, draft boolean not null default false);
    select rowcast.attach('posts', list_rule => 'draft = false', view_rule => '', hidden => array['secret']);";

const CARDS: [(&str, &str); 2] = [
    (
        "posts/card.html",
        "<li id=\"{{ record.id }}\">{{ action }} {{ record.title }}{{ record.secret }}{{ record.own }}</li>",
    ),
    (
        "posts/gone.html",
        "<li id=\"{{ record.id }}\" gone>{{ action }}</li>",
    ),
];

#[tokio::test]
async fn records_come_as_fragments_to_those_who_ask_and_show_what_they_may_see() {
    let topics = [
        with_query("posts", json!({"html": "1"})),
        with_query("posts/*", json!({"html": true, "fields": "id"})),
        with_query(
            "posts/*",
            json!({"html": "1", "leave": "1", "snapshot": "1"}),
        ),
    ];
    let [whole, id_only, leaving] = topics.each_ref().map(String::as_str);
    let setup = format!("{POSTS} insert into posts values ('old', 'Old');");
    let (mut feed, _folder) = feed(&setup, &["posts", whole, id_only, leaving], &CARDS).await;
    // Before there are templates everybody is told JSON.
    let snapshot = feed.stream.next_events(2, DEADLINE).await;
    assert_eq!(snapshot[0].change().0, "snapshot", "{snapshot:?}");
    let said = "select rowcast.set_templates('posts', on_create => 'posts/card.html', on_delete => 'posts/gone.html')";
    let said = crate::support::feed::text(&feed.client, said).await;
    assert_eq!(
        said,
        "posts: templates are now create posts/card.html, delete posts/gone.html"
    );
    feed.run("insert into posts values ('a', '<i>', 'hush')")
        .await;
    feed.run("update posts set title = 'B' where id = 'a'")
        .await;
    feed.run("update posts set draft = true where id = 'a'")
        .await;
    feed.run("delete from posts where id = 'old'").await;
    let events = feed.events().await;
    let told = |name: &str| -> Vec<String> {
        let own = events.iter().filter(|event| event.name == name);
        own.map(|event| match event.json() {
            Value::String(html) => html,
            json => format!(
                "{} {}",
                json["action"].as_str().unwrap(),
                json["record"]["id"]
            ),
        })
        .collect()
    };
    assert_eq!(
        told("posts"),
        [r#"create "a""#, r#"update "a""#, r#"delete "old""#]
    );
    assert_eq!(
        told(whole),
        [
            r#"<li id="a">create &lt;i&gt;</li>"#,
            r#"update "a""#,
            r#"<li id="old" gone>delete</li>"#
        ]
    );
    assert_eq!(
        told(id_only),
        [
            r#"<li id="a">create </li>"#,
            r#"update "a""#,
            r#"<li id="old" gone>delete</li>"#
        ]
    );
    assert_eq!(
        told(leaving),
        [
            r#"<li id="a">create &lt;i&gt;</li>"#,
            r#"update "a""#,
            r#"<li id="a" gone>leave</li>"#,
            r#"<li id="old" gone>delete</li>"#
        ]
    );
    // Whoever comes now has a snapshot of fragments.
    feed.run("update posts set draft = false").await;
    feed.events().await;
    let mut late = feed.subscribe(&[leaving]).await;
    let events = late.next_events(2, DEADLINE).await;
    assert_eq!(
        events[0].data, r#""<li id=\"a\">snapshot B</li>""#,
        "{events:?}"
    );
    assert_eq!(events[1].json()["action"], "ready");
    for (arguments, problem) in [
        ("'nowhere'", "nowhere"),
        ("'posts', on_update => ''", "on_update must be the name"),
    ] {
        let sql = format!("select rowcast.set_templates({arguments})");
        let error = feed.client.batch_execute(&sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(problem), "{error:?}");
    }
    for said in ["posts: templates are now none", "posts: nothing to change"] {
        let sql = "select rowcast.set_templates('posts')";
        assert_eq!(crate::support::feed::text(&feed.client, sql).await, said);
    }
}

#[tokio::test]
async fn fragments_show_each_receiver_what_hooks_and_rights_leave() {
    let setup = format!(
        "{POSTS}
         select rowcast.set_templates('posts', 'posts/card.html');
         create table members (id text primary key, name text unique, password text);
         insert into members values ('ann', 'ann', '{BCRYPT}');
         select rowcast.attach('members', kind => 'auth', identity => array['name'], password => 'password');"
    );
    let in_html = with_query("posts", json!({"html": "1"}));
    let (mut feed, _folder) = feed(&setup, &[&in_html], &CARDS).await;
    let mut ann = stream(&feed, "ann", &[&in_html]).await;
    let posts = Collections::named(["posts"]);
    feed.server.hooks.enrich.bind("own", 0, posts, |enrich| {
        if enrich.principal.is_guest() {
            enrich.record.hide("title");
        } else {
            enrich.record.set("own", "<mine>")?;
        }
        Ok(())
    });
    feed.run("insert into posts values ('a', 'Title', 'hush')")
        .await;
    assert_eq!(
        data(&feed.events().await),
        [r#""<li id=\"a\">create </li>""#]
    );
    assert_eq!(
        data(&Feed::drain(&mut ann).await),
        [r#""<li id=\"a\">create Title&lt;mine&gt;</li>""#]
    );
}

#[tokio::test]
async fn a_stream_that_wants_html_is_told_lines_and_goes_on_where_it_was() {
    let setup =
        format!("{POSTS} select rowcast.set_templates('posts', on_create => 'posts/card.html');");
    let files = [CARDS[0], ("line.html", LINE)];
    let (mut feed, _folder) = feed(&setup, &["posts", "chat"], &files).await;
    let topics = "subscriptions=posts&subscriptions=chat";
    let mut html = html_stream(&feed, topics, None).await;
    let say = "select rowcast.send('chat', template => 'line.html', context => '{\"text\": \"a\\r\\nid:b\"}');";
    feed.run(&format!(
        "{say} insert into posts values ('a', 'A'); update posts set title = 'B';
         select rowcast.send('chat', '{{\"json\": \"as it is\"}}');"
    ))
    .await;
    let sdk = feed.events().await;
    assert_eq!(sdk[0].json(), json!("<li>\n  a\r\nid:b\n</li>"));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = html.next_event(DEADLINE).await;
        // Ids alone are for coming back.
        if !event.name.is_empty() {
            seen.push(event);
        }
    }
    assert_eq!(
        seen[0].raw.split_once('\n').unwrap().1,
        "event:chat\ndata: <li>\ndata:   a\ndata: id:b\ndata: </li>"
    );
    assert!(
        seen[1]
            .raw
            .ends_with("event:posts\ndata: <li id=\"a\">create A</li>"),
        "{seen:?}"
    );
    // No template shows updates, and this message had none.
    assert_eq!(seen[2].change().0, "update");
    assert_eq!(seen[3].json(), json!({"json": "as it is"}));
    let last_id = seen[3].id.clone().unwrap();
    drop(html);
    feed.run(&format!("{say} insert into posts values ('missed', 'M')"))
        .await;
    let mut html = html_stream(&feed, topics, Some(&last_id)).await;
    let mut missed = Vec::new();
    while missed.len() < 2 {
        let event = html.next_event(DEADLINE).await;
        if !event.data.is_empty() && event.name != "mark" {
            missed.push(event.raw);
        }
    }
    assert!(missed[0].contains("data: id:b\n"), "{missed:?}");
    assert!(missed[1].contains("data: <li id=\"missed\">"), "{missed:?}");
    let base = &feed.server.base;
    for (format, status) in [("json", 200), ("html", 200), ("xml", 400), ("", 400)] {
        let url = format!("{base}/api/realtime?subscriptions=chat&format={format}");
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{format}");
    }
}
