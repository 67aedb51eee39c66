use super::*;
use crate::catalog::{CollectionKey, Field, FieldKind};
use crate::policy::{Policy, PolicyRows};

fn collection(key: i32, name: &str, policy: &Arc<Policy>) -> Collection {
    let text = |name: &str| Field::new(name, FieldKind::Text);
    let secret = Field {
        hidden: true,
        ..text("secret")
    };
    Collection {
        policy: Arc::clone(policy),
        ..Collection::new(
            CollectionKey(key),
            name,
            vec![text("id"), text("title"), secret],
        )
    }
}

/// Open: `posts`, to list only: `notes`, to nobody: `locked`, by a rule that cannot be used: `broken`.
fn catalog() -> Arc<Catalog> {
    let rules = [
        ("posts", "list", ""),
        ("posts", "view", "title != ''"),
        ("notes", "list", "title = 'x'"),
        ("broken", "list", "titel = 'x'"),
    ];
    let policy = Arc::new(Policy::new(PolicyRows::for_everybody(&rules)));
    let names = ["posts", "notes", "locked", "broken"];
    let collections = (1..)
        .zip(names)
        .map(|(key, name)| collection(key, name, &policy));
    Arc::new(Catalog::new(collections))
}

fn root() -> Principal {
    Principal::Superuser { id: "root".into() }
}

fn check(text: &str, principal: &Principal, wildcard: bool) -> Result<(), Unfit> {
    Check::new(&catalog(), wildcard, principal).one(&Subscription::parse(text))
}

fn code(text: &str, principal: &Principal) -> &'static str {
    match check(text, principal, true) {
        Ok(()) => "",
        Err(unfit) => unfit.code(),
    }
}

#[track_caller]
fn message(text: &str, principal: &Principal) -> String {
    check(text, principal, true).expect_err(text).to_string()
}

