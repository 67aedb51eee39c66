//! `rowcast superuser`: superusers that log in by password.

use std::io::{BufRead, IsTerminal, Read, stdin};

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::auth::{PasswordChange, SuperuserError, set_superuser_password};

const EXAMPLES: &str = "\
Examples:
  rowcast superuser create admin@example.com                  # asks for the password
  pass show rowcast | rowcast superuser create admin@example.com
  rowcast superuser password admin@example.com                # another; earlier tokens end

PocketBase's SDKs log in: pb.collection('_superusers').authWithPassword(email, password).
Without a password there are tokens: rowcast token --superuser EMAIL. To remove one:
  delete from rowcast.superusers where email = '…';";

/// Passwords are longer than this, as PocketBase asks for too, and no longer than a login takes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=255;

/// Make superusers that log in by password
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Superuser {
    #[command(subcommand)]
    command: SuperuserCommand,
}

#[derive(Debug, Subcommand)]
enum SuperuserCommand {
    /// Make a superuser, or give a password to one that has none
    Create(Whose),
    /// Give a superuser another password
    Password(Whose),
}

/// The password comes from the terminal or from standard input, where no list of processes shows it.
#[derive(Debug, Args)]
struct Whose {
    /// The superuser's email
    email: String,
}

impl Superuser {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let (Whose { email }, change) = match self.command {
            SuperuserCommand::Create(whose) => (whose, PasswordChange::First),
            SuperuserCommand::Password(whose) => (whose, PasswordChange::Another),
        };
        let mut client = session::open(&options.database()?, "superuser").await?;
        let password = ask_for_password()?;
        let set = set_superuser_password(&mut client, &email, &password, change).await;
        set.map_err(not_set)?;
        terminal::note(match change {
            PasswordChange::First => format!("{email} may log in now, and sees everything"),
            PasswordChange::Another => {
                format!("{email} has another password; tokens from before have ended")
            }
        });
        Ok(())
    }
}

fn ask_for_password() -> Result<String, Failure> {
    let asked = match stdin().is_terminal() {
        true => ask_twice(),
        false => read_line(),
    };
    let password = asked.map_err(|error| {
        let text = format!("could not read the password: {error}");
        Failure::new(failure::USAGE, text)
    })?;
    match PASSWORD_BYTES.contains(&password.len()) {
        true => Ok(password),
        false => {
            let text = format!(
                "the password has {} bytes; take one of {} to {}",
                password.len(),
                PASSWORD_BYTES.start(),
                PASSWORD_BYTES.end()
            );
            Err(Failure::new(failure::USAGE, text))
        }
    }
}

fn ask_twice() -> std::io::Result<String> {
    let first = rpassword::prompt_password("Password: ")?;
    let again = rpassword::prompt_password("The same again: ")?;
    match first == again {
        true => Ok(first),
        false => Err(std::io::Error::other("they differ; try again")),
    }
}

/// The first line, without its end.
fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    let longest = *PASSWORD_BYTES.end() as u64 + 2;
    stdin().lock().take(longest).read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn not_set(error: SuperuserError) -> Failure {
    match error {
        SuperuserError::Query(error) => error.into(),
        SuperuserError::Hash => Failure::new(failure::INTERNAL, failure::explain(&error)),
        error => Failure::usage(&error),
    }
}
