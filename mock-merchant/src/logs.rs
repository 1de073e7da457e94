//! Structured logs: one JSON object a line on standard error. Identifiers in them are opaque; names, addresses, bodies and
//! tokens never reach a log.

use tracing_subscriber::EnvFilter;

/// Begins to log, as the environment variable `WALKPAY_LOG` says (`info` by default; `debug`, `mock_merchant=debug` …).
/// A second call in one process changes nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env("WALKPAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _already_set = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
