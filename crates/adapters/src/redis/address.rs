//! Addresses of Redis.

use std::fmt;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
    io::tcp::TcpSettings,
};

use super::RedisError;

/// The port of a Sentinel whose address names none.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is. Its `Display` names places, never a user or password.
#[derive(Clone)]
pub(super) enum Address {
    Server(ConnectionInfo),
    /// Sentinels that know where the master of this name is, each with the login of that master.
    Sentinels {
        name: String,
        places: Vec<ConnectionInfo>,
    },
    /// First places of a Redis Cluster.
    Cluster(Vec<ConnectionInfo>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |places: &[ConnectionInfo]| {
            places.iter().map(|p| p.addr().to_string()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Server(place) => place.addr().fmt(f),
            Self::Sentinels { name, places } => {
                write!(f, "{} (Sentinels of {name})", join(places))
            }
            Self::Cluster(places) => write!(f, "{} (a cluster)", join(places)),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`RedisError::Address`], without the URL, which may hold a password.
    pub(super) fn parse(url: &str, ca: Option<&[u8]>) -> Result<Self, RedisError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(RedisError::Address("it has no scheme".to_owned()));
        };
        match scheme {
            "redis" | "rediss" => Ok(Self::Server(place(url, ca)?)),
            "redis+sentinel" => sentinels("redis", rest, ca),
            "rediss+sentinel" => sentinels("rediss", rest, ca),
            other => Err(RedisError::Address(format!(
                "\"{other}\" is not one of redis, rediss, redis+sentinel and rediss+sentinel"
            ))),
        }
    }

    /// First places of a cluster, as URLs.
    pub(super) fn cluster(urls: &[String]) -> Result<Self, RedisError> {
        Ok(Self::Cluster(urls.iter().map(|url| place(url, None)).collect::<Result<_, _>>()?))
    }

    /// Tells whether connections are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        let tls = |place: &ConnectionInfo| matches!(place.addr(), ConnectionAddr::TcpTls { .. });
        match self {
            Self::Server(place) => tls(place),
            Self::Sentinels { places, .. } | Self::Cluster(places) => places.iter().any(tls),
        }
    }
}

/// One server; if it speaks TLS its certificate is verified by `ca` (PEM), or by those of the system.
fn place(url: &str, ca: Option<&[u8]>) -> Result<ConnectionInfo, RedisError> {
    let refused = |cause: redis::RedisError| {
        // The detail of an error can quote the URL.
        RedisError::Address(match cause.detail() {
            Some(_) => cause.category().to_owned(),
            None => cause.to_string(),
        })
    };
    let place = url.into_connection_info().map_err(refused)?;
    if matches!(place.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(RedisError::Address("certificates are always verified".to_owned()));
    }
    // Commands are small, and somebody waits for each answer.
    let place = place.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let (ConnectionAddr::TcpTls { .. }, Some(ca)) = (place.addr(), ca) else { return Ok(place) };
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
    let client = Client::build_with_tls(place, certificates).map_err(|cause| {
        RedisError::Address(format!("its certificates cannot be read: {cause}"))
    })?;
    Ok(client.get_connection_info().clone())
}

/// `[user:pass@]host:port,host:port/master[/db]`
fn sentinels(scheme: &str, rest: &str, ca: Option<&[u8]>) -> Result<Address, RedisError> {
    let missing = |what: &str| RedisError::Address(format!("it names no {what}"));
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').ok_or_else(|| missing("master"))?;
    let (name, db) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return Err(missing("master"));
    }
    let hosts: Vec<_> = hosts.split(',').filter(|host| !host.is_empty()).collect();
    if hosts.is_empty() {
        return Err(missing("Sentinel"));
    }
    let places = hosts.into_iter().map(|host| {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        place(&format!("{scheme}://{login}{host}{port}/{db}"), ca)
    });
    let places = places.collect::<Result<_, _>>()?;
    Ok(Address::Sentinels { name: name.to_owned(), places })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_is_read_and_named_without_its_password() {
        let named = |url| Address::parse(url, None).expect(url).to_string();

        assert_eq!(named("redis://ana:secret@example.org/3"), "example.org:6379");
        assert_eq!(named("rediss://:secret@example.org:7000"), "example.org:7000");
        assert_eq!(
            named("redis+sentinel://ana:se%40cret@one:1,two,[::1]:3/belay/2"),
            "one:1, two:26379, ::1:3 (Sentinels of belay)"
        );
        let Ok(Address::Sentinels { places, .. }) =
            Address::parse("rediss+sentinel://ana:se%40cret@one/belay/2", None)
        else {
            panic!("it names Sentinels");
        };
        let login = places[0].redis_settings();
        assert_eq!((login.username(), login.password()), (Some("ana"), Some("se@cret")));
        assert_eq!(login.db(), 2);
        assert!(matches!(places[0].addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for url in [
            "",
            "secret",
            "http://ana:secret@example.org",
            "redis://ana:secret@",
            "redis://ana:secret@example.org/not-secret",
            "redis://ana:secret@example.org:99999999",
            "rediss://ana:secret@example.org#insecure",
            "redis+sentinel://ana:secret@one,two",
            "redis+sentinel://ana:secret@/belay",
            "redis+sentinel://ana:secret@one/",
            "redis+sentinel://ana:secret@one/belay/not-secret",
        ] {
            let refused = Address::parse(url, None).expect_err(url);
            let text = format!("{refused} {refused:?}");
            assert!(!text.contains("secret") && !text.contains("ana"), "{text}");
        }
    }
}
