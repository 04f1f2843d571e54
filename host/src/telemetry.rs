//! Counters and histograms in the Prometheus text format.
//!
//! Handles are made once for each route and status, so that a request costs two atomic additions
//! and no look-up by text. No label carries an id.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use onhand_core::{Engine, EngineStatus};
use onhand_desk::Desk;
use onhand_plugin_runtime::{BreakerState, FailureKind};

use crate::router::TEMPLATES;

/// Bounds of the latency histogram in seconds.
const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0,
];

/// The status codes that the host sends, each with a counter.
const STATUSES: &[u16] = &[
    200, 201, 304, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 414, 415, 422, 429, 431, 500,
    503,
];

/// How often histograms are drained into their buckets.
pub(crate) const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The metrics of one server.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: Vec<OnceLock<Counter>>,
    seconds: Vec<OnceLock<Histogram>>,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: HandshakesFailed,
}

/// TLS handshakes that came to nothing, by reason.
pub(crate) struct HandshakesFailed {
    /// The client spoke plain HTTP, or something else.
    pub(crate) plain: Counter,
    /// The two could not agree, or the client did not trust the certificate.
    pub(crate) protocol: Counter,
    /// It took too long.
    pub(crate) timeout: Counter,
}

impl HandshakesFailed {
    fn new() -> Self {
        let by = |reason| counter!("onhand_tls_handshakes_failed_total", "reason" => reason);
        Self { plain: by("plain"), protocol: by("protocol"), timeout: by("timeout") }
    }
}

