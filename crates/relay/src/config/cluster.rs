//! The settings of a cluster, as far as they depend on each other.

use super::Config;

/// A shorter secret can be guessed.
const SECRET_CHARS_MIN: usize = 32;

pub(super) fn check(config: &Config, faults: &mut Vec<String>) {
    if config.bus_secret.as_ref().is_some_and(|s| s.expose().chars().count() < SECRET_CHARS_MIN) {
        faults.push(format!("bus-secret: must have at least {SECRET_CHARS_MIN} characters"));
    }
    if !config.is_shared() {
        for (name, is_set) in [
            ("bus", config.bus.is_some()),
            ("catalog", config.catalog.is_some()),
            ("affinity", config.affinity),
        ] {
            if is_set {
                faults.push(format!(
                    "{name}: of use only with --store redis://\u{2026}, which nodes share"
                ));
            }
        }
        return;
    }
    let needed = [
        (
            "bus",
            config.bus.is_some(),
            "nats://host:port,\u{2026}: it carries messages between nodes",
        ),
        (
            "catalog",
            config.catalog.is_some(),
            "postgres://\u{2026}, or sqlite:FILE where all nodes are on one machine: revocations \
             stand in it, too, because Redis may lose the newest writes",
        ),
        (
            "bus-secret",
            config.bus_secret.is_some(),
            "at least 32 characters, the same at all nodes (BELAY_BUS_SECRET): it signs what nodes \
             tell each other",
        ),
        (
            "token-keys",
            config.token_keys.is_some(),
            "the same at all nodes (BELAY_TOKEN_KEYS); make one with \
             `echo 1:$(openssl rand -hex 32)`",
        ),
        (
            "store-key",
            config.store_key.is_some(),
            "the same at all nodes (BELAY_STORE_KEY): secrets are hashed under it; made like \
             token-keys",
        ),
    ];
    for (name, is_set, what) in needed {
        if !is_set {
            faults.push(format!("{name}: needed with --store redis://\u{2026}; {what}"));
        }
    }
    if let Some(Err(fault)) = config.bus.as_deref().map(belay_adapters::check_bus) {
        faults.push(format!("bus: {fault}"));
    }
    if let Some(Err(fault)) = config.catalog.as_deref().map(belay_adapters::check_catalog) {
        faults.push(format!("catalog: {fault}"));
    }
    if let Some(Err(fault)) = config.store_key.as_deref().map(belay_adapters::Keys::check) {
        faults.push(format!("store-key: {fault}"));
    }
}

/// An address without the secrets in it.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://(set)@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_needs_is_told_at_once() {
        let config = Config { store: "redis://127.0.0.1".to_owned(), ..Config::default() };
        let mut faults = Vec::new();

        check(&config, &mut faults);

        let named: Vec<_> = faults.iter().filter_map(|f| f.split(':').next()).collect();
        assert_eq!(named, ["bus", "catalog", "bus-secret", "token-keys", "store-key"]);
    }

    #[test]
    fn all_addresses_that_cannot_be_read_are_told_at_once() {
        let values = |bus: &str| Config {
            store: "redis://127.0.0.1".to_owned(),
            bus: Some(bus.to_owned()),
            catalog: Some("mysql://planted@db/belay".to_owned()),
            bus_secret: Some(belay_wire::Secret::new("x".repeat(32))),
            token_keys: Some(format!("1:{}", "ab".repeat(32))),
            store_key: Some(format!("1:{}", "cd".repeat(32))),
            ..Config::default()
        };
        let mut faults = Vec::new();

        check(&values("http://planted@127.0.0.1:4222"), &mut faults);

        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("bus: not an address of NATS servers"), "{faults:?}");
        assert!(faults[1].starts_with("catalog: the address of the catalog"), "{faults:?}");
        assert!(!format!("{faults:?}").contains("planted"), "{faults:?}");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://user:p@ss@redis:6379/0", "redis://(set)@redis:6379/0"),
            ("nats://one,two", "nats://one,two"),
            ("disk:", "disk:"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
