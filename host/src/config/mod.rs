//! Settings from defaults, a file, the environment and flags, each with its origin.
//!
//! Later sources win: defaults, then the file, then `ONHAND_...`, then flags. A name that is not
//! known is refused with a suggestion, whatever source it comes from.

mod setting;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onhand_core::limits::SHARDS_MAX;
use onhand_core::{Engine, EngineBuilder};
use onhand_desk::limits::{Bound, QUEUE, QUOTE_MS, RECORDED, SUBJECTS, THREADS};
use onhand_desk::{Desk, DeskConfig, DeskError, Settings as Policies};
use onhand_plugin_bundle::Trust;
use onhand_plugin_runtime::limits::TOTAL_INSTANCES;
use onhand_plugin_runtime::{CompilerProcess, Runtime, RuntimeConfig};

pub use setting::{SETTINGS, Setting};

use crate::auth::ApiKeys;
use crate::server::{ServerConfig, UPLOAD_BYTES_MAX};
use crate::tls::Tls;
use crate::wire::field::{closest, shorten};

/// Variables with our prefix that are no settings of the host but of its clients.
const CLIENT_VARIABLES: &[&str] = &["ONHAND_API_KEY", "ONHAND_URL"];
/// Directory of the compiled code of plugins in the data directory.
const COMPILED_DIR: &str = "plugins-compiled";
/// What an environment variable of a setting starts with.
const ENV_PREFIX: &str = "ONHAND_";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why the settings are not usable: a text that names setting, value, origin and range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Values as text, each with its origin.
#[derive(Clone, Debug)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Default for Settings {
    fn default() -> Self {
        let default = |s: &Setting| (s.key, (s.default.to_owned(), Origin::Default));
        Self { values: SETTINGS.iter().map(default).collect() }
    }
}

