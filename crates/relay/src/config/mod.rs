//! Configuration: file, then environment, then flags; parsed and checked in full before a port is
//! bound, with all faults told at once.

mod cluster;
mod setting;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use belay_adapters::SyncPolicy;
use belay_wire::Secret;

pub(crate) use setting::INSTANCE_MAX;
pub use setting::{Setting, settings};

use crate::forwarded::Proxies;

/// Everything that is wrong, one line each.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {}", .0.join("\n               "))]
pub struct ConfigError(pub Vec<String>);

/// The effective configuration of a relay.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub admin_listen: SocketAddr,
    pub admin_on_public: bool,
    pub data_dir: PathBuf,
    pub store: String,
    pub bus: Option<String>,
    pub bus_credentials: Option<PathBuf>,
    pub bus_ca: Option<PathBuf>,
    pub bus_secret: Option<Secret>,
    pub bus_replicas: usize,
    pub bus_shards: u16,
    pub bus_replay_window: Duration,
    pub bus_clock_skew: Duration,
    pub catalog: Option<String>,
    pub store_ca: Option<PathBuf>,
    pub store_key: Option<String>,
    pub key_prefix: String,
    pub subject_prefix: String,
    pub sync: SyncPolicy,
    pub public_urls: Vec<String>,
    /// What a person should know of values that were changed.
    pub notes: Vec<String>,
    pub behind_proxy: bool,
    /// Answers carry a key by which balancers can send one session to one node.
    pub affinity: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    pub insecure_lan: bool,
    pub admin_token: Option<String>,
    pub token_keys: Option<String>,
    pub connections_max: usize,
    pub unauthenticated_max: usize,
    pub unauthenticated_per_address_max: usize,
    pub pair_per_minute: u32,
    pub pair_waiters_max: usize,
    /// HTTP connections of each listener that are open at one time, websockets not counted.
    pub http_connections_max: usize,
    pub sessions_max: usize,
    pub devices_max: usize,
    pub code_ttl: Duration,
    pub approval_ttl: Duration,
    pub auth_timeout: Duration,
    pub heartbeat: Duration,
    pub shutdown_grace: Duration,
    pub session_retention: Duration,
    pub device_idle: Duration,
    pub sweep_every: Duration,
    /// Origins of web clients of the compat protocol.
    pub allowed_origins: Vec<String>,
    pub trust_proxy: bool,
    pub legacy_query_token: bool,
    pub rotation_grace: Duration,
    pub compat_heartbeat: Duration,
    pub compat_heartbeat_timeout: Duration,
    pub compat_retention: Duration,
    pub json_bytes_max: usize,
    pub ws_message_bytes_max: usize,
    pub ws_messages_per_minute: u32,
    pub commands_per_minute: u32,
    pub session_commands_per_minute: u32,
    pub snapshots_per_minute: u32,
    pub outbound_queue: usize,
    pub command_text_bytes_max: usize,
    pub log_format: String,
    pub log_level: String,
    pub instance: String,
    pub region: String,
    /// `HOST` was set by its old name.
    pub explicit_host: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8787,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8788)),
            admin_on_public: false,
            data_dir: default_data_dir(),
            store: "disk:".to_owned(),
            bus: None,
            bus_credentials: None,
            bus_ca: None,
            bus_secret: None,
            bus_replicas: 1,
            bus_shards: 4,
            bus_replay_window: Duration::from_mins(2),
            bus_clock_skew: Duration::from_secs(30),
            catalog: None,
            store_ca: None,
            store_key: None,
            key_prefix: "belay".to_owned(),
            subject_prefix: "belay".to_owned(),
            sync: SyncPolicy::Always,
            public_urls: Vec::new(),
            notes: Vec::new(),
            behind_proxy: false,
            affinity: false,
            proxies: Proxies::default(),
            insecure_lan: false,
            admin_token: None,
            token_keys: None,
            connections_max: 10_000,
            unauthenticated_max: 1_024,
            unauthenticated_per_address_max: 128,
            pair_per_minute: 60,
            pair_waiters_max: 64,
            http_connections_max: 4_096,
            sessions_max: 100_000,
            devices_max: belay_wire::DEVICES_DEFAULT,
            code_ttl: belay_wire::CODE_TTL,
            approval_ttl: belay_wire::APPROVAL_TTL,
            auth_timeout: belay_wire::AUTH_TIMEOUT,
            heartbeat: belay_wire::HEARTBEAT,
            shutdown_grace: Duration::from_secs(5),
            session_retention: Duration::from_hours(24),
            device_idle: Duration::from_hours(7 * 24),
            sweep_every: Duration::from_mins(10),
            allowed_origins: Vec::new(),
            trust_proxy: false,
            legacy_query_token: false,
            rotation_grace: Duration::from_secs(30),
            compat_heartbeat: Duration::from_secs(20),
            compat_heartbeat_timeout: Duration::from_mins(1),
            compat_retention: Duration::from_mins(10),
            json_bytes_max: 64 * 1024,
            ws_message_bytes_max: 64 * 1024,
            ws_messages_per_minute: 1_200,
            commands_per_minute: 240,
            session_commands_per_minute: 480,
            snapshots_per_minute: 60,
            outbound_queue: 256,
            command_text_bytes_max: 16_384,
            log_format: "text".to_owned(),
            log_level: "info".to_owned(),
            instance: "belay".to_owned(),
            region: "local".to_owned(),
            explicit_host: false,
        }
    }
}

