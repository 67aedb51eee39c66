//! `rowcast token`: a token for a superuser or for a record.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::auth::{
    IssueError, IssueRecordError, RECORD_TOKEN_LIFETIME, RecordError, SUPERUSER_TOKEN_LIFETIME,
    issue_record_token, issue_superuser_token,
};

const EXAMPLES: &str = "\
Examples:
  rowcast token --superuser admin@example.com
  rowcast token --collection members --id 42             # what member 42 sees
  TOKEN=$(rowcast token --superuser ci@example.com --expires-in 1h)
  curl -H \"Authorization: $TOKEN\" …

The token stands alone on standard output; remarks go to standard error. A superuser of
this email is created if there is none; a record must exist. To make all tokens of a superuser
invalid:
  update rowcast.superusers set token_key = md5(random()::text) where email = '…';
A record's tokens end with its password, its email or its token key.";

/// Print a token for a superuser or a record
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("who").required(true).args(["superuser", "collection"])))]
pub struct Token {
    /// A superuser's token
    #[arg(long, value_name = "EMAIL", conflicts_with = "id")]
    superuser: Option<String>,
    /// The token of a record of this auth collection, by name or id
    #[arg(long, value_name = "NAME", requires = "id")]
    collection: Option<String>,
    /// Which record: its id
    #[arg(long, value_name = "ID", requires = "collection")]
    id: Option<String>,
    /// How long it lives, from 10s to 3years [default: 1day, a record's 5days]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
}

impl Token {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        match (&self.superuser, &self.collection, &self.id) {
            (Some(email), ..) => self.of_superuser(options, email).await,
            (None, Some(collection), Some(id)) => self.of_record(options, collection, id).await,
            _ => {
                let text = "say whose: --superuser EMAIL, or --collection NAME --id ID";
                Err(Failure::new(failure::USAGE, text.to_owned()))
            }
        }
    }

    async fn of_superuser(&self, options: ConfigOptions, email: &str) -> Result<(), Failure> {
        let client = session::open(&options.database()?, "token").await?;
        let expires_in = self.expires_in.unwrap_or(SUPERUSER_TOKEN_LIFETIME);
        let issued = issue_superuser_token(&client, email, expires_in).await;
        let issued = issued.map_err(not_issued)?;
        if issued.created {
            terminal::note(format_args!("note: created the superuser {email}"));
        }
        let lifetime = humantime::format_duration(expires_in);
        terminal::note(format_args!(
            "note: valid for {lifetime}; whoever has it sees everything"
        ));
        terminal::result(issued.token);
        Ok(())
    }

    async fn of_record(
        &self,
        options: ConfigOptions,
        collection: &str,
        id: &str,
    ) -> Result<(), Failure> {
        let database = options.database()?;
        // A database that is not there, or without our schema, is told in the usual words.
        drop(session::open(&database, "token").await?);
        let expires_in = self.expires_in.unwrap_or(RECORD_TOKEN_LIFETIME);
        let token = issue_record_token(&database, collection, id, expires_in).await;
        let token = token.map_err(not_issued_for_record)?;
        let lifetime = humantime::format_duration(expires_in);
        terminal::note(format_args!(
            "note: valid for {lifetime}; whoever has it is {collection}/{id}"
        ));
        terminal::result(token);
        Ok(())
    }
}

pub(super) fn not_issued(error: IssueError) -> Failure {
    match error {
        IssueError::Query(error) => error.into(),
        IssueError::Email(_) | IssueError::Lifetime(_) | IssueError::EmptyKey => {
            Failure::usage(&error)
        }
        IssueError::Sign(_) => Failure::new(failure::INTERNAL, failure::explain(&error)),
    }
}

fn not_issued_for_record(error: IssueRecordError) -> Failure {
    match error {
        IssueRecordError::Record(RecordError::Query(error)) => error.into(),
        IssueRecordError::Record(RecordError::Catalog(_)) => {
            let text = format!(
                "{}\n  hint: is the schema up to date? run: rowcast migrate",
                failure::explain(&error)
            );
            Failure::new(failure::USAGE, text)
        }
        IssueRecordError::Record(RecordError::Pool(_) | RecordError::Timeout) => {
            Failure::new(failure::UNAVAILABLE, failure::explain(&error))
        }
        error => Failure::usage(&error),
    }
}