impl Settings {
    /// Takes the settings of a TOML file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file can't be read, is not TOML, or names something unknown.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let show = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError(format!("configuration file {show} can't be read: {e}")))?;
        let table: toml::Table = text
            .parse()
            .map_err(|e| ConfigError(format!("configuration file {show} is not TOML: {e}")))?;
        for (name, value) in &table {
            match value {
                toml::Value::Table(section) => {
                    for (inner, value) in section {
                        self.file_value(&format!("{name}.{inner}"), value, path)?;
                    }
                }
                value => self.file_value(name, value, path)?,
            }
        }
        Ok(())
    }

    fn file_value(
        &mut self,
        key: &str,
        value: &toml::Value,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(entries) if entries.iter().all(toml::Value::is_str) => {
                let texts: Vec<&str> = entries.iter().filter_map(toml::Value::as_str).collect();
                texts.join(",")
            }
            other => {
                let kind = other.type_str();
                return Err(ConfigError(format!(
                    "{key} in {} is a {kind}; write a text, a whole number, true or false",
                    path.display()
                )));
            }
        };
        self.set(key, text, Origin::File(path.to_owned()))
    }

    /// Takes the settings among environment variables.
    ///
    /// # Errors
    ///
    /// Returns an error for a variable with our prefix that is no setting.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            if CLIENT_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let key = rest.replace("__", ".").to_ascii_lowercase();
            if !SETTINGS.iter().any(|setting| setting.key == key) {
                let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
                let known: Vec<&str> = names.iter().map(String::as_str).collect();
                let hint = closest(&name, &known);
                let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
                let short = shorten(&name);
                return Err(ConfigError(format!("environment variable {short} is unknown{hint}")));
            }
            self.set(&key, value, Origin::Environment(name))?;
        }
        Ok(())
    }

    /// Takes one value.
    ///
    /// # Errors
    ///
    /// Returns an error if no setting has this key.
    pub fn set(&mut self, key: &str, value: String, origin: Origin) -> Result<(), ConfigError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            let hint = match closest(key, &known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            let short = shorten(key);
            return Err(ConfigError(format!("setting {short} ({origin}) is unknown; {hint}")));
        };
        self.values.insert(setting.key, (value, origin));
        Ok(())
    }

    /// Returns each setting with its value and origin; secrets are not shown.
    pub fn shown(&self) -> Vec<(&'static str, String, String)> {
        let show = |(key, (value, origin)): (&&'static str, &(String, Origin))| {
            let secret = SETTINGS.iter().any(|s| s.key == *key && s.secret) && !value.is_empty();
            let value = if secret { "(not shown)".to_owned() } else { value.clone() };
            (*key, value, origin.to_string())
        };
        self.values.iter().map(show).collect()
    }

    fn text(&self, key: &str) -> (&str, &Origin) {
        let (value, origin) = &self.values[key];
        (value, origin)
    }

    fn wrong(&self, key: &str, want: &str) -> ConfigError {
        let (value, origin) = self.text(key);
        ConfigError(format!("{key} is \"{}\" ({origin}), not {want}", shorten(value)))
    }

    fn number(&self, key: &str, min: u64, max: u64) -> Result<u64, ConfigError> {
        let parsed = self.text(key).0.replace('_', "").parse().ok();
        parsed
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.wrong(key, &format!("a whole number from {min} to {max}")))
    }

    fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.text(key).0 {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong(key, "true or false")),
        }
    }

    fn millis(&self, key: &str, max: u64) -> Result<Duration, ConfigError> {
        self.number(key, 1, max).map(Duration::from_millis)
    }

    /// Checks all values and returns them in their types.
    ///
    /// # Errors
    ///
    /// Returns the first value that is not usable, or a combination that would be unsafe.
    pub fn check(&self) -> Result<HostConfig, ConfigError> {
        const ADDRESS: &str = "an address such as 127.0.0.1:8080";
        let listen: SocketAddr =
            self.text("listen").0.parse().map_err(|_| self.wrong("listen", ADDRESS))?;
        let admin = match self.text("admin").0 {
            "" => None,
            text => Some(text.parse::<SocketAddr>().map_err(|_| self.wrong("admin", ADDRESS))?),
        };
        let dev = self.flag("dev")?;
        if dev && !listen.ip().is_loopback() {
            return Err(ConfigError(format!(
                "dev takes writes without a key, and listen is {listen}, not a loopback address; \
                 use 127.0.0.1 or configure api_keys"
            )));
        }
        let api_keys = self.text("api_keys").0;
        let keys = api_keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        let api_keys =
            ApiKeys::read(keys).map_err(|why| ConfigError(format!("api_keys: {why}")))?;
        if api_keys.is_empty() && !dev {
            return Err(ConfigError(
                "api_keys is empty, so nobody could write: make one with `onhand key new` and set \
                 ONHAND_API_KEYS, or use --dev on a loopback address"
                    .to_owned(),
            ));
        }
        Ok(HostConfig {
            data: PathBuf::from(self.text("data").0),
            listen,
            admin,
            dev,
            drain_timeout: self.millis("limits.drain_timeout_ms", 3_600_000)?,
            engine: self.engine()?,
            server: self.server(api_keys, dev)?,
            plugins: self.plugins()?,
        })
    }

    fn plugins(&self) -> Result<PluginSettings, ConfigError> {
        let within = |key, bound: Bound| self.number(key, bound.min, bound.max);
        let policies = match self.text("plugins.policies").0 {
            "" => Policies::default(),
            path => Policies::read(&Self::contents("plugins.policies", path)?)
                .map_err(|error| ConfigError(format!("plugins.policies: {path}: {error}")))?,
        };
        let trust = match self.text("plugins.trust").0 {
            "" => Trust::default(),
            path => Trust::read(&Self::contents("plugins.trust", path)?)
                .map_err(|error| ConfigError(format!("plugins.trust: {path}: {error}")))?,
        };
        Ok(PluginSettings {
            enabled: self.flag("plugins.enabled")?,
            learn: self.flag("plugins.learn")?,
            policies,
            trust,
            threads: within("plugins.threads", THREADS)?,
            queue_max: within("plugins.queue_max", QUEUE)?,
            recorded_max: within("plugins.recorded_max", RECORDED)?,
            subjects_max: within("plugins.subjects_max", SUBJECTS)?,
            quote_ms: within("plugins.quote_ms", QUOTE_MS)?,
        })
    }

    /// Returns what a file that a setting names says.
    fn contents(key: &str, path: &str) -> Result<String, ConfigError> {
        std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{key}: {path} can't be read: {error}")))
    }

    fn engine(&self) -> Result<EngineSettings, ConfigError> {
        const GIB: u64 = 1 << 30;
        let key = "engine.checkpoint_journal_bytes";
        Ok(EngineSettings {
            shards: match self.text("engine.shards").0 {
                "auto" => None,
                _ => Some(self.number("engine.shards", 1, SHARDS_MAX.into())? as u16),
            },
            queue_commands_max: self.number("engine.queue_commands_max", 1, 1 << 22)? as u32,
            checkpoint_journal_bytes: self.number(key, 1 << 20, 1_024 * GIB)?,
            keep_journal: self.flag("engine.keep_journal")?,
            direct_io: self.flag("engine.direct_io")?,
            expected_orders: self.number("engine.expected_orders", 0, 1 << 32)? as usize,
            cross_shard_wait_ms: self.number("engine.cross_shard_wait_ms", 1, 60_000)?,
        })
    }

    fn server(&self, api_keys: ApiKeys, dev: bool) -> Result<ServerConfig, ConfigError> {
        let defaults = ServerConfig::default();
        let workers = match self.text("workers").0 {
            "auto" => defaults.workers,
            _ => self.number("workers", 1, crate::server::WORKERS_MAX as u64)? as usize,
        };
        let size = |key, max| self.number(key, 1, max).map(|number| number as usize);
        Ok(ServerConfig {
            api_keys,
            open_writes: dev,
            workers,
            connections_max: size("limits.connections_max", 1_000_000)?,
            body_bytes_max: size("limits.body_bytes_max", 16 << 20)?,
            batch_body_bytes_max: size("limits.batch_body_bytes_max", 16 << 20)?,
            waiting_max: size("limits.waiting_max", 1_000_000)?,
            header_timeout: self.millis("limits.header_timeout_ms", 600_000)?,
            body_timeout: self.millis("limits.body_timeout_ms", 600_000)?,
            request_timeout: self.millis("limits.request_timeout_ms", 600_000)?,
            write_timeout: self.millis("limits.write_timeout_ms", 600_000)?,
            upload_bytes_max: size("plugins.upload_bytes_max", UPLOAD_BYTES_MAX as u64)?,
            tls: self.tls()?.map(Arc::new),
            handshake_timeout: self.millis("tls.handshake_timeout_ms", 600_000)?,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let lone = |set: &str, lacking: &str| {
            let (value, origin) = self.text(set);
            let value = shorten(value);
            ConfigError(format!(
                "{set} is \"{value}\" ({origin}), and {lacking} is empty; TLS needs both"
            ))
        };
        match (self.text("tls.cert").0, self.text("tls.key").0) {
            ("", "") => Ok(None),
            (_, "") => Err(lone("tls.cert", "tls.key")),
            ("", _) => Err(lone("tls.key", "tls.cert")),
            (cert, key) => {
                Tls::read(cert, key).map(Some).map_err(|error| ConfigError(error.to_string()))
            }
        }
    }
}

/// Settings of the engine that a host opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Shards; `None` takes those of the data directory, 1 for a new one.
    pub shards: Option<u16>,
    /// Most commands that wait.
    pub queue_commands_max: u32,
    /// Journal between two checkpoints, in bytes.
    pub checkpoint_journal_bytes: u64,
    /// Whether the journal behind a checkpoint is kept.
    pub keep_journal: bool,
    /// Whether to write past the page cache.
    pub direct_io: bool,
    /// Orders to make room for at the start.
    pub expected_orders: usize,
    /// How long a basket over several shards may take, in milliseconds.
    pub cross_shard_wait_ms: u64,
}

