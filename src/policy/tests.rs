//! Gates against casbin, and what rows mean.

use std::collections::HashMap;

use proptest::prelude::*;

use super::rows::Values;
use super::*;

/// Reads rows written as `ptype, v0, v1, …`.
fn rows(lines: &[Vec<&str>]) -> PolicyRows {
    let mut rows = PolicyRows::default();
    for (id, line) in lines.iter().enumerate() {
        let mut values = Values::default();
        for (place, value) in values.iter_mut().zip(&line[1..]) {
            (*value).clone_into(place);
        }
        rows.add(i64::try_from(id).expect("a small number"), line[0], &values);
    }
    rows
}

fn policy(text: &str) -> Policy {
    let split = |line| str::split(line, ',').map(str::trim).collect();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(split)
        .collect();
    Policy::new(rows(&lines))
}

/// What a rule says: `broken` cannot be read, and the others are as `answers` has them.
fn answer(answers: &HashMap<&str, Option<bool>>, rule: &str) -> Option<bool> {
    answers.get(rule).copied().flatten()
}

fn by_gate(
    policy: &Policy,
    roles: &Roles,
    collection: &str,
    kind: RuleKind,
    answers: &HashMap<&str, Option<bool>>,
) -> bool {
    policy
        .applicable(&policy.role_set(roles), collection, kind)
        .compile(|row| (*row.rule != *"broken").then(|| row.rule.clone()))
        .opens(|rule| answer(answers, rule))
}