fn query(topic: &str, name: &str, value: &str) -> String {
    let options = serde_json::json!({ "query": { name: value } }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
    format!("{topic}?options={encoded}")
}

#[test]
fn topics_that_can_never_match_are_refused() {
    const UNKNOWN: &str = "subscription_unknown_collection";
    const TOPIC: &str = "subscription_invalid_topic";
    const LOCKED: &str = "subscription_forbidden";
    for (text, guest, superuser) in [
        ("posts", "", ""),
        ("posts/*", "", ""),
        ("posts/abc", "", ""),
        ("posts/a,b%2Fc", "", ""),
        ("posts/*?", "", ""),
        ("posts?x=1", "", ""),
        ("*", "", ""),
        ("notes", "", ""),
        ("notes/abc", LOCKED, ""),
        ("locked", LOCKED, ""),
        ("locked/*", LOCKED, ""),
        ("locked/abc", LOCKED, ""),
        ("broken", LOCKED, ""),
        // Custom topics and those PocketBase reserves.
        ("chat", "", ""),
        ("chat:room-1", "", ""),
        ("PB_CONNECT", "", ""),
        ("@oauth2", "", ""),
        ("Locked", "", UNKNOWN),
        ("POSTS", UNKNOWN, UNKNOWN),
        (" posts", UNKNOWN, UNKNOWN),
        (" posts/*", UNKNOWN, UNKNOWN),
        ("post/*", UNKNOWN, UNKNOWN),
        ("nothing/abc", UNKNOWN, UNKNOWN),
        ("chat?options={}", "", ""),
        ("chat?x", UNKNOWN, UNKNOWN),
        ("chat/7", UNKNOWN, UNKNOWN),
        ("posts/", TOPIC, TOPIC),
        ("posts/*/", TOPIC, TOPIC),
        ("posts/* ", TOPIC, TOPIC),
        ("posts/%2A", TOPIC, TOPIC),
        ("posts/*#x", TOPIC, TOPIC),
        ("posts/a\nb", TOPIC, TOPIC),
    ] {
        assert_eq!(code(text, &Principal::Guest), guest, "{text:?} by a guest");
        assert_eq!(code(text, &root()), superuser, "{text:?} by a superuser");
    }
    let switched_off = check("*", &root(), false);
    assert_eq!(switched_off, Err(Unfit::WildcardOff));
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    for (options, code_expected) in [
        ("options={}", ""),
        ("options={\"query\":null,\"other\":1}", ""),
        ("options=%7B%22query%22%3A%7B%22a%22%3A%22x+y%22%7D%7D", ""),
        ("x=1&options={}", ""),
        ("options={}&bad=%zz", ""),
        ("options=", "subscription_invalid_options"),
        ("options=null", "subscription_invalid_options"),
        ("options=[]", "subscription_invalid_options"),
        ("options={", "subscription_invalid_options"),
        ("options={}x", "subscription_invalid_options"),
        ("options=%zz", "subscription_invalid_options"),
        ("options={\"a\":\";\"}", "subscription_invalid_options"),
        ("options=bad&options={}", "subscription_invalid_options"),
        ("options={\"query\":\"x\"}", "subscription_invalid_options"),
        ("options={\"Headers\":[]}", "subscription_invalid_options"),
        (
            "options={\"query\":{\"a\":\"x#y\"}}",
            "subscription_invalid_options",
        ),
    ] {
        for topic in ["posts/*", "*"] {
            let text = format!("{topic}?{options}");
            assert_eq!(code(&text, &Principal::Guest), code_expected, "{text}");
        }
    }
    assert!(message("posts?options={", &root()).contains("EOF while parsing an object at line 1"));
    // What is no URL has no options.
    assert_eq!(
        code("posts/%zz?options={}", &root()),
        "subscription_invalid_options"
    );
    assert_eq!(code("posts/%zz", &root()), "");
}

#[test]
fn lists_of_fields_are_checked() {
    for (fields, good) in [
        ("", true),
        (",", true),
        ("id,nothing,title:excerpt(5,true)", true),
        ("title:nope(1)", false),
        ("title:excerpt(0)", false),
        ("'title", false),
    ] {
        for topic in ["posts", "*"] {
            let expected = if good {
                ""
            } else {
                "subscription_invalid_fields"
            };
            let text = query(topic, "fields", fields);
            assert_eq!(code(&text, &Principal::Guest), expected, "{fields}");
        }
    }
}

#[test]
fn filters_are_checked_as_far_as_their_author_may_know() {
    const BAD: &str = "subscription_invalid_filter";
    for (topic, filter, guest, superuser) in [
        ("posts", "", "", ""),
        ("posts", "title ~ 'a'", "", ""),
        ("posts/abc", "id = 'a' && title != null", "", ""),
        ("posts", " ", BAD, BAD),
        ("posts", "title =", BAD, BAD),
        ("posts", "titel = 'a'", BAD, BAD),
        ("posts", "secret = 'a'", BAD, BAD),
        ("posts", "@request.auth.id = ''", BAD, ""),
        ("*", "title = 'a'", "", ""),
        ("*", "titel = 'a'", BAD, BAD),
        // Nothing is said about the fields of a collection that is locked.
        ("locked", "nothing = 'a'", "subscription_forbidden", BAD),
    ] {
        let text = query(topic, "filter", filter);
        assert_eq!(code(&text, &Principal::Guest), guest, "{text} by a guest");
        assert_eq!(code(&text, &root()), superuser, "{text} by a superuser");
    }
    let typo = query("posts", "filter", "titel = 'a'");
    assert_eq!(
        message(&typo, &Principal::Guest),
        "The filter cannot be used: posts has no field titel (line 1, column 1)\n    \
         titel = 'a'\n    ^^^^^\nDid you mean title?"
    );
    // A hidden field and one that is not there look alike, also from near by.
    let guess = |name: &str| {
        let text = query("posts", "filter", &format!("{name} = 'a'"));
        message(&text, &Principal::Guest).replace(name, "X")
    };
    assert_eq!(guess("secret"), guess("quaint"));
    assert_eq!(guess("secre"), guess("quain"));
}

#[test]
fn advice_names_only_what_one_may_see() {
    for (text, principal, nearest) in [
        ("post/*", Principal::Guest, Some("posts")),
        ("Posts", Principal::Guest, Some("posts")),
        ("lockd/*", Principal::Guest, None),
        ("LOCKED/*", Principal::Guest, None),
        ("lockd/*", root(), Some("locked")),
        ("LOCKED/*", root(), Some("locked")),
    ] {
        let Err(Unfit::UnknownCollection { nearest: found, .. }) = check(text, &principal, true)
        else {
            panic!("{text} is refused");
        };
        assert_eq!(found.as_deref(), nearest, "{text} by {principal:?}");
    }
}

#[test]
fn not_more_reasons_are_given_than_anybody_reads() {
    let texts: Vec<_> = (0..1000)
        .map(|n| {
            Subscription::parse(&if n % 2 == 0 {
                "posts".to_owned()
            } else {
                format!("x/{n}")
            })
        })
        .collect();
    let unfit = Check::new(&catalog(), true, &Principal::Guest).all(&texts);
    let places: Vec<_> = unfit.iter().map(|unfit| unfit.at).collect();
    let odd: Vec<_> = (0..UNFIT_MAX).map(|n| 2 * n + 1).collect();
    assert_eq!(places, odd);
}

/// `posts` points to `notes`, to itself, in a hidden field, and to what nobody may see.
fn related() -> Arc<Catalog> {
    let rules = [
        ("posts", "list", ""),
        ("posts", "view", ""),
        ("notes", "view", ""),
    ];
    let policy = Arc::new(Policy::new(PolicyRows::for_everybody(&rules)));
    let to = |name: &str, key: i32| Field {
        relation: Some(crate::catalog::Relation {
            collection: CollectionKey(key),
            field: "id".into(),
        }),
        ..Field::new(name, FieldKind::Text)
    };
    let mut posts = collection(1, "posts", &policy);
    let shown = [to("note", 2), to("parent", 1), to("vault", 3)];
    posts.fields.extend(shown);
    posts.fields.push(Field {
        hidden: true,
        ..to("hush", 2)
    });
    Arc::new(Catalog::new([
        posts,
        collection(2, "notes", &policy),
        collection(3, "locked", &policy),
    ]))
}

#[test]
fn paths_of_expand_that_lead_nowhere_are_refused() {
    let check = |expand: &str, principal: &Principal| {
        let subscription = Subscription::parse(&query("posts/*", "expand", expand));
        let checked = Check::new(&related(), true, principal).one(&subscription);
        checked.map_err(|unfit| (unfit.code(), unfit.to_string()))
    };
    for (expand, path, nearest) in [
        ("note", None, ""),
        ("parent.note,posts_via_parent", None, ""),
        ("", None, ""),
        ("noet", Some("noet"), " Did you mean note?"),
        ("note,parent.title", Some("parent.title"), ""),
        ("vault", Some("vault"), ""),
        ("parent.vault", Some("parent.vault"), ""),
        ("hush", Some("hush"), ""),
        ("notes_via_hush", Some("notes_via_hush"), ""),
    ] {
        let Some(path) = path else {
            assert_eq!(check(expand, &Principal::Guest), Ok(()), "{expand}");
            continue;
        };
        let (code, message) = check(expand, &Principal::Guest).expect_err(expand);
        assert_eq!(code, "subscription_invalid_expand", "{expand}");
        let beginning = format!(
            "The path {path} of expand leads to no records that you may see.{nearest} Name"
        );
        assert!(message.starts_with(&beginning), "{message}");
    }
    for expand in ["vault", "hush", "parent.hush"] {
        assert_eq!(check(expand, &root()), Ok(()), "{expand}");
    }
    let (code, message) = check(&["note"; 101].join(","), &root()).expect_err("too many");
    assert_eq!(code, "subscription_invalid_expand");
    assert_eq!(
        message,
        "The option expand cannot be used: there are more than 100 paths."
    );
}