impl Telemetry {
    /// Makes the metrics of a server.
    ///
    /// # Errors
    ///
    /// Returns the error of the exporter; it can't happen with the constants above.
    pub(crate) fn new() -> Result<Self, BuildError> {
        let name = Matcher::Full("onhand_http_request_duration_seconds".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(name, SECONDS_BUCKETS)?
            .build_recorder();
        let handle = recorder.handle();
        let (connections, connections_refused, handshakes_failed) =
            with_local_recorder(&recorder, || {
                describe();
                gauge!("onhand_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
                (
                    gauge!("onhand_http_connections"),
                    counter!("onhand_http_connections_refused_total"),
                    HandshakesFailed::new(),
                )
            });
        let cells = TEMPLATES.len() * (STATUSES.len() + 1) * METHODS.len();
        Ok(Self {
            recorder,
            handle,
            requests: std::iter::repeat_with(OnceLock::new).take(cells).collect(),
            seconds: std::iter::repeat_with(OnceLock::new).take(TEMPLATES.len()).collect(),
            connections,
            connections_refused,
            handshakes_failed,
        })
    }

    /// Counts one request.
    pub(crate) fn request(&self, route: usize, method: &'static str, status: u16, took: Duration) {
        let column = STATUSES.iter().position(|s| *s == status).unwrap_or(STATUSES.len());
        let verb = METHODS.iter().position(|m| *m == method).unwrap_or(0);
        let cell = (route * (STATUSES.len() + 1) + column) * METHODS.len() + verb;
        let template = TEMPLATES[route];
        let counter = self.requests[cell].get_or_init(|| {
            let code = STATUSES.get(column).map_or("other".to_owned(), u16::to_string);
            with_local_recorder(&self.recorder, || {
                counter!("onhand_http_requests_total",
                    "route" => template, "method" => method, "code" => code)
            })
        });
        counter.increment(1);
        let seconds = self.seconds[route].get_or_init(|| {
            with_local_recorder(
                &self.recorder,
                || histogram!("onhand_http_request_duration_seconds", "route" => template),
            )
        });
        seconds.record(took);
    }

    /// Writes all metrics.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Drains histograms.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Sets the engine's counters and gauges from its own.
pub(crate) fn engine(telemetry: &Telemetry, engine: &Engine) {
    with_local_recorder(&telemetry.recorder, || {
        gauge!("onhand_journal_seq").set(engine.durable_seq() as f64);
        let up = matches!(engine.status(), EngineStatus::Running);
        gauge!("onhand_engine_running").set(if up { 1.0 } else { 0.0 });
        let counts = engine.metrics();
        for (result, count) in [
            ("accepted", counts.accepted),
            ("repeated", counts.repeated),
            ("refused", counts.refused),
        ] {
            counter!("onhand_commands_total", "result" => result).absolute(count);
        }
        for (reject, count) in &counts.refusals {
            counter!("onhand_refusals_total", "reason" => reject.code()).absolute(*count);
        }
        counter!("onhand_journal_bytes_total").absolute(counts.journal_bytes);
        counter!("onhand_journal_groups_total").absolute(counts.groups);
        counter!("onhand_reservations_expired_total").absolute(counts.expired);
        counter!("onhand_cross_shard_baskets_total").absolute(counts.cross_baskets);
        counter!("onhand_orders_archived_total").absolute(counts.archived);
        gauge!("onhand_orders", "state" => "live").set(counts.live_orders as f64);
        gauge!("onhand_orders", "state" => "settled").set(counts.settled_resident as f64);
        gauge!("onhand_shard_memory_bytes").set(counts.memory_bytes as f64);
        gauge!("onhand_shard_queue_depth").set(counts.queued as f64);
    });
}

/// Sets the counters and gauges of policies from those of the desk.
pub(crate) fn desk(telemetry: &Telemetry, desk: &Desk) {
    with_local_recorder(&telemetry.recorder, || {
        let figures = desk.metrics();
        gauge!("onhand_policy_queue_depth").set(figures.queued as f64);
        counter!("onhand_policy_shadow_dropped_total").absolute(figures.shadow_dropped);
        gauge!("onhand_policy_learned_seq").set(figures.learned_to as f64);
        gauge!("onhand_policy_skus_known").set(figures.skus_known as f64);
        gauge!("onhand_policy_notes").set(desk.health().len() as f64);
        for stats in desk.stats() {
            let no = stats.no.0.to_string();
            let (kind, name) = (stats.identity.kind.name(), stats.identity.name.clone());
            for (by, count) in DECIDED.iter().zip(stats.by) {
                counter!("onhand_policy_orders_total", "policy" => no.clone(), "kind" => kind,
                    "name" => name.clone(), "decided" => *by)
                .absolute(count);
            }
            for (failure, count) in FailureKind::ALL.iter().zip(stats.failures) {
                counter!("onhand_policy_failures_total", "policy" => no.clone(), "kind" => kind,
                    "failure" => failure.name())
                .absolute(count);
            }
            counter!("onhand_policy_refused_total", "policy" => no.clone(), "kind" => kind)
                .absolute(stats.refused);
            for (quantile, ns) in [("0.5", stats.time_p50_ns), ("0.99", stats.time_p99_ns)] {
                gauge!("onhand_policy_call_seconds", "policy" => no.clone(), "kind" => kind,
                    "quantile" => quantile)
                .set(ns as f64 / 1e9);
            }
            if let Some(plugin) = stats.plugin {
                gauge!("onhand_policy_fuel_max", "policy" => no.clone())
                    .set(plugin.fuel_max as f64);
                let open = plugin.breaker != BreakerState::Closed;
                gauge!("onhand_policy_breaker_open", "policy" => no).set(if open {
                    1.0
                } else {
                    0.0
                });
            }
        }
    });
}

/// Who has decided, as the `decided` label has it.
const DECIDED: &[&str] = &["policy", "built_in", "fail_open", "fail_closed"];

/// Methods of the `method` label; what is not a method of a route counts as the first.
const METHODS: &[&str] = &["other", "GET", "POST", "PUT"];

fn describe() {
    metrics::describe_counter!("onhand_http_requests_total", "Requests by route and status");
    metrics::describe_histogram!(
        "onhand_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from the head of a request to its reply"
    );
    metrics::describe_gauge!("onhand_http_connections", "Open connections");
    metrics::describe_counter!(
        "onhand_http_connections_refused_total",
        "Connections refused because there were too many"
    );
    metrics::describe_counter!(
        "onhand_tls_handshakes_failed_total",
        "TLS handshakes that came to nothing, by reason"
    );
    metrics::describe_gauge!("onhand_build_info", "Version of the host");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::PAGES;
    use crate::router::NO_ROUTE;

    /// Every problem is counted under its own status, and none as another one.
    #[test]
    fn every_status_of_a_problem_has_a_counter() {
        for page in PAGES {
            assert!(STATUSES.contains(&page.status), "{} of {}", page.status, page.code);
        }
        assert!(STATUSES.is_sorted());
    }

    #[test]
    fn requests_show_up_with_their_labels() {
        let telemetry = Telemetry::new().expect("constants are valid");
        telemetry.request(0, "POST", 201, Duration::from_micros(700));
        telemetry.request(0, "POST", 201, Duration::from_micros(900));
        telemetry.request(NO_ROUTE, "other", 599, Duration::from_millis(1));
        telemetry.upkeep();
        let text = telemetry.render();
        for line in [
            "onhand_http_requests_total{route=\"/v1/orders:buy\",method=\"POST\",code=\"201\"} 2",
            "onhand_http_requests_total{route=\"none\",method=\"other\",code=\"other\"} 1",
            "onhand_http_request_duration_seconds_bucket{route=\"/v1/orders:buy\",le=\"0.001\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