fn by_casbin(
    policy: &Policy,
    roles: &Roles,
    collection: &str,
    kind: RuleKind,
    answers: &HashMap<&str, Option<bool>>,
) -> bool {
    let asking = async {
        let reference = Reference::new(policy, roles).await?;
        reference.enforce(collection, kind, "42", |rule| answer(answers, rule))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .expect("a runtime")
        .block_on(asking)
        .expect("an answer")
}

#[test]
fn a_policy_means_what_casbin_says_it_means() {
    const POLICY: &str = "
        p, anyone,        posts,  list, status,  allow
        p, authenticated, posts,  *,    owner,   allow
        p, role:editor,   posts,  *,    ,        allow
        p, anyone,        posts,  list, secret,  deny
        p, auditor,       *,      *,    ,        allow
        p, users/bad,     *,      *,    ,        deny
        p, anyone,        notes,  view, broken,  allow
        p, anyone,        notes,  view, ,        allow
        p, role:editor,   notes,  view, broken,  deny
        p, superuser,     vault,  view, ,        deny
        g, users/ann, role:editor
        g, users/joe, deputy
        g, deputy, auditor
        g, auditor, deputy
        g, users/bad, auditor";
    let guest = Roles::guest();
    let user = |id| Roles::record("users", id, []);
    let claims_editor = Roles::record("users", "eve", ["editor"]);
    let claims_root = Roles::record("users", "eve", ["superuser", "auditor"]);
    let root = Roles::superuser("1");
    let policy = policy(POLICY);
    for (roles, collection, kind, holding, opens) in [
        (&guest, "posts", RuleKind::List, "", false),
        (&guest, "posts", RuleKind::List, "status", true),
        (&guest, "posts", RuleKind::List, "status secret", false),
        (&guest, "posts", RuleKind::View, "status owner", false),
        (&guest, "other", RuleKind::View, "", false),
        (&user("x"), "posts", RuleKind::View, "owner", true),
        (&user("x"), "posts", RuleKind::View, "secret owner", true),
        (&user("ann"), "posts", RuleKind::List, "", true),
        (&user("ann"), "posts", RuleKind::List, "secret", false),
        (&claims_editor, "posts", RuleKind::View, "", true),
        // A claim earns a role, never a name of the policy's own.
        (&claims_root, "other", RuleKind::View, "", false),
        (&user("joe"), "other", RuleKind::View, "", true),
        (&user("bad"), "other", RuleKind::View, "", false),
        (&guest, "notes", RuleKind::View, "", true),
        (&user("ann"), "notes", RuleKind::View, "", false),
        (&root, "posts", RuleKind::List, "secret", true),
        (&root, "vault", RuleKind::List, "", true),
        (&root, "vault", RuleKind::View, "", false),
    ] {
        let answers =
            ["status", "owner", "secret"].map(|rule| (rule, Some(holding.contains(rule))));
        let answers = HashMap::from(answers);
        let row = format!("{roles:?} {collection} {kind} where {holding:?}");
        assert_eq!(
            by_casbin(&policy, roles, collection, kind, &answers),
            opens,
            "casbin: {row}"
        );
        assert_eq!(
            by_gate(&policy, roles, collection, kind, &answers),
            opens,
            "gate: {row}"
        );
    }
}

#[test]
fn a_row_that_is_not_understood_never_opens_anything() {
    for (line, misread, opens) in [
        ("p, anyone, posts, list, , allow", false, true),
        ("p, anyone, posts, list, , ALLOW", true, false),
        ("p, anyone, posts, list", true, false),
        ("p, anyone, posts, list, , allow, x", true, false),
        (
            "p, guest, *, *, , allow\n p, anyone, posts, list, , forbid",
            true,
            false,
        ),
        (
            "p, guest, *, *, , allow\n p, anyone, posts, list, , deny, x",
            true,
            false,
        ),
        ("p, staff, *, *, , allow\n g, guest, staff", false, true),
        (
            "p, staff, *, *, , allow\n g, guest, staff, north",
            true,
            false,
        ),
        ("p, , *, *, , allow\n g, guest, ", true, false),
        ("p, anyone, posts, List, , allow", true, false),
        ("p2, anyone, posts, list, , allow", true, false),
    ] {
        let policy = policy(line);
        assert_eq!(!policy.misread().is_empty(), misread, "{line}");
        let (guest, answers) = (Roles::guest(), HashMap::new());
        let gate = by_gate(&policy, &guest, "posts", RuleKind::List, &answers);
        assert_eq!(gate, opens, "{line}");
        let casbin = by_casbin(&policy, &guest, "posts", RuleKind::List, &answers);
        assert_eq!(casbin, opens, "casbin: {line}");
    }
}

#[test]
fn chains_of_roles_may_be_longer_than_casbins_limit() {
    let links = (0..40).map(|n| format!("g, r{n}, r{}\n", n + 1));
    let text: String = links
        .chain(["g, guest, r0\n p, r40, posts, *, , allow".to_owned()])
        .collect();
    let (policy, answers) = (policy(&text), HashMap::new());
    for ask in [by_gate, by_casbin] {
        assert!(ask(
            &policy,
            &Roles::guest(),
            "posts",
            RuleKind::List,
            &answers
        ));
    }
}

#[test]
fn a_gate_that_asks_nothing_says_so() {
    for (text, never, always) in [
        ("", true, false),
        ("p, anyone, posts, list, , allow", false, true),
        ("p, anyone, posts, list, a, allow", false, false),
        ("p, anyone, posts, list, broken, allow", true, false),
        (
            "p, anyone, posts, *, , allow\n p, anyone, *, list, a, deny",
            false,
            false,
        ),
        (
            "p, anyone, posts, *, a, allow\n p, anyone, *, list, , deny",
            true,
            false,
        ),
        (
            "p, anyone, posts, *, , allow\n p, anyone, *, list, broken, deny",
            true,
            false,
        ),
    ] {
        let policy = policy(text);
        let roles = policy.role_set(&Roles::guest());
        let gate = policy
            .applicable(&roles, "posts", RuleKind::List)
            .compile(|row| (*row.rule != *"broken").then_some(()));
        assert_eq!(
            (gate.is_never(), gate.is_always()),
            (never, always),
            "{text}"
        );
    }
}

#[test]
fn cached_gates_are_made_once_per_policy_roles_collection_and_kind() {
    let first = policy("p, anyone, posts, list, a, allow\n p, users/1, posts, list, b, allow");
    let second = policy("p, anyone, posts, list, c, allow");
    let (one, two, three) = (
        Member::new(Roles::record("users", "1", [])),
        Member::new(Roles::record("users", "2", [])),
        Member::new(Roles::record("users", "3", [])),
    );
    let mut cache = GateCache::default();
    let mut compiled = Vec::new();
    let mut texts = |policy: &Policy, member: &Member, kind| {
        let gate = cache.gate(policy, member, &"posts".into(), kind, |row| {
            compiled.push(row.rule.to_string());
            Some(row.rule.to_string())
        });
        gate.rules().0.join(" ")
    };
    for _ in 0..2 {
        assert_eq!(texts(&first, &one, RuleKind::List), "a b");
        assert_eq!(texts(&first, &two, RuleKind::List), "a");
        assert_eq!(texts(&first, &three, RuleKind::List), "a");
        assert_eq!(texts(&first, &three, RuleKind::View), "");
    }
    assert_eq!(texts(&second, &one, RuleKind::List), "c");
    assert_eq!(texts(&second, &three, RuleKind::List), "c");
    assert_eq!(compiled, ["a", "b", "a", "c"]);
}

const SUBJECTS: &[&str] = &[
    "guest",
    "anyone",
    "authenticated",
    "superuser",
    "role:a",
    "role:b",
    "c",
    "d",
    "users/1",
    "users/2",
    "*",
];
const COLLECTIONS: &[&str] = &[
    "posts",
    "notes",
    "*",
    "",
    "topic:chat",
    "topic:chat/*",
    "topic:*",
    "topic:",
    "topic:c*t",
    "store:room",
    "store:*",
];
const KINDS: &[&str] = &["list", "view", "*", "read", "subscribe", "send", "set"];
const RULES: &[&str] = &["", "x", "y", "z", "broken"];
const EFFECTS: &[&str] = &["allow", "allow", "allow", "deny", "Deny", ""];

fn a_row() -> impl Strategy<Value = Vec<&'static str>> {
    let any = prop::sample::select::<&str>;
    let rule = (
        any(SUBJECTS),
        any(COLLECTIONS),
        any(KINDS),
        any(RULES),
        any(EFFECTS),
    )
        .prop_map(|(subject, collection, kind, rule, effect)| {
            vec!["p", subject, collection, kind, rule, effect]
        });
    let grant = (any(SUBJECTS), any(SUBJECTS)).prop_map(|(member, role)| vec!["g", member, role]);
    prop_oneof![3 => rule, 2 => grant]
}