impl EngineSettings {
    /// Returns a builder with these settings for a data directory.
    pub fn builder(&self, data: &Path) -> EngineBuilder {
        let builder = Engine::builder(data);
        let builder = match self.shards {
            Some(shards) => builder.shards(shards),
            None => builder,
        };
        builder
            .queue_commands_max(self.queue_commands_max)
            .checkpoint_journal_bytes(self.checkpoint_journal_bytes)
            .keep_journal(self.keep_journal)
            .direct_io(self.direct_io)
            .expected_orders(self.expected_orders)
            .cross_shard_wait_ms(self.cross_shard_wait_ms)
    }
}

/// Plugins that may decide on baskets at the same time: of prices and of fraud, each with its canary.
/// Each has an instance for each of the desk's threads.
const PLUGINS_AT_ONCE: u64 = 4;

/// Settings of policies and plugins.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Whether plugins run.
    pub enabled: bool,
    /// Whether placed orders teach.
    pub learn: bool,
    /// The built-in policies.
    pub policies: Policies,
    /// Whose plugins are taken.
    pub trust: Trust,
    /// Threads that decide.
    pub threads: u64,
    /// Most baskets that wait for a decision.
    pub queue_max: u64,
    /// Inputs of each kind that are kept.
    pub recorded_max: u64,
    /// Subjects whose orders count.
    pub subjects_max: u64,
    /// How long a quote holds, in milliseconds.
    pub quote_ms: u64,
}

