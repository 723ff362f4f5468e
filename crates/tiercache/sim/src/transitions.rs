//! The transitions of the protocol's model (`tests/it/model`), and the counts that show that
//! histories have taken each.

use crate::coverage::Coverage;

const TRANSITIONS: &[(&str, &[&str])] = &[
    ("Come", &["queued readers", "loads"]),
    ("Serve", &["hits in memory"]),
    (
        "Advance",
        &[
            "fills",
            "fills refused",
            "leases met",
            "fences met",
            "hits in Valkey",
        ],
    ),
    ("AdvanceTimeout", &["bypassed: unavailable"]),
    ("Write", &["writes", "puts"]),
    ("RollBack", &["rolled back, or unknown outcome"]),
    (
        "WriteTimeout",
        &["fences unconfirmed", "invalidation queued"],
    ),
    ("Crash", &["fault: process killed", "killed after COMMIT"]),
    ("ExecuteDelayed", &["executed late"]),
    ("FlushPending", &["pending flushed", "bypassed: pending"]),
    ("Expire", &["expired"]),
    ("Flush", &["fault: flushed"]),
    ("FailOver", &["fault: failover"]),
    ("Reconnect", &["reconnected"]),
    ("Local(DeliverPushes)", &["push"]),
    (
        "Local(Ping, Pong, Activate, Connect)",
        &["tracking established"],
    ),
    (
        "Local(MaxSilenceElapses, GoHalfOpen)",
        &["fault: replies held", "tracking lost"],
    ),
    ("Local(Disconnect)", &["fault: cut", "fault: close"]),
    ("groups: Legacy", &["legacy fill", "legacy write"]),
    ("groups: Advance, ExpireGroup", &["outdated in group"]),
];

/// The transitions that no history has taken, with the counts that are zero.
pub(crate) fn missing(coverage: &Coverage) -> Vec<String> {
    let mut missing = Vec::new();
    for (transition, counts) in TRANSITIONS {
        for count in *counts {
            if coverage.of(count) == 0 {
                missing.push(format!("{transition} ({count})"));
            }
        }
    }
    missing
}
