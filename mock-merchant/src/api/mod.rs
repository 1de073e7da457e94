//! HTTP: routes, what is checked before a handler runs, and the OpenAPI document made from the same code.

pub mod app;
pub mod auth;
pub mod body;
pub mod bulk;
pub mod channel;
pub mod export;
pub mod fault;
pub mod gate;
pub mod guard;
pub mod headers;
pub mod openapi;
pub mod ops;
pub mod params;
mod pay;
pub mod pay_events;
pub mod payer;
pub mod problem;
pub mod query;
pub mod refunds;
pub mod service;
pub mod sim;
pub mod staff;
pub mod terminal;

pub use app::App;

use crate::channel::{alipay, wechat};
use axum::Router;
use axum::http::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::post;
use problem::Refusal;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use walkpay::protocol::problem::ProblemCode;

/// All routes and the document that describes them. `/sim/v1` is there only in a simulation.
pub fn router(app: Arc<App>) -> Router {
    let terminal = terminal_routes().layer(from_fn_with_state(app.clone(), fault::strike));
    let (routes, document) = described(terminal, app.sim.is_some()).split_for_parts();
    let _set_once = app.document.set(openapi::finished(document).into());
    let gateways = app.gateways.routes();
    let routes: Router = routes
        .merge(gateways.with_state(()))
        .route(alipay::NOTIFY_PATH, post(channel::alipay_notification))
        .route(wechat::NOTIFY_PATH, post(channel::tenpay_notification))
        .merge(pay::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(app.clone(), guard::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), guard::observe))
        .with_state(app);
    // The header Allow is added by the router: what reads it stands around all of it.
    Router::new().fallback_service(routes).layer(from_fn(guard::options))
}

/// The OpenAPI document of a server.
pub fn document(sim: bool) -> String {
    let (_, document) = described(terminal_routes(), sim).split_for_parts();
    openapi::finished(document)
}

fn described(terminal: OpenApiRouter<Arc<App>>, sim: bool) -> OpenApiRouter<Arc<App>> {
    let router = OpenApiRouter::with_openapi(openapi::base())
        .merge(terminal)
        .routes(routes!(gate::revocations))
        .routes(routes!(gate::spent_passes, gate::spend_passes))
        .routes(routes!(staff::checks))
        .routes(routes!(staff::check))
        .routes(routes!(staff::decide))
        .routes(routes!(staff::messages))
        .routes(routes!(query::query_orders))
        .routes(routes!(query::query_payments))
        .routes(routes!(query::query_totals))
        .routes(routes!(query::query_reconciliation))
        .routes(routes!(export::export_orders))
        .routes(routes!(export::export_payments))
        .routes(routes!(export::export_totals))
        .routes(routes!(service::hand_in, service::orders))
        .routes(routes!(bulk::hand_in_bulk))
        .routes(routes!(service::order))
        .routes(routes!(service::versions))
        .routes(routes!(service::submit))
        .routes(routes!(service::confirm))
        .routes(routes!(service::modify))
        .routes(routes!(service::withdraw))
        .routes(routes!(service::deliveries))
        .routes(routes!(service::redeliver))
        .routes(routes!(refunds::order_refunds, refunds::refund_order))
        .routes(routes!(refunds::service_refunds, refunds::service_refund))
        .routes(routes!(ops::page))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::metrics))
        .routes(routes!(openapi::openapi_json));
    if !sim {
        return router;
    }
    router
        .routes(routes!(sim::list_faults, sim::arm_fault, sim::disarm_faults))
        .routes(routes!(sim::read_clock, sim::advance_clock))
        .routes(routes!(sim::pay_trade))
        .routes(routes!(channel::test_notification))
}

fn terminal_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(terminal::begin_enrolment))
        .routes(routes!(terminal::enrol))
        .routes(routes!(terminal::rotate_keys))
        .routes(routes!(terminal::key_set))
        .routes(routes!(terminal::put_hold))
        .routes(routes!(terminal::put_attempt))
        .routes(routes!(terminal::put_cancellation))
        .routes(routes!(terminal::events))
        .routes(routes!(terminal::catalogue_manifest))
        .routes(routes!(terminal::catalogue_data))
        .routes(routes!(payer::orders))
        .routes(routes!(payer::order))
        .routes(routes!(payer::slips, payer::make_slip))
        .routes(routes!(payer::slip))
        .routes(routes!(payer::close_slip))
        .routes(routes!(payer::put_payment, payer::payment))
        .routes(routes!(payer::close_payment))
        .routes(routes!(payer::balance))
}

async fn no_route() -> Refusal {
    Refusal::new(ProblemCode::NotFound, "There is no such route; /openapi.json lists all of them.")
}

async fn no_method<B>(_: Request<B>) -> Refusal {
    Refusal::new(ProblemCode::MethodNotAllowed, "The header Allow lists the methods of this resource.")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    axum::response::IntoResponse::into_response(Refusal::internal(&"a handler panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn broken() -> &'static str {
        panic!("for the test")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_server_lives_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(broken)).layer(CatchPanicLayer::custom(panicked));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("urn:walkpay:problem:internal"), "{answer}");
            assert!(!answer.contains("for the test"));
        }
        server.abort();
    }
}