/// `~/.local/share/belay`, or `$XDG_DATA_HOME/belay`.
#[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
pub fn default_data_dir() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    base.unwrap_or_else(|| PathBuf::from(".")).join("belay")
}

/// Values by the name of their setting.
pub type Values = BTreeMap<String, String>;

impl Config {
    /// Tells whether all is kept in memory, and nothing in the data folder.
    pub fn is_ephemeral(&self) -> bool {
        self.store.starts_with("memory")
    }

    /// Tells whether other nodes may use the same store.
    pub fn is_shared(&self) -> bool {
        self.store.starts_with("redis")
    }

    /// Joins the sources, later ones winning, and checks the whole.
    ///
    /// # Errors
    /// All faults at once.
    pub fn from_sources(sources: &[(&str, Values)]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut faults = Vec::new();
        for (source, values) in sources {
            for (name, value) in values {
                match settings().iter().find(|s| s.name == name) {
                    Some(setting) => {
                        if let Err(fault) = (setting.set)(&mut config, value) {
                            let origin = match *source {
                                "environment" => format!("environment, {}", setting.variables()),
                                source => source.to_owned(),
                            };
                            faults.push(format!("{name} ({origin}): {fault}"));
                        }
                    }
                    None => faults.push(unknown(name, source)),
                }
            }
        }
        let told = faults.len();
        config.check(&mut faults);
        for fault in &mut faults[told..] {
            *fault = with_variable(fault, sources);
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigError(faults)) }
    }

    /// Reads a TOML file of `name = value` lines.
    ///
    /// # Errors
    /// Where the file is not TOML or holds tables.
    pub fn read_file(path: &std::path::Path) -> Result<Values, ConfigError> {
        let fault = |text: String| {
            ConfigError(vec![format!("the file of --config, {}: {text}", path.display())])
        };
        let text = std::fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
        let table: toml::Table = text.parse().map_err(|e| fault(format!("{e}")))?;
        table
            .into_iter()
            .map(|(name, value)| match value {
                toml::Value::String(text) => Ok((name, text)),
                toml::Value::Integer(n) => Ok((name, n.to_string())),
                toml::Value::Boolean(b) => Ok((name, b.to_string())),
                toml::Value::Float(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_)
                | toml::Value::Table(_) => {
                    Err(fault(format!("{name}: expected text, a whole number or true/false")))
                }
            })
            .collect()
    }

    /// Variables of the environment that look like settings and are none.
    pub fn unknown_environment() -> Vec<String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let is_known = |name: &str| {
            OTHER_VARIABLES.contains(&name) || settings().iter().any(|s| s.env() == name)
        };
        names.filter(|name| name.starts_with("BELAY_") && !is_known(name)).collect()
    }

    /// Reads `BELAY_<NAME>` and the old names.
    #[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
    pub fn read_environment() -> Values {
        let mut values = Values::new();
        for setting in settings() {
            let names = setting.old_env.iter().map(|s| (*s).to_owned());
            for name in names.chain([setting.env()]) {
                // As in files of variables in which some are left open.
                let given = std::env::var(&name).ok().filter(|value| !value.trim().is_empty());
                if let Some(mut value) = given {
                    if name.ends_with("_MS") && value.trim().parse::<u64>().is_ok() {
                        value = format!("{}ms", value.trim());
                    }
                    if name == "HOST" {
                        values.insert("explicit-host".to_owned(), "true".to_owned());
                    }
                    values.insert(setting.name.to_owned(), value);
                }
            }
        }
        values
    }

    fn check(&mut self, faults: &mut Vec<String>) {
        if !self.host.is_loopback()
            && !self.behind_proxy
            && !self.insecure_lan
            && !self.explicit_host
        {
            faults.push(format!(
                "host: {} can be reached from other machines and this build serves plain http; add \
                 --behind-proxy (a proxy does TLS) or --insecure-lan (a network that you trust)",
                self.host
            ));
        }
        if self.heartbeat > belay_wire::HEARTBEAT {
            faults.push(format!(
                "heartbeat: clients take a minute of silence for the end, so at most {:?}",
                belay_wire::HEARTBEAT
            ));
        }
        if let Err(fault) = tracing_subscriber::EnvFilter::try_new(&self.log_level) {
            faults.push(format!("log-level: {fault}"));
        }
        if let Err(fault) = belay_adapters::check_store(&self.store) {
            faults.push(format!("store: {fault}"));
        }
        cluster::check(self, faults);
        if let Some(Err(fault)) = self.token_keys.as_deref().map(belay_adapters::Keys::check) {
            faults.push(format!("token-keys: {fault}"));
        }
        let public = SocketAddr::new(self.host, self.port);
        if self.port != 0 && public == self.admin_listen && !self.admin_on_public {
            faults.push(format!("admin-listen: {public} is the public listener's address, too"));
        }
        if !matches!(self.log_format.as_str(), "text" | "json") {
            faults.push(format!("log-format: expected text or json, found {}", self.log_format));
        }
        if self.trust_proxy && self.proxies.is_empty() {
            self.proxies = Proxies::private();
        }
        // As the older relays did: pings more often than that are a mistake.
        self.compat_heartbeat = self.compat_heartbeat.max(Duration::from_secs(1));
        if self.compat_heartbeat_timeout < self.compat_heartbeat {
            faults.push(
                "compat-heartbeat-timeout: must not be shorter than compat-heartbeat".to_owned(),
            );
        }
        for origin in self.allowed_origins.iter().filter(|o| *o != "*") {
            if crate::origin::normalise(origin).is_none() {
                faults.push(format!(
                    "allowed-origins: expected http(s)://host[:port] or *, found {origin}"
                ));
            }
        }
        if self.behind_proxy && self.proxies.is_empty() {
            self.proxies = Proxies::loopback();
        }
        if self.behind_proxy && self.public_urls.is_empty() {
            faults.push(
                "public-url: needed with --behind-proxy, as browsers see it, for example \
                 https://relay.example.org"
                    .to_owned(),
            );
        }
        if !self.admin_listen.ip().is_loopback() && self.admin_token.is_none() {
            faults.push(
                "admin-listen: reachable from other machines, so ADMIN_TOKEN must be set"
                    .to_owned(),
            );
        }
        for url in &mut self.public_urls {
            match origin_part(url) {
                Some(origin) if origin == url.trim_end_matches('/') => *url = origin,
                Some(origin) => {
                    self.notes.push(format!("public-url: only {origin} of {url} counts"));
                    *url = origin;
                }
                None => {
                    faults.push(format!("public-url: expected http(s)://host[:port], found {url}"));
                }
            }
        }
    }

    /// The warnings that a person should see at start.
    pub fn warnings(&self) -> Vec<String> {
        let unknown = |name: String| format!("{name} is set and is no setting; is it misspelt?");
        let mut warnings: Vec<_> = Self::unknown_environment().into_iter().map(unknown).collect();
        warnings.extend(self.notes.iter().cloned());
        let has_proxy = self.behind_proxy
            || self.trust_proxy && self.public_urls.iter().any(|u| u.starts_with("https://"));
        if !self.host.is_loopback() && !has_proxy {
            warnings.push(
                "plain http on a network: anyone on it can read and change what passes; use it \
                 only where you trust every device, or put a TLS proxy in front"
                    .to_owned(),
            );
        }
        if self.is_ephemeral() {
            warnings.push("store memory: sessions and devices end with this process".to_owned());
        }
        if self.rotation_grace.is_zero() {
            warnings.push(
                "rotation grace 0: a phone whose connection breaks before it has read its new token \
                 has to be paired again"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// Names the variable of a fault whose setting came from the environment.
fn with_variable(fault: &str, sources: &[(&str, Values)]) -> String {
    let from_environment = |name: &str| {
        sources.iter().any(|(source, values)| *source == "environment" && values.contains_key(name))
    };
    match fault.split_once(": ") {
        Some((name, why)) if from_environment(name) => {
            let setting = settings().iter().find(|s| s.name == name);
            let variables = setting.map_or(String::new(), setting::Setting::variables);
            format!("{name} (environment, {variables}): {why}")
        }
        _ => fault.to_owned(),
    }
}

/// Scheme, host and port of an address.
fn origin_part(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
    is_plain.then(|| url.origin().ascii_serialization())
}

/// Variables of other parts of Belay.
const OTHER_VARIABLES: &[&str] = &[
    "BELAY_ACP",
    "BELAY_ADMIN",
    "BELAY_BLESS",
    "BELAY_CACHE",
    "BELAY_CODEX",
    "BELAY_COMMIT",
    "BELAY_CONFIG",
    "BELAY_RELAY",
];

fn unknown(name: &str, source: &str) -> String {
    let near = settings().iter().map(|s| s.name).min_by_key(|known| distance(known, name));
    let hint = near.filter(|known| distance(known, name) <= 3);
    match hint {
        Some(known) => format!("{name} ({source}): unknown setting; did you mean {known}?"),
        None => format!("{name} ({source}): unknown setting; `belay config --help` lists them"),
    }
}

/// Edit distance, for hints.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn later_sources_win() {
        let file = ("file", values(&[("port", "1"), ("region", "north")]));
        let flags = ("flag", values(&[("port", "2")]));

        let config = Config::from_sources(&[file, flags]).expect("valid");

        assert_eq!((config.port, config.region.as_str()), (2, "north"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let bad =
            values(&[("port", "x"), ("prot", "1"), ("host", "0.0.0.0"), ("log-format", "xml")]);

        let text = Config::from_sources(&[("flag", bad)]).expect_err("faulty").to_string();

        for part in ["port (flag)", "did you mean port?", "--insecure-lan", "log-format"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn every_setting_prints_what_it_reads() {
        let config = Config::default();
        for setting in settings().iter().filter(|s| !s.hidden) {
            let shown = (setting.show)(&config);
            let mut again = Config::default();
            if !shown.is_empty() && !setting.secret {
                (setting.set)(&mut again, &shown)
                    .unwrap_or_else(|e| panic!("{}: {e}", setting.name));
                assert_eq!((setting.show)(&again), shown, "{}", setting.name);
            }
        }
    }
}
