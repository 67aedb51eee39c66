//! `rowcast token`: a token for a superuser.

use std::time::Duration;

use clap::Args;

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::auth::{IssueError, SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};

const EXAMPLES: &str = "\
Examples:
  rowcast token --superuser admin@example.com
  TOKEN=$(rowcast token --superuser ci@example.com --expires-in 1h)
  curl -H \"Authorization: $TOKEN\" …

A superuser of this email is created if there is none. The token stands alone on standard output;
remarks go to standard error. To make all tokens of a superuser invalid:
  update rowcast.superusers set token_key = md5(random()::text) where email = '…';";

/// Print a token for a superuser
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Token {
    /// Whose token
    #[arg(long, value_name = "EMAIL")]
    superuser: String,
    /// How long it lives, from 10s to 3years
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
}

impl Token {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let client = session::open(&options.database()?, "token").await?;
        let expires_in = self.expires_in.unwrap_or(SUPERUSER_TOKEN_LIFETIME);
        let issued = issue_superuser_token(&client, &self.superuser, expires_in).await;
        let issued = issued.map_err(not_issued)?;
        if issued.created {
            terminal::note(format_args!(
                "note: created the superuser {}",
                self.superuser
            ));
        }
        let lifetime = humantime::format_duration(expires_in);
        terminal::note(format_args!(
            "note: valid for {lifetime}; whoever has it sees everything"
        ));
        terminal::result(issued.token);
        Ok(())
    }
}

fn not_issued(error: IssueError) -> Failure {
    match error {
        IssueError::Query(error) => error.into(),
        IssueError::Email(_) | IssueError::Lifetime(_) | IssueError::EmptyKey => {
            Failure::usage(&error)
        }
        IssueError::Sign(_) => Failure::new(failure::INTERNAL, failure::explain(&error)),
    }
}