fn some_roles() -> impl Strategy<Value = Roles> {
    let claims = prop::sample::subsequence(vec!["a", "b", "superuser"], 0..=3);
    prop_oneof![
        Just(Roles::guest()),
        Just(Roles::superuser("1")),
        (prop::sample::select(vec!["1", "2"]), claims)
            .prop_map(|(id, claims)| Roles::record("users", id, claims)),
    ]
}

proptest! {
    #[test]
    fn a_gate_decides_as_casbin_does(
        lines in prop::collection::vec(a_row(), 0..24),
        roles in some_roles(),
        says in prop::array::uniform3(prop::option::weighted(0.9, any::<bool>())),
    ) {
        let policy = Policy::new(rows(&lines));
        let answers = HashMap::from([("x", says[0]), ("y", says[1]), ("z", says[2])]);
        let kinds = [RuleKind::Subscribe, RuleKind::Send, RuleKind::Filter, RuleKind::Set];
        for (collections, kinds) in [
            (&["posts", "other"][..], RuleKind::ALL),
            (&["topic:chat", "topic:é", "store:room"][..], kinds),
        ] {
            for (collection, kind) in collections
                .iter()
                .flat_map(|collection| kinds.map(|kind| (*collection, kind)))
            {
                prop_assert_eq!(
                    by_gate(&policy, &roles, collection, kind, &answers),
                    by_casbin(&policy, &roles, collection, kind, &answers),
                    "{:?} {} {}", roles, collection, kind
                );
            }
        }
    }
}

