//! What takes part in a case.

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// The device signs with a registered key.
    pub has_key: bool,
    /// Somebody copies its token once.
    pub thief: bool,
    /// The store may come back as it was before.
    pub rollback: bool,
    /// The host revokes it once.
    pub revoke: bool,
    pub faults: u8,
    /// Connections of all holders.
    pub connections: u8,
    /// How often a quarter of an hour passes.
    pub waits: u8,
}

/// All of them, with so many faults, connections and pauses more than a quick run has.
pub fn cases(more: u8) -> Vec<Case> {
    let case = |name, has_key, thief, rollback, revoke| Case {
        name,
        has_key,
        thief,
        rollback,
        revoke,
        faults: 2 + more,
        connections: 3 + more,
        waits: 1 + more,
    };
    vec![
        case("tokens of a device with a key", true, false, true, false),
        case("tokens of a device without a key", false, false, true, false),
        case("a thief of a device with a key", true, true, true, false),
        case("a thief of a device without a key", false, true, false, false),
        case("a revoked device with a key", true, false, true, true),
        case("a revoked device without a key", false, false, true, true),
    ]
}
