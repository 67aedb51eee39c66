//! `rowcast detach`: takes a collection off the feed.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{session, terminal};

const DETACH: &str = include_str!("../../sql/cli/detach.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast detach posts

Removes our triggers from the table and the collection's rules; the table and its rows stay as
they are.";

/// Take a collection off the feed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Detach {
    /// The collection's name or id
    name: String,
}

impl Detach {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let client = session::open(&options.database()?, "detach").await?;
        let row = client.query_one(DETACH, &[&self.name]).await?;
        terminal::result(row.try_get::<_, String>("report")?);
        Ok(())
    }
}
