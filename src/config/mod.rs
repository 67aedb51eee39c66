//! Settings: a file, then the environment, then flags, into one [`Config`].
//!
//! *Owns* the settings' names, bounds and texts.
//! *Takes* a TOML file, environment variables and flags; nothing else in the crate reads them.
//! *Gives* a [`Config`] of the rooms' own options, or every mistake at once.
//! *Never* shows a secret.

mod error;
mod file;
mod settings;
mod values;
mod webhooks;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use error::{ConfigErrors, Mistake};
use settings::{Setting, settings};

use crate::auth::{ForeignOptions, ForeignTokens};
use crate::capture::CaptureOptions;
use crate::db::{DatabaseOptions, SslMode};
use crate::http::HttpOptions;
use crate::hub::HubOptions;
use crate::points::PointsOptions;
use crate::telemetry::LogOptions;
use crate::webhooks::WebhookOptions;

/// Everything that can be set, as the rooms want it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen for HTTP.
    pub listen: SocketAddr,
    /// Whether `serve` brings the schema up to date before it starts.
    pub migrate: bool,
    /// The database; its `url` is empty if none is set.
    pub database: DatabaseOptions,
    /// How the log is read and kept.
    pub capture: CaptureOptions,
    /// Limits of fan-out.
    pub hub: HubOptions,
    /// How long clients with keys are remembered.
    pub points: PointsOptions,
    /// The HTTP side.
    pub http: HttpOptions,
    /// Another issuer whose tokens are believed.
    pub foreign: ForeignOptions,
    /// The same, with its keys read; `None` if it has none.
    pub foreign_tokens: Option<ForeignTokens>,
    /// Who is asked and told over HTTP what happens to streams.
    pub webhooks: Vec<WebhookOptions>,
    /// The folder with templates.
    pub templates: Option<PathBuf>,
    /// What is logged.
    pub log: LogOptions,
    origins: BTreeMap<&'static str, Origin>,
    notices: Vec<String>,
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; without it the variable `ROWCAST_CONFIG`, without both no file is read.
    pub file: Option<PathBuf>,
    /// All environment variables.
    pub environment: BTreeMap<String, String>,
    /// Flags that were given, by the setting's name.
    pub flags: Vec<Flag>,
}

/// A setting given as a flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as the user wrote it, such as `--listen`.
    pub flag: String,
    /// The setting's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Whether a command can do without a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It is a mistake not to name one.
    Database,
    /// None is needed.
    Nothing,
}

/// Where one setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            migrate: true,
            database: DatabaseOptions::new(""),
            capture: CaptureOptions::default(),
            hub: HubOptions::default(),
            points: PointsOptions::default(),
            http: HttpOptions::default(),
            foreign: ForeignOptions::default(),
            foreign_tokens: None,
            webhooks: Vec::new(),
            templates: None,
            log: LogOptions::default(),
            origins: BTreeMap::new(),
            notices: Vec::new(),
        }
    }
}

impl Sources {
    /// The file and the flags given, and the process's environment.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self {
            file,
            environment: variables.collect(),
            flags,
        }
    }

    /// A variable that is set to something; `NAME=` counts as not set.
    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }
}

impl Config {
    /// Reads all sources, the later ones having the last word.
    ///
    /// # Errors
    /// All mistakes of all sources at once.
    pub fn load(sources: &Sources, need: Need) -> Result<Self, ConfigErrors> {
        let mut loading = Loading::new();
        loading.file(sources);
        loading.environment(sources);
        loading.flags(sources);
        loading.finish(need)
    }

    /// Things that are no mistakes but worth a line in the log, such as a variable nobody knows.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// All settings as a TOML file that says where each value came from, with secrets masked.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for setting in settings() {
            let value = toml::Value::String(setting.show(self));
            let origin = match self.origins.get(setting.name) {
                Some(origin) => format!("from {origin}"),
                None => "default".to_owned(),
            };
            let value = match setting.is_unset(self) {
                true => format!("# {} =", setting.name),
                false => format!("{} = {value}", setting.name),
            };
            write!(text, "# {} ({origin})\n{value}\n\n", setting.about)
                .expect("writing to a string cannot fail");
        }
        text.push_str(&webhooks::to_toml(&self.webhooks));
        text.truncate(text.trim_end().len() + 1);
        text
    }
}

/// A configuration under way, and what was wrong so far.
struct Loading {
    settings: Vec<Setting>,
    config: Config,
    mistakes: Vec<Mistake>,
}

impl Loading {
    fn new() -> Self {
        Self {
            settings: settings(),
            config: Config::default(),
            mistakes: Vec::new(),
        }
    }

    fn file(&mut self, sources: &Sources) {
        let named = sources.variable("ROWCAST_CONFIG").map(PathBuf::from);
        let Some(path) = sources.file.clone().or(named) else {
            return;
        };
        let origin = Origin::File(path.clone());
        match file::read(&path) {
            Err(mistake) => self.mistakes.push(mistake),
            Ok((entries, tables)) => {
                let read = webhooks::read(tables);
                self.config.webhooks = read.webhooks;
                for (setting, problem) in read.mistakes {
                    self.mistake(&setting, Some(origin.clone()), problem);
                }
                for (key, value) in entries {
                    // The variables' names in lower case are as good as the short ones.
                    let name = key.strip_prefix("rowcast_").unwrap_or(&key);
                    match value {
                        Ok(value) => self.set(name, &value, origin.clone()),
                        Err(problem) => self.mistake(&key, Some(origin.clone()), problem),
                    }
                }
            }
        }
    }