impl PluginSettings {
    /// Opens the desk of an engine: plugins and the secret of quotes stand beside the journal.
    /// `compiler` is the process that compiles what is uploaded; `None` does so in this one.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the directory, the machine, or a step of the journal.
    pub fn open(
        &self,
        engine: &Arc<Engine>,
        data: &Path,
        dev: bool,
        compiler: Option<CompilerProcess>,
    ) -> Result<Desk, DeskError> {
        let runtime = if self.enabled {
            let cache_dir = Some(data.join(COMPILED_DIR));
            let total_instances = TOTAL_INSTANCES.default.max(self.threads * PLUGINS_AT_ONCE);
            let machine = RuntimeConfig::default();
            let config = RuntimeConfig { cache_dir, compiler, total_instances, ..machine };
            Some(Runtime::new(config).map_err(DeskError::Runtime)?)
        } else {
            None
        };
        let config = DeskConfig {
            dir: Some(data.to_owned()),
            settings: self.policies.clone(),
            runtime,
            trust: self.trust.clone(),
            dev,
            learn: self.learn,
            threads: self.threads,
            queue_max: self.queue_max,
            recorded_max: self.recorded_max,
            subjects_max: self.subjects_max,
            quote_ms: self.quote_ms,
            ..DeskConfig::default()
        };
        Desk::open(Arc::clone(engine), config)
    }
}