#[test]
fn a_topic_is_open_until_a_row_closes_it_and_only_superusers_send() {
    use RuleKind::{Filter, Send, Set, Subscribe};
    let guest = Roles::guest();
    let user = Roles::record("users", "ann", []);
    let root = Roles::superuser("1");
    for (text, roles, object, kind, opens) in [
        ("", &guest, "topic:chat", Subscribe, true),
        ("", &root, "topic:chat", Subscribe, true),
        ("", &root, "topic:chat", Send, true),
        ("", &root, "topic:chat", Filter, true),
        ("", &root, "store:room", Set, true),
        ("", &user, "topic:chat", Send, false),
        ("", &user, "store:room", Set, false),
        // A row that allows closes to all others, and only what it names.
        (
            "p, authenticated, topic:chat/*, subscribe, , allow",
            &guest,
            "topic:chat/1",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:chat/*, subscribe, , allow",
            &user,
            "topic:chat/1",
            Subscribe,
            true,
        ),
        (
            "p, authenticated, topic:chat/*, subscribe, , allow",
            &guest,
            "topic:chat",
            Subscribe,
            true,
        ),
        (
            "p, authenticated, topic:chat/*, *, , allow",
            &guest,
            "topic:chat/1",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:chat/*, *, , allow",
            &user,
            "topic:chat/1",
            Send,
            true,
        ),
        (
            "p, authenticated, topic:chat/*, send, , allow",
            &guest,
            "topic:chat/1",
            Subscribe,
            true,
        ),
        (
            "p, authenticated, topic:chat/*, send, , allow",
            &user,
            "topic:chat/1",
            Filter,
            false,
        ),
        (
            "p, guest, topic:chat, subscribe, , deny",
            &guest,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, guest, topic:chat, subscribe, , deny",
            &user,
            "topic:chat",
            Subscribe,
            true,
        ),
        (
            "p, authenticated, store:room, set, , allow",
            &user,
            "store:room",
            Set,
            true,
        ),
        (
            "p, authenticated, store:room, set, , allow",
            &user,
            "store:rooms",
            Set,
            false,
        ),
        // Who is shut out of everything is shut out here; who may see all collections may not send.
        (
            "p, users/ann, *, *, , deny",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, users/ann, *, *, , allow",
            &user,
            "topic:chat",
            Send,
            false,
        ),
        (
            "p, users/ann, *, *, , allow",
            &user,
            "store:room",
            Set,
            false,
        ),
        // Doubt closes.
        (
            "p, authenticated, topic:chat, subscribe, , alow",
            &guest,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:chat, subscribed, , allow",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:chat, subscribe, , allow, x",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:c*t, subscribe, , allow",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, authenticated, topic:, subscribe, , allow",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
        (
            "p, users/ann, topic:c*t, subscribe, , deny",
            &user,
            "topic:cool",
            Subscribe,
            false,
        ),
        (
            "p, anyone, topic:chat, send, broken, allow",
            &user,
            "topic:chat",
            Send,
            false,
        ),
        (
            "p, anyone, topic:chat, subscribe, broken, deny",
            &user,
            "topic:chat",
            Subscribe,
            false,
        ),
    ] {
        let policy = policy(text);
        let row = format!("{text}: {roles:?} {object} {kind}");
        assert_eq!(
            by_gate(&policy, roles, object, kind, &HashMap::new()),
            opens,
            "gate: {row}"
        );
        assert_eq!(
            by_casbin(&policy, roles, object, kind, &HashMap::new()),
            opens,
            "casbin: {row}"
        );
    }
}
