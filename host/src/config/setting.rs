//! Every setting of the host: key, default, meaning.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Key in the file, as `section.name`; flags and variables derive from it.
    pub key: &'static str,
    /// Default as text.
    pub default: &'static str,
    /// Meaning, with unit and range.
    pub help: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

impl Setting {
    /// Returns the name of the environment variable.
    pub fn variable(&self) -> String {
        format!("ONHAND_{}", self.key.replace('.', "__").to_ascii_uppercase())
    }
}

const fn setting(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, default, help, secret: false }
}

/// Every setting, sorted by key.
pub const SETTINGS: &[Setting] = &[
    setting(
        "admin",
        "",
        "second address, which takes /metrics and /admin/plugins off the first and has /livez and \
         /readyz too; empty: same listener",
    ),
    Setting {
        key: "api_keys",
        default: "",
        help: "keys that may write, or their blake3: digests; a list, or text with commas",
        secret: true,
    },
    setting("data", "onhand-data", "data directory; made where absent"),
    setting("dev", "false", "true: writes need no key; only on a loopback address"),
    setting(
        "engine.checkpoint_journal_bytes",
        "1073741824",
        "bytes of journal between two checkpoints, from 1 MiB",
    ),
    setting(
        "engine.cross_shard_wait_ms",
        "50",
        "longest wait of a basket over several shards, 1 to 60000 ms",
    ),
    setting("engine.direct_io", "true", "write past the page cache where the disk allows it"),
    setting("engine.expected_orders", "0", "orders to make room for at the start"),
    setting("engine.keep_journal", "true", "keep the journal behind a checkpoint"),
    setting("engine.queue_commands_max", "65536", "most commands that wait, then 503 overloaded"),
    setting(
        "engine.shards",
        "auto",
        "1 to 64, fixed when the data directory is made; auto: those it has, 1 for a new one",
    ),
    setting("limits.batch_body_bytes_max", "1048576", "longest body of a batch or import"),
    setting("limits.body_bytes_max", "65536", "longest body of every other route"),
    setting("limits.body_timeout_ms", "10000", "how long a body may take"),
    setting("limits.connections_max", "4096", "most open connections, then 429"),
    setting("limits.drain_timeout_ms", "10000", "how long a shutdown waits for what is in flight"),
    setting("limits.header_timeout_ms", "30000", "how long a head may take, and a pause between"),
    setting("limits.request_timeout_ms", "30000", "how long a command may take"),
    setting("limits.waiting_max", "1024", "most reads that wait for a position or an event"),
    setting("limits.write_timeout_ms", "30000", "how long a client may take before it reads on"),
    setting("listen", "127.0.0.1:8080", "address to serve; port 0 takes a free one"),
    setting("plugins.enabled", "true", "run partners' plugins; false: the built-in policies alone"),
    setting("plugins.learn", "true", "learn recommendations and velocity from placed orders"),
    setting("plugins.policies", "", "file of the built-in prices and fraud rules, TOML"),
    setting("plugins.queue_max", "4096", "most baskets that wait for a decision, then 503"),
    setting("plugins.quote_ms", "600000", "how long a quote holds, 1 s to 1 day"),
    setting(
        "plugins.recorded_max",
        "1000",
        "inputs of each kind kept for replays, of 262,144 lines in all at most; 0 keeps none",
    ),
    setting("plugins.subjects_max", "65536", "customers, addresses and devices whose orders count"),
    setting(
        "plugins.threads",
        "2",
        "threads that decide on baskets for which a request's own may not, 1 to 64",
    ),
    setting("plugins.trust", "", "file of the signers whose plugins are taken, TOML"),
    setting("plugins.upload_bytes_max", "16777216", "longest body of a plugin's installation"),
    setting(
        "tls.cert",
        "",
        "PEM file of the certificate's chain, its own first; empty: plain HTTP",
    ),
    setting("tls.handshake_timeout_ms", "10000", "how long a TLS handshake may take"),
    setting("tls.key", "", "PEM file of the certificate's private key, without a passphrase"),
    setting("workers", "auto", "threads that serve HTTP, 1 to 64; auto: one a core, at most 8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_their_variables_are_plain() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.key < b.key));
        let variable = SETTINGS.iter().find(|s| s.key == "engine.shards").map(Setting::variable);
        assert_eq!(variable.as_deref(), Some("ONHAND_ENGINE__SHARDS"));
    }
}
