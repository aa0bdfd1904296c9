//! Addresses of servers, and the secrets in them.

use async_nats::ServerAddr;
use url::Url;

use super::options::NatsError;

/// Servers of one address.
const SERVERS_MAX: usize = 32;

/// What a URL says. It has no `Debug`: it holds a password.
pub(super) struct Address {
    /// Without user, password and token.
    pub(super) servers: Vec<ServerAddr>,
    pub(super) tls: bool,
    pub(super) login: Option<Login>,
}

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Token(String),
    User { name: String, password: String },
}

impl Address {
    /// Reads `scheme://[login@]host[:port],...`; the login of any of them is that of all.
    pub(super) fn parse(text: &str) -> Result<Self, NatsError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(NatsError::Url("its scheme is neither nats nor tls")),
        };
        let mut address = Self { servers: Vec::new(), tls, login: None };
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let host = part.split_once("://").map_or(part, |(_, host)| host);
            let full = format!("{scheme}://{host}");
            let mut url: Url = full.parse().map_err(|_| NatsError::Url("a host is malformed"))?;
            if url.host_str().is_none_or(str::is_empty) {
                return Err(NatsError::Url("a host is missing"));
            }
            if let Some(login) = login(&url)? {
                address.login = Some(login);
            }
            let cleared = url.set_username("").and_then(|()| url.set_password(None));
            cleared.map_err(|()| NatsError::Url("a host is malformed"))?;
            let server = ServerAddr::from_url(url);
            address.servers.push(server.map_err(|_| NatsError::Url("a host is malformed"))?);
        }
        if address.servers.is_empty() || address.servers.len() > SERVERS_MAX {
            return Err(NatsError::Url("1 to 32 servers are expected"));
        }
        Ok(address)
    }

    /// The hosts, for people.
    pub(super) fn hosts(&self) -> String {
        let each = |s: &ServerAddr| format!("{}:{}", s.host(), s.port());
        self.servers.iter().map(each).collect::<Vec<_>>().join(",")
    }
}

fn login(url: &Url) -> Result<Option<Login>, NatsError> {
    const WRONG: NatsError = NatsError::Url("user, password or token are not percent-encoded");
    if url.username().is_empty() {
        return Ok(None);
    }
    let name = decoded(url.username()).ok_or(WRONG)?;
    Ok(Some(match url.password() {
        None => Login::Token(name),
        Some(password) => Login::User { name, password: decoded(password).ok_or(WRONG)? },
    }))
}

/// Resolves `%xx`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(u8::try_from(16 * high + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_taken_out_of_addresses() {
        let address = Address::parse("nats://ana:p%40ss,w@a:1,b,[::1]:3").map(|a| a.hosts());
        assert!(address.is_err(), "a comma in a password must be written as %2c");
        let address = Address::parse("tls://ana:p%40ss%2cw@a:1,b,[::1]:3").expect("an address");
        assert_eq!(address.hosts(), "a:1,b:4222,::1:3");
        assert!(address.tls);
        let login = Login::User { name: "ana".to_owned(), password: "p@ss,w".to_owned() };
        assert!(address.login == Some(login));
        assert!(!format!("{:?}", address.servers).contains("ana"));
        let token = Address::parse("nats://sesame@a").expect("an address");
        assert!(token.login == Some(Login::Token("sesame".to_owned())));
        for wrong in ["", "nats://", "http://a", "nats://:x@", "nats://a b", "nats://%zz:1@a"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
