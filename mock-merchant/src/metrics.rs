//! What `/metrics` tells, in Prometheus' text format. No label carries an identifier.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Mutex;
use std::time::Duration;

type Labels<const N: usize> = [(&'static str, String); N];

/// The counters and histograms of one server.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Labels<3>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    problems: Family<Labels<1>, Counter>,
    polls: Gauge,
    gauges: Family<Labels<2>, Gauge>,
    queue: Gauge,
    bank_calls: Family<Labels<2>, Counter>,
    exports: Gauge,
    exported: Counter,
    webhooks: Family<Labels<1>, Counter>,
    channel_calls: Family<Labels<2>, Counter>,
    keys: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("walkpay");
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            problems: Family::default(),
            polls: Gauge::default(),
            gauges: Family::default(),
            queue: Gauge::default(),
            bank_calls: Family::default(),
            exports: Gauge::default(),
            exported: Counter::default(),
            webhooks: Family::default(),
            channel_calls: Family::default(),
            keys: Gauge::default(),
        };
        registry.register("http_requests", "Requests by route, method and status", metrics.requests.clone());
        registry.register("http_request_seconds", "Time to answer by route, polls included", metrics.seconds.clone());
        registry.register("problems", "Problem documents by code", metrics.problems.clone());
        registry.register("polls_waiting", "Polls that wait for an event", metrics.polls.clone());
        registry.register("records", "Records by kind and state", metrics.gauges.clone());
        registry.register(
            "writer_queue_depth",
            "Requests that wait for the writer and its commit",
            metrics.queue.clone(),
        );
        registry.register("bank_calls", "Calls to the bank by operation and outcome", metrics.bank_calls.clone());
        registry.register("exports_open", "Exports that are being written", metrics.exports.clone());
        registry.register("exported_rows", "Rows that exports were written with", metrics.exported.clone());
        registry.register("webhooks", "Messages sent to service systems by outcome", metrics.webhooks.clone());
        let channel_calls = metrics.channel_calls.clone();
        registry.register("channel_calls", "Calls to payment channels by operation and outcome", channel_calls);
        let keys = metrics.keys.clone();
        registry.register("keys_seconds_left", "Until the first of the merchant's keys is over", keys);
        Self { registry: Mutex::new(registry), ..metrics }
    }
}

fn buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0])
}

impl Metrics {
    /// Counts an answered request; `route` is the template, never the path.
    pub fn answered(&self, route: &str, method: &str, status: u16, seconds: f64) {
        let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&[("route", route.to_owned())]).observe(seconds);
    }

    /// Counts a problem document.
    pub fn problem(&self, code: &str) {
        self.problems.get_or_create(&[("code", code.to_owned())]).inc();
    }

    /// Counts a poll as waiting until what is returned is dropped.
    pub fn poll(&self) -> Counted<'_> {
        self.polls.inc();
        Counted(&self.polls)
    }

    /// Counts a message to a service system that was sent.
    pub fn webhook(&self, outcome: &str) {
        self.webhooks.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// Counts a call to the bank.
    pub fn bank_call(&self, operation: &str, outcome: &str) {
        let labels = [("operation", operation.to_owned()), ("outcome", outcome.to_owned())];
        self.bank_calls.get_or_create(&labels).inc();
    }

    /// Counts a call to a payment channel.
    pub fn channel_call(&self, operation: &str, outcome: &str) {
        let labels = [("operation", operation.to_owned()), ("outcome", outcome.to_owned())];
        self.channel_calls.get_or_create(&labels).inc();
    }

    /// Takes over what the database says: (kind, state, how many).
    pub fn records(&self, counts: Vec<(&'static str, String, i64)>) {
        self.gauges.clear();
        for (kind, state, count) in counts {
            self.gauges.get_or_create(&[("kind", kind.to_owned()), ("state", state)]).set(count);
        }
    }

    /// Takes over for how long all of the merchant's keys last.
    pub fn keys_last(&self, left: Duration) {
        self.keys.set(i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts a request as waiting for the writer until what is returned is dropped.
    pub fn queued(&self) -> Counted<'_> {
        self.queue.inc();
        Counted(&self.queue)
    }

    /// Counts an export as open until what is returned is dropped.
    pub fn export(&self) -> Counted<'_> {
        self.exports.inc();
        Counted(&self.exports)
    }

    /// Counts a row of an export.
    pub fn exported(&self) {
        self.exported.inc();
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::new();
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// Something that waits.
pub struct Counted<'a>(&'a Gauge);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_counted() {
        let metrics = Metrics::default();
        metrics.answered("/healthz", "GET", 200, 0.002);
        metrics.records(vec![("holds", "placed".into(), 3)]);
        metrics.problem("not_found");
        let text = metrics.text();
        for line in [
            r#"walkpay_http_requests_total{route="/healthz",method="GET",status="200"} 1"#,
            r#"walkpay_records{kind="holds",state="placed"} 3"#,
            r#"walkpay_problems_total{code="not_found"} 1"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