    fn environment(&mut self, sources: &Sources) {
        self.postgres_variables(sources);
        // The more special name has the last word.
        if let Some(url) = sources.variable("DATABASE_URL") {
            self.set(
                "database_url",
                url,
                Origin::Variable("DATABASE_URL".to_owned()),
            );
        }
        let prefixed = sources.environment.iter();
        let prefixed = prefixed.filter_map(|(name, value)| {
            let setting = name.strip_prefix("ROWCAST_")?.to_ascii_lowercase();
            (!value.is_empty() && setting != "config").then_some((name, setting, value))
        });
        for (variable, name, value) in prefixed {
            if self.settings.iter().any(|setting| setting.name == name) {
                self.set(&name, value, Origin::Variable(variable.clone()));
            } else {
                self.notice_variable(variable, &name);
            }
        }
    }

    /// libpq's own variables, for what the connection string does not say.
    fn postgres_variables(&mut self, sources: &Sources) {
        if let Some(mode) = sources.variable("PGSSLMODE") {
            match mode.parse::<SslMode>() {
                Ok(mode) => self.config.database.sslmode = Some(mode),
                Err(problem) => {
                    let origin = Origin::Variable("PGSSLMODE".to_owned());
                    self.mistake("PGSSLMODE", Some(origin), problem.to_string());
                }
            }
        }
        let root = sources.variable("PGSSLROOTCERT").map(PathBuf::from);
        self.config.database.sslrootcert = root;
        let password = sources.variable("PGPASSWORD").map(str::to_owned);
        self.config.database.password = password;
    }

    /// Kubernetes sets `ROWCAST_…` variables for a service of our name, so an unknown one is no
    /// mistake; a likely slip of the pen is told.
    fn notice_variable(&mut self, variable: &str, name: &str) {
        if let Some(near) = self.nearest(name) {
            let near = near.to_ascii_uppercase();
            let notice = format!("{variable} is no setting; did you mean ROWCAST_{near}?");
            self.config.notices.push(notice);
        }
    }

    fn flags(&mut self, sources: &Sources) {
        for Flag { flag, name, value } in &sources.flags {
            self.set(name, value, Origin::Flag(flag.clone()));
        }
    }

    fn set(&mut self, name: &str, value: &str, origin: Origin) {
        let Some(setting) = self.settings.iter().find(|setting| setting.name == name) else {
            let hint = match self.nearest(name) {
                Some(near) => format!("is no setting; did you mean {near}?"),
                None => "is no setting; rowcast serve --print-config lists them all".to_owned(),
            };
            return self.mistake(name, Some(origin), hint);
        };
        match setting.set(&mut self.config, value) {
            Ok(()) => {
                self.config.origins.insert(setting.name, origin);
            }
            Err(problem) => self.mistake(name, Some(origin), problem),
        }
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        let distance = |setting: &Setting| strsim::damerau_levenshtein(setting.name, name);
        let near = self
            .settings
            .iter()
            .map(|setting| (distance(setting), setting.name))
            .min()?;
        // A third of the letters wrong is a slip; more is another word.
        (near.0 <= name.chars().count() / 3).then_some(near.1)
    }

    fn mistake(&mut self, setting: &str, origin: Option<Origin>, problem: String) {
        self.mistakes.push(Mistake {
            setting: setting.to_owned(),
            origin,
            problem,
        });
    }

    /// What can only be checked when all is known.
    fn finish(mut self, need: Need) -> Result<Config, ConfigErrors> {
        let failed = |name: &str| self.mistakes.iter().any(|mistake| mistake.setting == name);
        let database_failed = failed("database_url");
        if !self.config.database.url.is_empty() {
            if let Err((name, error)) = self.config.database.check() {
                let origin = self.config.origins.get(name).cloned();
                self.mistake(name, origin, error::chain(&error));
            }
        } else if need == Need::Database && !database_failed {
            let problem = "is not set; give --database-url, or ROWCAST_DATABASE_URL or \
                           DATABASE_URL in the environment, like \
                           postgres://user:password@host:5432/name";
            self.mistake("database_url", None, problem.to_owned());
        }
        if let Some(folder) = &self.config.templates
            && !folder.is_dir()
        {
            let origin = self.config.origins.get("templates").cloned();
            let problem = format!("{} is no folder", folder.display());
            self.mistake("templates", origin, problem);
        }
        match ForeignTokens::new(self.config.foreign.clone()) {
            Ok(tokens) => self.config.foreign_tokens = tokens,
            Err(error) => self.mistake("jwt_algorithm", None, error::chain(&error)),
        }
        match self.mistakes.is_empty() {
            true => Ok(self.config),
            false => Err(ConfigErrors(self.mistakes)),
        }
    }
}

#[cfg(test)]
mod tests;
