//! The simulated gateways of payment providers that a server mounts under `/sim/…` with `--sim`.

use axum::Router;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a simulated gateway is doing for a while.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A provider's gateway with a book and keys of its own. It shares nothing with the merchant but the clock.
pub trait Gateway: Send + Sync {
    /// Its routes, all below `/sim/` and the provider's name.
    fn routes(&self) -> Router;

    /// Delivers the notifications that are due, each once.
    fn deliver(&self) -> Work<'_>;
}

/// The gateways of a simulation; cheap to clone.
#[derive(Clone, Default)]
pub struct Gateways(Vec<Arc<dyn Gateway>>);

impl Gateways {
    /// These gateways.
    pub fn new(gateways: Vec<Arc<dyn Gateway>>) -> Self {
        Self(gateways)
    }

    /// All their routes.
    pub fn routes(&self) -> Router {
        self.0.iter().fold(Router::new(), |routes, gateway| routes.merge(gateway.routes()))
    }

    /// Each of them.
    pub fn each(&self) -> impl Iterator<Item = &Arc<dyn Gateway>> {
        self.0.iter()
    }
}
