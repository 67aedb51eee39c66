//! `rowcast doctor`: what is wrong with a database, and what to do about it.

mod checks;
mod listening;
mod relations;
mod rules;

use clap::Args;
use tokio_postgres::Client;

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::db::Database;

const EXAMPLES: &str = "\
Examples:
  rowcast doctor --database-url postgres://owner@localhost/shop

Looks only and changes nothing. Exit code 0 if nothing is wrong, 69 if something is.";

/// Check a database: version, rights, settings, notifications, triggers, rules
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// Works, but should be known.
    Remark,
    /// Does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    /// What was seen, and what to do.
    text: String,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self::new(Verdict::Good, text)
    }

    fn remark(text: impl Into<String>) -> Self {
        Self::new(Verdict::Remark, text)
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(Verdict::Bad, text)
    }

    fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { verdict, text }
    }

    fn show(&self) {
        let sign = match self.verdict {
            Verdict::Good => "ok    ",
            Verdict::Remark => "note  ",
            Verdict::Bad => "WRONG ",
        };
        terminal::result(format_args!("{sign}{}", self.text));
    }
}

impl Doctor {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let database = options.database()?;
        let mut client = session::open(&database, "doctor").await?;
        Finding::good(format!("connected to {}", database.address())).show();
        let findings = examine(&database, &mut client).await?;
        findings.iter().for_each(Finding::show);
        let bad = findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Bad)
            .count();
        match bad {
            0 => Ok(()),
            1 => Err(Failure::new(
                failure::UNAVAILABLE,
                "one thing is wrong".to_owned(),
            )),
            many => Err(Failure::new(
                failure::UNAVAILABLE,
                format!("{many} things are wrong"),
            )),
        }
    }
}

/// Everything, the later looks only where the earlier ones make sense.
async fn examine(database: &Database, client: &mut Client) -> Result<Vec<Finding>, Failure> {
    let mut findings = checks::server(client).await?;
    findings.push(checks::pool(database).await);
    findings.push(listening::check(database).await?);
    findings.extend(checks::schema(client).await?);
    if findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Bad)
    {
        findings.extend(checks::log(client).await?);
        findings.extend(checks::collections(client).await?);
        findings.extend(relations::check(database, client).await?);
        findings.extend(rules::check(client).await?);
    }
    Ok(findings)
}
