//! Rules in pairs: the text that rowcast is given, and the SQL by which Postgres itself decides.

use rand::RngExt;
use rand::rngs::StdRng;

use super::world::{Collection, PEOPLE, TEAMS};

/// A condition twice. In the SQL, `r` is the row as JSON, `{me}` and `{team}` are who asks.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub text: &'static str,
    sql: &'static str,
}

const fn pair(text: &'static str, sql: &'static str) -> Pair {
    Pair { text, sql }
}

const RULES: [Pair; 13] = [
    pair("", "true"),
    pair("", "true"),
    pair(r#"status = "open""#, "r->>'status' = 'open'"),
    pair(
        "n > 3 && n <= 12",
        "(r->>'n')::int > 3 and (r->>'n')::int <= 12",
    ),
    pair(
        r#"title ~ "ab" || title = """#,
        "coalesce(r->>'title', '') ilike '%ab%' or coalesce(r->>'title', '') = ''",
    ),
    pair(r#"secret = "s1""#, "r->>'secret' = 's1'"),
    pair(
        r#"@request.auth.id != "" && owner = @request.auth.id"#,
        "{me} <> '' and r->>'owner' = {me}",
    ),
    pair(
        r#"status != "closed" || (@request.auth.id != "" && owner = @request.auth.id)"#,
        "r->>'status' <> 'closed' or ({me} <> '' and r->>'owner' = {me})",
    ),
    pair(r#"@request.auth.team = "red""#, "{team} = 'red'"),
    // From here on other records decide.
    pair(
        r#"@request.auth.id != "" && owner.team = @request.auth.team"#,
        "{me} <> '' and (select p.team from people p where p.id = r->>'owner') = {team}",
    ),
    pair(
        r#"owner.team = "red""#,
        "(select p.team from people p where p.id = r->>'owner') = 'red'",
    ),
    pair(
        r#"@request.auth.id != "" && watchers.id ?= @request.auth.id"#,
        "{me} <> '' and r->'watchers' ? {me}",
    ),
    pair(
        "@collection.people.id ?= owner && @collection.people.team ?= title",
        "exists (select from people p where p.id = r->>'owner' and p.team = coalesce(r->>'title', ''))",
    ),
];

/// What subscribers ask for; nothing of it needs a right.
pub const FILTERS: [Pair; 5] = [
    pair("n >= 8", "(r->>'n')::int >= 8"),
    pair("title !~ 'b'", "coalesce(r->>'title', '') not ilike '%b%'"),
    pair(
        "status = 'open' || status = 'new'",
        "r->>'status' in ('open', 'new')",
    ),
    pair(
        "n > 5 && (status = 'closed' || title = 'red')",
        "(r->>'n')::int > 5 and (r->>'status' = 'closed' or r->>'title' = 'red')",
    ),
    pair("k < 10", "(r->>'k')::int < 10"),
];

/// Who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Guest,
    Person(usize),
    Superuser,
}

/// Which rule guards a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    View,
}

/// A rule for those who have a role.
#[derive(Debug, Clone)]
struct Grant {
    role: &'static str,
    collection: &'static str,
    rule: Pair,
    denies: bool,
}

/// Everything that decides who sees what.
#[derive(Debug, Clone)]
pub struct Policy {
    /// List and view rule of each collection; `None` is locked.
    rules: Vec<(Option<Pair>, Option<Pair>)>,
    grants: Vec<Grant>,
    /// Who has which role.
    roles: Vec<(usize, &'static str)>,
    teams: [&'static str; 4],
}

impl Policy {
    pub fn draw(rng: &mut StdRng, collections: &[Collection]) -> Self {
        let rule = |rng: &mut StdRng| {
            rng.random_bool(0.9)
                .then(|| RULES[rng.random_range(0..RULES.len())])
        };
        let rules = collections.iter().map(|_| (rule(rng), rule(rng))).collect();
        let grant = |rng: &mut StdRng, role, denies| Grant {
            role,
            collection: collections[rng.random_range(0..collections.len())].name,
            // A condition on values nobody has would make a denial of the wrong kind.
            rule: RULES[rng.random_range(0..6)],
            denies,
        };
        let grants = vec![grant(rng, "role:editor", false), grant(rng, "muted", true)];
        let mut roles = Vec::new();
        for person in 0..PEOPLE.len() {
            for role in ["role:editor", "muted"] {
                if rng.random_bool(0.35) {
                    roles.push((person, role));
                }
            }
        }
        let teams = std::array::from_fn(|_| TEAMS[rng.random_range(0..TEAMS.len())]);
        Self {
            rules,
            grants,
            roles,
            teams,
        }
    }

    /// The statements that make the database's policy this one, as one transaction.
    pub fn statements(&self, collections: &[Collection]) -> String {
        let mut sql = String::from(
            "begin; delete from rowcast.casbin_rule where v0 in ('role:editor', 'muted') or ptype = 'g';\n",
        );
        for (collection, (list, view)) in collections.iter().zip(&self.rules) {
            for (kind, rule) in [("list", list), ("view", view)] {
                let text = rule.map_or("null".to_owned(), |rule| format!("$r${}$r$", rule.text));
                sql += &format!(
                    "select rowcast.set_rule('{}', '{kind}', {text});\n",
                    collection.name
                );
            }
        }
        for grant in &self.grants {
            let effect = if grant.denies { "deny" } else { "allow" };
            sql += &format!(
                "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values ('p', '{}', '{}', '*', $r${}$r$, '{effect}');\n",
                grant.role, grant.collection, grant.rule.text
            );
        }
        for (person, role) in &self.roles {
            sql += &format!(
                "insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'people/{}', '{role}');\n",
                PEOPLE[*person]
            );
        }
        for (person, team) in PEOPLE.iter().zip(self.teams) {
            sql += &format!("update people set team = '{team}' where id = '{person}';\n");
        }
        sql + "commit;"
    }

    /// The condition under which `who` sees a row, and under which `filter` lets it pass.
    pub fn condition(
        &self,
        who: Who,
        at: usize,
        name: &str,
        kind: Kind,
        filter: Option<Pair>,
    ) -> String {
        let gate = match who {
            Who::Superuser => "true".to_owned(),
            Who::Guest | Who::Person(_) => self.gate(who, at, name, kind),
        };
        let filter = filter.map_or("true", |filter| filter.sql);
        self.fill(
            who,
            &format!("coalesce({gate}, false) and coalesce({filter}, false)"),
        )
    }

    fn gate(&self, who: Who, at: usize, name: &str, kind: Kind) -> String {
        let (list, view) = self.rules[at];
        let mut allows: Vec<_> = match kind {
            Kind::List => list,
            Kind::View => view,
        }
        .into_iter()
        .collect();
        let mut denies = Vec::new();
        let Who::Person(me) = who else {
            return any(&allows);
        };
        for grant in self.grants.iter().filter(|grant| grant.collection == name) {
            if self.roles.contains(&(me, grant.role)) {
                let side = if grant.denies {
                    &mut denies
                } else {
                    &mut allows
                };
                side.push(grant.rule);
            }
        }
        format!("({} and not {})", any(&allows), any(&denies))
    }

    fn fill(&self, who: Who, sql: &str) -> String {
        let (me, team) = match who {
            Who::Person(at) => (PEOPLE[at], self.teams[at]),
            Who::Guest | Who::Superuser => ("", ""),
        };
        sql.replace("{me}", &format!("'{me}'"))
            .replace("{team}", &format!("'{team}'"))
    }

    /// For reports: the rules of a collection.
    pub fn describe(&self, at: usize) -> String {
        let (list, view) = self.rules[at];
        let text = |rule: Option<Pair>| rule.map(|rule| rule.text);
        format!(
            "list {:?}, view {:?}; grants {:?}; roles {:?}; teams {:?}",
            text(list),
            text(view),
            self.grants,
            self.roles,
            self.teams
        )
    }
}

fn any(rules: &[Pair]) -> String {
    let each: Vec<_> = rules
        .iter()
        .map(|rule| format!("coalesce({}, false)", rule.sql))
        .collect();
    if each.is_empty() {
        "false".to_owned()
    } else {
        format!("({})", each.join(" or "))
    }
}
