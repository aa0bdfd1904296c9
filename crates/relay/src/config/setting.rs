//! The settings, each once: its name gives flag, environment name and file key.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use super::{Config, cluster::without_password};
use crate::forwarded::Proxies;

/// One setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Kebab case; `--name`, `BELAY_NAME`, `name = …`.
    pub name: &'static str,
    /// What its value is called in help; empty for a switch.
    pub value: &'static str,
    pub help: &'static str,
    /// Environment names of the earlier relays.
    pub old_env: &'static [&'static str],
    /// Shown as `(set)` only.
    pub secret: bool,
    /// Not a setting of its own.
    pub hidden: bool,
    /// Reads a value.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// The effective value as text that `set` reads.
    pub show: fn(&Config) -> String,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Setting {
    /// Its environment name.
    pub fn env(&self) -> String {
        format!("BELAY_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The variables that set it here, for a person.
    #[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
    pub(super) fn variables(&self) -> String {
        let names = self.old_env.iter().map(|name| (*name).to_owned()).chain([self.env()]);
        let (set, others): (Vec<_>, Vec<_>) =
            names.partition(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
        if set.is_empty() { others.join(" or ") } else { set.join(" and ") }
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: Display,
{
    text.trim().parse().map_err(|e: T::Err| {
        let why = match e.to_string().as_str() {
            "number too large to fit in target type" => "the number is too large".to_owned(),
            why if why.contains("digit") || why.contains("integer") => {
                "expected a whole number".to_owned()
            }
            why => why.to_owned(),
        };
        format!("{why}, found \"{text}\"")
    })
}

fn positive<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String>
where
    T::Err: Display,
{
    let n: T = parse(text)?;
    if n < T::from(1) { Err("must be at least 1".to_owned()) } else { Ok(n) }
}

fn devices(text: &str) -> Result<usize, String> {
    let n = positive(text)?;
    let most = belay_wire::MEMBERS_MAX;
    if n > most { Err(format!("a session has at most {most} members")) } else { Ok(n) }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        other => Err(format!("expected true or false, found \"{other}\"")),
    }
}

/// An IP address, or the name of the own machine.
fn address(text: &str) -> Result<std::net::IpAddr, String> {
    match text.trim() {
        "localhost" => Ok(std::net::Ipv4Addr::LOCALHOST.into()),
        text => parse(text),
    }
}

/// `90s`, `15m`, `2h`, `30d`, `250ms`; a bare number means seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let expected =
        || format!("expected a time above 0 such as 90s, 15m or 250ms, found \"{text}\"");
    let n: u64 = number.parse().map_err(|_| expected())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    n.checked_mul(millis).filter(|n| *n > 0).map(Duration::from_millis).ok_or_else(expected)
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let zero = matches!(text.trim(), "0" | "0s" | "0ms");
    if zero { Ok(Duration::ZERO) } else { duration(text) }
}

fn positive_size(text: &str) -> Result<usize, String> {
    positive(text)
}

/// A queue of fewer than 8 messages would close everybody.
fn queue(text: &str) -> Result<usize, String> {
    let n: usize = parse(text)?;
    if n < 8 { Err("must be at least 8".to_owned()) } else { Ok(n) }
}

#[expect(clippy::unnecessary_wraps, reason = "all readers have this shape")]
fn some_text(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn some_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok(some_text(text)?.map(PathBuf::from))
}

fn show_path(path: Option<&PathBuf>) -> String {
    path.map_or(String::new(), |path| path.display().to_string())
}

/// Longest name of a node: that of a host. Names of nodes are parts of the names of their lives.
pub(crate) const INSTANCE_MAX: usize = 63;

fn instance(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > INSTANCE_MAX {
        return Err(format!("expected 1 to {INSTANCE_MAX} characters"));
    }
    Ok(text.to_owned())
}

/// The earlier relay's prefixes have dots, which part subjects.
fn subject(text: &str) -> Result<String, String> {
    let text: String = text.trim().to_lowercase().replace('.', "-");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err("expected 1 to 64 letters, digits, - or _".to_owned());
    }
    Ok(text)
}

fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

macro_rules! setting {
    ($name:literal, $value:literal, $help:literal, [$($old:literal),*], $field:ident, $parse:expr, $show:expr) => {
        Setting {
            name: $name,
            value: $value,
            help: $help,
            old_env: &[$($old),*],
            secret: false,
            hidden: false,
            set: |c, text| { c.$field = $parse(text)?; Ok(()) },
            show: |c| { let show: fn(&_) -> String = $show; show(&c.$field) },
        }
    };
}

/// All settings, in the order of the documentation.
pub fn settings() -> &'static [Setting] {
    SETTINGS
}

#[rustfmt::skip]
static SETTINGS: &[Setting] = &[
    setting!("host", "ADDRESS", "Address of the public listener: pairing, websockets, pages; the variable HOST only warns where this wants --behind-proxy or --insecure-lan", ["HOST"], host, address, ToString::to_string),
    setting!("port", "PORT", "Port of the public listener; 0 takes a free one", ["PORT"], port, parse, ToString::to_string),
    setting!("admin-listen", "ADDRESS:PORT", "Admin listener: metrics and the admin API", [], admin_listen, parse, ToString::to_string),
    setting!("admin-on-public", "", "Serve the admin API on the public listener, too", [], admin_on_public, switch, ToString::to_string),
    setting!("data-dir", "FOLDER", "Where the embedded store, keys and the admin token live", [], data_dir, parse, |v: &std::path::PathBuf| v.display().to_string()),
    setting!("store", "URL", "Session store: disk: (in the data folder), memory:, or for several nodes redis://, rediss://, redis+sentinel://host:port,host:port/master", ["REDIS_URL"], store, parse, |v: &String| without_password(v)),
    setting!("store-ca", "FILE", "Cluster: certificates (PEM) of those who sign for Redis, if the system does not know them", [], store_ca, some_path, |v: &Option<PathBuf>| show_path(v.as_ref())),
    Setting {
        name: "store-key", value: "ID:HEX", old_env: &[], secret: true, hidden: false,
        help: "Cluster: the key under which secrets are hashed for the store, the same at all nodes; without it the one in <data-dir>/store-key",
        set: |c, text| { c.store_key = Some(text.to_owned()); Ok(()) },
        show: |c| c.store_key.as_ref().map_or(String::new(), |_| "(set)".to_owned()),
    },
    setting!("key-prefix", "TEXT", "Cluster: what stands before every key in Redis", ["REDIS_KEY_PREFIX"], key_prefix, parse, Clone::clone),
    setting!("bus", "URL", "Cluster: NATS with JetStream, nats:// or tls://host:port,host:port, which carries and keeps messages", ["NATS_URL"], bus, some_text, |v: &Option<String>| v.as_deref().map_or(String::new(), without_password)),
    setting!("bus-credentials", "FILE", "Cluster: credentials file (JWT and seed) for NATS", [], bus_credentials, some_path, |v: &Option<PathBuf>| show_path(v.as_ref())),
    setting!("bus-ca", "FILE", "Cluster: certificates (PEM) of those who sign for NATS, if the system does not know them", [], bus_ca, some_path, |v: &Option<PathBuf>| show_path(v.as_ref())),
    Setting {
        name: "bus-secret", value: "TEXT", old_env: &["NATS_HMAC_SECRET"], secret: true, hidden: false,
        help: "Cluster: signs what nodes tell each other, the same at all nodes, at least 32 characters",
        set: |c, text| { c.bus_secret = Some(belay_wire::Secret::new(text)); Ok(()) },
        show: |c| c.bus_secret.as_ref().map_or(String::new(), |_| "(set)".to_owned()),
    },
    setting!("bus-replicas", "N", "Cluster: copies of each stream of messages; 3 survive the loss of a broker", [], bus_replicas, positive_size, ToString::to_string),
    setting!("bus-shards", "N", "Cluster: streams of each direction, the same at all nodes; cannot be changed later", [], bus_shards, positive, ToString::to_string),
    setting!("bus-replay-window", "TIME", "Cluster: older words of other nodes are refused", ["NATS_REPLAY_WINDOW_MS"], bus_replay_window, duration, |v: &Duration| show_duration(*v)),
    setting!("bus-clock-skew", "TIME", "Cluster: words from further in the future are refused", ["NATS_MAX_CLOCK_SKEW_MS"], bus_clock_skew, duration, |v: &Duration| show_duration(*v)),
    setting!("subject-prefix", "TEXT", "Cluster: first part of all subjects and streams in NATS", ["NATS_SUBJECT_PREFIX"], subject_prefix, subject, Clone::clone),
    setting!("catalog", "URL", "Cluster: second place of revocations, postgres://\u{2026}, or sqlite:FILE where all nodes are on one machine", [], catalog, some_text, |v: &Option<String>| v.as_deref().map_or(String::new(), without_password)),
    setting!("sync", "WHEN", "When messages are synced to disk: always (before they are acknowledged), never, or after so many milliseconds", [], sync, parse, ToString::to_string),
    Setting {
        name: "public-url", value: "URL", old_env: &["PUBLIC_BASE_URL"], secret: false, hidden: false,
        help: "Addresses under which browsers reach this relay, comma separated; their origins are accepted",
        set: |c, text| { c.public_urls = text.split(',').map(str::trim).filter(|u| !u.is_empty()).map(str::to_owned).collect(); Ok(()) },
        show: |c| c.public_urls.join(","),
    },
    setting!("proxies", "NETWORKS", "Addresses or networks of proxies whose X-Forwarded-For is believed, comma separated [default with --behind-proxy: loopback]", [], proxies, Proxies::read, Proxies::show),
    Setting {
        name: "trust-proxy", value: "", old_env: &["TRUST_PROXY"], secret: false, hidden: false,
        help: "Believe X-Forwarded-For of proxies on this machine and in private networks, if --proxies names none",
        set: |c, text| { c.trust_proxy = switch(text)?; Ok(()) },
        show: |c| c.trust_proxy.to_string(),
    },
    setting!("affinity", "", "Cluster: give clients and balancers a hint (X-Affinity-Key, a cookie of an hour) that keeps one session at one relay; nothing depends on it", [], affinity, switch, ToString::to_string),
    setting!("behind-proxy", "", "A proxy in front does TLS", [], behind_proxy, switch, ToString::to_string),
    setting!("insecure-lan", "", "Serve plain http on a network that you trust", [], insecure_lan, switch, ToString::to_string),
    Setting {
        name: "admin-token", value: "TOKEN", old_env: &["ADMIN_TOKEN"], secret: true, hidden: false,
        help: "Bearer of the admin API; without it one is made in <data-dir>/admin-token",
        set: |c, text| if text.len() < 16 { Err("must have at least 16 characters".to_owned()) } else { c.admin_token = Some(text.to_owned()); Ok(()) },
        show: |c| c.admin_token.as_ref().map_or(String::new(), |_| "(set)".to_owned()),
    },
    Setting {
        name: "token-keys", value: "ID:HEX[,ID:HEX]", old_env: &[], secret: true, hidden: false,
        help: "Keys that sign device tokens, the first signs; without it they are in <data-dir>/token-keys",
        set: |c, text| { c.token_keys = Some(text.to_owned()); Ok(()) },
        show: |c| c.token_keys.as_ref().map_or(String::new(), |_| "(set)".to_owned()),
    },
    setting!("connections-max", "N", "Authenticated websockets of this node", ["MAX_ACTIVE_WEBSOCKET_CONNECTIONS"], connections_max, positive, ToString::to_string),
    setting!("unauthenticated-max", "N", "Websockets that have not authenticated yet", [], unauthenticated_max, positive, ToString::to_string),
    setting!("unauthenticated-per-address-max", "N", "The same, per address (IPv6: per /64)", [], unauthenticated_per_address_max, positive, ToString::to_string),
    setting!("pair-per-minute", "N", "Pairing calls per minute and address", ["MAX_PAIR_REQUESTS_PER_MINUTE"], pair_per_minute, positive, ToString::to_string),
    setting!("http-connections-max", "N", "HTTP connections of each listener, websockets not counted", [], http_connections_max, positive, ToString::to_string),
    setting!("pair-waiters-max", "N", "Pairing calls that wait at one time", ["MAX_PENDING_JOIN_WAITERS"], pair_waiters_max, positive, ToString::to_string),
    setting!("sessions-max", "N", "Sessions that this relay keeps", [], sessions_max, positive, ToString::to_string),
    setting!("devices-max", "N", "Paired devices per session", ["MAX_DEVICES_PER_SESSION"], devices_max, devices, ToString::to_string),
    setting!("code-ttl", "TIME", "How long a pairing link or code may be redeemed", [], code_ttl, duration, |v: &Duration| show_duration(*v)),
    setting!("approval-ttl", "TIME", "How long a phone waits for the desktop's approval", ["PAIR_APPROVAL_TIMEOUT_MS"], approval_ttl, duration, |v: &Duration| show_duration(*v)),
    setting!("auth-timeout", "TIME", "How long a websocket may stay unauthenticated", ["WS_AUTH_TIMEOUT_MS"], auth_timeout, duration, |v: &Duration| show_duration(*v)),
    setting!("heartbeat", "TIME", "Longest time between two pings; two misses end a connection", [], heartbeat, duration, |v: &Duration| show_duration(*v)),
    setting!("shutdown-grace", "TIME", "How long SIGTERM waits for clients to be told", [], shutdown_grace, duration, |v: &Duration| show_duration(*v)),
    setting!("session-retention", "TIME", "How long a session without devices stays after its desktop was last seen", [], session_retention, duration, |v: &Duration| show_duration(*v)),
    setting!("device-idle", "TIME", "How long a device may stay away before it is unpaired", ["TRUSTED_DEVICE_IDLE_TIMEOUT_SECONDS"], device_idle, duration, |v: &Duration| show_duration(*v)),
    setting!("sweep-every", "TIME", "How often unused sessions and devices are looked for", ["SESSION_SWEEP_INTERVAL_MS"], sweep_every, duration, |v: &Duration| show_duration(*v)),
    Setting {
        name: "allowed-origins", value: "ORIGINS", old_env: &["ALLOWED_ORIGINS"], secret: false, hidden: false,
        help: "Origins of web clients of the compat protocol, comma separated, or * [default: the public URLs, http://localhost:4173 and http://127.0.0.1:4173]",
        set: |c, text| { c.allowed_origins = text.split(',').map(|o| o.trim().to_owned()).filter(|o| !o.is_empty()).collect(); Ok(()) },
        show: |c| c.allowed_origins.join(","),
    },
    setting!("legacy-query-token", "", "Compat: take the token of /ws from its query string, too", ["ALLOW_LEGACY_QUERY_TOKEN_AUTH"], legacy_query_token, switch, ToString::to_string),
    setting!("rotation-grace", "TIME", "Compat: how long a former device token is served after its successor was used; 0 ends it at once", ["TOKEN_ROTATION_GRACE_MS"], rotation_grace, duration_or_zero, |v: &Duration| show_duration(*v)),
    setting!("compat-heartbeat", "TIME", "Compat: time between two websocket pings", ["WS_HEARTBEAT_INTERVAL_MS"], compat_heartbeat, duration, |v: &Duration| show_duration(*v)),
    setting!("compat-heartbeat-timeout", "TIME", "Compat: silence after which a websocket is closed", ["WS_HEARTBEAT_TIMEOUT_MS"], compat_heartbeat_timeout, duration, |v: &Duration| show_duration(*v)),
    setting!("compat-retention", "TIME", "Compat: how long a session without sockets and devices stays", ["SESSION_RETENTION_MS"], compat_retention, duration, |v: &Duration| show_duration(*v)),
    setting!("json-bytes-max", "BYTES", "Compat: largest HTTP body", ["MAX_JSON_BYTES"], json_bytes_max, positive_size, ToString::to_string),
    setting!("ws-message-bytes-max", "BYTES", "Compat: largest websocket message", ["MAX_WS_MESSAGE_BYTES"], ws_message_bytes_max, positive_size, ToString::to_string),
    setting!("ws-messages-per-minute", "N", "Compat: text frames of one socket per minute, desktops included", ["MAX_WS_MESSAGES_PER_MINUTE"], ws_messages_per_minute, positive, ToString::to_string),
    setting!("commands-per-minute", "N", "Compat: commands of one device per minute", ["MAX_REMOTE_COMMANDS_PER_MINUTE"], commands_per_minute, positive, ToString::to_string),
    setting!("session-commands-per-minute", "N", "Compat: commands of one session per minute", ["MAX_REMOTE_SESSION_COMMANDS_PER_MINUTE"], session_commands_per_minute, positive, ToString::to_string),
    setting!("snapshots-per-minute", "N", "Compat: snapshot requests of one device per minute", ["MAX_SNAPSHOT_REQUESTS_PER_MINUTE"], snapshots_per_minute, positive, ToString::to_string),
    setting!("outbound-queue", "N", "Compat: messages that one socket may lag behind", ["MAX_SOCKET_OUTBOUND_QUEUE"], outbound_queue, queue, ToString::to_string),
    setting!("command-text-bytes-max", "BYTES", "Compat: text of one command", ["MAX_REMOTE_COMMAND_TEXT_BYTES"], command_text_bytes_max, positive_size, ToString::to_string),
    setting!("log-format", "FORMAT", "text or json", [], log_format, parse, Clone::clone),
    setting!("log-level", "LEVEL", "error, warn, info, debug or trace, also per module", ["RUST_LOG"], log_level, parse, Clone::clone),
    setting!("instance", "NAME", "Name of this node in metrics, logs and the lists of a cluster; there each has its own", [], instance, instance, Clone::clone),
    setting!("region", "NAME", "Region of this node in metrics and logs", [], region, parse, Clone::clone),
    Setting {
        name: "explicit-host", value: "", help: "", old_env: &[], secret: false, hidden: true,
        set: |c, text| { c.explicit_host = switch(text)?; Ok(()) },
        show: |c| c.explicit_host.to_string(),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "0s", "-1s", "1w", "s", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