/// Checked settings of a host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Data directory.
    pub data: PathBuf,
    /// Address to serve.
    pub listen: SocketAddr,
    /// The operator's address, if it is another one.
    pub admin: Option<SocketAddr>,
    /// Whether writes need no key.
    pub dev: bool,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Settings of the engine.
    pub engine: EngineSettings,
    /// Settings of the server.
    pub server: ServerConfig,
    /// Settings of policies and plugins.
    pub plugins: PluginSettings,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn dev() -> Settings {
        let mut settings = Settings::default();
        settings.set("dev", "true".to_owned(), Origin::Flag("--dev".to_owned())).expect("known");
        settings
    }

    #[test]
    fn later_sources_win_and_origins_are_kept() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = "listen = \"127.0.0.1:1\"\n[engine]\nshards = 2\nqueue_commands_max = 7\n";
        std::fs::write(file.path(), text).expect("a writable file");
        let mut settings = dev();
        settings.file(file.path()).expect("a valid file");
        let variables = [pair("ONHAND_ENGINE__SHARDS", "3"), pair("ONHAND_LISTEN", "127.0.0.1:2")];
        settings.environment(variables).expect("valid variables");
        let flag = Origin::Flag("--listen".to_owned());
        settings.set("listen", "127.0.0.1:3".to_owned(), flag).expect("known");
        let config = settings.check().expect("valid");
        assert_eq!(config.listen.port(), 3);
        assert_eq!((config.engine.shards, config.engine.queue_commands_max), (Some(3), 7));
        let shown = settings.shown();
        let origin = |key: &str| {
            let found = shown.iter().find(|(k, ..)| *k == key);
            found.map(|(_, _, origin)| origin.split(' ').next().unwrap_or("").to_owned())
        };
        assert_eq!(origin("listen").as_deref(), Some("flag"));
        assert_eq!(origin("engine.shards").as_deref(), Some("environment"));
        assert_eq!(origin("engine.queue_commands_max").as_deref(), Some("file"));
        assert_eq!(origin("data").as_deref(), Some("default"));
    }

    #[test]
    fn unknown_names_are_refused_with_a_suggestion() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "[engine]\nshard = 2\n").expect("a writable file");
        let error = Settings::default().file(file.path()).expect_err("must be refused");
        assert!(error.to_string().contains("did you mean engine.shards?"), "{error}");
        let mut settings = Settings::default();
        let error = settings.environment([pair("ONHAND_LISTN", "x")]).expect_err("refused");
        assert!(error.to_string().contains("did you mean ONHAND_LISTEN?"), "{error}");
        assert!(settings.environment([pair("ONHAND_API_KEY", "x"), pair("PATH", "y")]).is_ok());
    }

    #[test]
    fn values_outside_their_range_name_range_and_origin() {
        for (key, value, text) in [
            ("engine.shards", "0", "engine.shards is \"0\" (flag f), not a whole number from 1"),
            ("engine.shards", "65", "from 1 to 64"),
            ("workers", "many", "workers is \"many\""),
            ("listen", "here", "not an address such as 127.0.0.1:8080"),
            ("listen", "0.0.0.0:80", "not a loopback address"),
            ("engine.direct_io", "maybe", "not true or false"),
            ("api_keys", "short", "api_keys: key 0 has 5 bytes"),
        ] {
            let mut settings = dev();
            settings.set(key, value.to_owned(), Origin::Flag("f".to_owned())).expect("known");
            let error = settings.check().expect_err("must be refused").to_string();
            assert!(error.contains(text), "{error} lacks {text}");
        }
        let error = Settings::default().check().expect_err("no key and not dev").to_string();
        assert!(error.contains("onhand key new"), "{error}");
    }

    #[test]
    fn defaults_are_those_of_the_code() {
        let config = dev().check().expect("defaults are valid");
        let server = ServerConfig::default();
        assert_eq!(config.server.connections_max, server.connections_max);
        assert_eq!(config.server.body_bytes_max, server.body_bytes_max);
        assert_eq!(config.server.batch_body_bytes_max, server.batch_body_bytes_max);
        assert_eq!(config.server.waiting_max, server.waiting_max);
        assert_eq!(config.server.header_timeout, server.header_timeout);
        assert_eq!(config.server.body_timeout, server.body_timeout);
        assert_eq!(config.server.request_timeout, server.request_timeout);
        assert_eq!(config.server.write_timeout, server.write_timeout);
        assert_eq!(config.server.workers, server.workers);
        assert_eq!(config.server.handshake_timeout, server.handshake_timeout);
        assert!(config.server.tls.is_none() && server.tls.is_none());
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        for (set, lacking) in [("tls.cert", "tls.key"), ("tls.key", "tls.cert")] {
            let mut settings = dev();
            settings.set(set, "a.pem".to_owned(), Origin::Flag("f".to_owned())).expect("known");
            let error = settings.check().expect_err("must be refused").to_string();
            let text = format!("{set} is \"a.pem\" (flag f), and {lacking} is empty");
            assert!(error.contains(&text), "{error} lacks {text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = Settings::default();
        let secret = "0123456789abcdef-secret";
        settings.environment([pair("ONHAND_API_KEYS", secret)]).expect("valid");
        assert!(settings.check().is_ok());
        assert!(settings.shown().iter().all(|(_, value, _)| !value.contains("secret")));
    }
}
