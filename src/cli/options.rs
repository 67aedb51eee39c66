//! What every command takes: where the settings are.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::config::{Config, Flag, Need, Sources};
use crate::db::Database;

/// Flags that lead to settings.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigOptions {
    /// The database, as postgres://… or host=… user=…; a variable (DATABASE_URL) keeps the
    /// password out of the process list
    #[arg(long, value_name = "URL", global = true, help_heading = "Settings")]
    database_url: Option<String>,
    /// A TOML file of settings [variable: ROWCAST_CONFIG]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Any setting by its name, such as --set idle_timeout=10m
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value, global = true,
          help_heading = "Settings")]
    set: Vec<(String, String)>,
}

impl ConfigOptions {
    /// Reads all settings.
    pub fn load(&self, need: Need) -> Result<Config, Failure> {
        self.load_with(need, Vec::new())
    }

    /// Reads all settings; a command's own flags have the last word.
    pub fn load_with(&self, need: Need, own: Vec<Flag>) -> Result<Config, Failure> {
        let url = self.database_url.iter().map(|url| Flag {
            flag: "--database-url".to_owned(),
            name: "database_url".to_owned(),
            value: url.clone(),
        });
        let set = self.set.iter().map(|(name, value)| Flag {
            flag: "--set".to_owned(),
            name: name.clone(),
            value: value.clone(),
        });
        let flags = url.chain(set).chain(own).collect();
        let sources = Sources::of_process(self.config.clone(), flags);
        Config::load(&sources, need).map_err(|errors| Failure::usage(&errors))
    }

    /// The database that the settings name.
    pub fn database(&self) -> Result<Database, Failure> {
        let config = self.load(Need::Database)?;
        Database::new(&config.database).map_err(|error| Failure::usage(&error))
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().replace('-', "_"), value.trim().to_owned())),
        None => Err("write it as NAME=VALUE, like idle_timeout=10m".to_owned()),
    }
}
