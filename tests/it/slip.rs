//! Orders of service systems, paid by slip, over real HTTP: B20 to B24 and B31 to B33 as a payer's terminal sees them.

#[path = "../../examples/support/cashier.rs"]
mod cashier;
#[path = "../../examples/support/service_system.rs"]
mod service_system;

use super::keys::TestKey;
use super::support::{PATIENCE, Phone, Shop, euros};
use serde_json::{Value, json};
use service_system::ServiceSystem;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use walkpay::api::{DeviceSigner, SigningPurpose, Slip};
use walkpay::protocol::crypto::Algorithm;
use walkpay::protocol::document::{LegState, PaymentMethod};
use walkpay::protocol::order::*;
use walkpay::protocol::question::{OrderFilter, TotalsBy, TotalsFilter};
use walkpay::session::{HostEventKind, OutboxKind};
use walkpay::{Currency, Money, ServiceNumber, Timestamp, UserName, WalkpayError};

const CASE: &str = "C-2026-0815";

/// A merchant, a service system that confirms everything at once, and a payer.
struct Desk {
    shop: Shop,
    system: ServiceSystem,
    phone: Phone,
    user: &'static str,
    handed: u32,
}

impl Desk {
    async fn open(user: &'static str) -> Self {
        let shop = Shop::open().await;
        let phone = shop.phone(user).await;
        Self::with(shop, phone, user).await
    }

    async fn with(shop: Shop, phone: Phone, user: &'static str) -> Self {
        let confirm = Arc::new(|_: &Value| json!({ "decision": "confirm" }));
        let system = ServiceSystem::open(&shop.merchant, "delivery", "Delivery", confirm).await.unwrap();
        Self { shop, system, phone, user, handed: 0 }
    }

    /// An order of the payer that is confirmed, so that it can be paid.
    async fn order(&mut self, amount: &str, case: &str) -> ServiceNumber {
        self.handed += 1;
        let number = hand_in(&self.system, self.user, self.handed, amount, case).await;
        self.phone.order_news(number, OrderNews::Payable).await;
        number
    }

    async fn slip(&mut self, orders: Vec<ServiceNumber>) -> Arc<Slip> {
        let slip = self.phone.terminal.make_slip(request(orders)).await.unwrap();
        slip.wait_made(PATIENCE).await.unwrap().unwrap();
        slip
    }

    /// Waits until the system was told, and that it was told once.
    async fn paid(&self, number: ServiceNumber) {
        self.system.told("order.paid", number, PATIENCE).await.unwrap();
        let paid = self.system.messages().into_iter().filter(|m| m.kind == "order.paid");
        assert_eq!(paid.filter(|m| m.service_number == number.to_string()).count(), 1);
        assert_eq!(self.system.refused(), 0, "every webhook verifies");
    }

    async fn waiting(&self) -> Vec<ServiceNumber> {
        let list = self.phone.terminal.orders(OrderFilter::default()).await.unwrap();
        list.orders.iter().map(|o| o.service_number).collect()
    }

    /// The payer pays at the simulated channel what its QR code says.
    fn scan(&self, launch: &Launch) {
        let Launch::Qr { text } = launch else { panic!("{launch:?}") };
        let app = self.shop.merchant.app();
        let number = text.rsplit(':').next().unwrap();
        app.channels.test().unwrap().pay(app.clock.now(), number).unwrap();
    }
}

impl Phone {
    async fn order_news(&mut self, number: ServiceNumber, news: OrderNews) {
        self.event(|kind| match kind {
            HostEventKind::Order { notice } if notice.service_number == number && notice.news == news => Some(()),
            _ => None,
        })
        .await;
    }

    /// The result that ends a payment.
    async fn slip_result(&mut self) -> SlipResult {
        self.event(|kind| match kind {
            HostEventKind::Slip { result }
                if matches!(result.payment.status, PaymentStatus::Succeeded | PaymentStatus::Closed) =>
            {
                Some(result.clone())
            }
            _ => None,
        })
        .await
    }
}

async fn hand_in(system: &ServiceSystem, payer: &str, n: u32, amount: &str, case: &str) -> ServiceNumber {
    hand_in_priced(system, payer, n, euros(amount), case).await
}

async fn hand_in_priced(system: &ServiceSystem, payer: &str, n: u32, price: Money, case: &str) -> ServiceNumber {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let deadline = Timestamp::from_millis(now + 14 * 86_400_000);
    let order = json!({
        "service_name": format!("Service {n}"), "payer": payer, "deadline": deadline, "case_number": case, "case_name": "Kitchen",
        "fees": [{ "name": "Service", "unit_price": price, "tax_rate": "19" }],
    });
    system.hand_in(&format!("key-{n}"), &order).await.unwrap()
}

fn request(orders: Vec<ServiceNumber>) -> SlipRequest {
    let invoice = Some(Invoice { kind: InvoiceType::Personal, title: "Ada Lovelace".into(), tax_id: None });
    SlipRequest { orders, remarks: "Third floor".into(), invoice }
}

#[tokio::test(flavor = "multi_thread")]
async fn b20_b21_b22_orders_are_chosen_and_paid_by_stored_value() {
    let mut desk = Desk::open("carol").await;
    let first = desk.order("12.50", CASE).await;
    let second = desk.order("7.50", CASE).await;
    let list = desk.phone.terminal.orders(OrderFilter::default()).await.unwrap();
    assert!(list.live && list.next.is_none());
    assert_eq!(list.orders.iter().map(|o| o.due).collect::<Vec<_>>(), [euros("12.50"), euros("7.50")]);
    let page = desk.phone.terminal.orders(OrderFilter { limit: 1, ..OrderFilter::default() }).await.unwrap();
    assert_eq!((page.orders.len(), page.next), (1, Some(first)));
    let rest = OrderFilter { limit: 1, after: page.next, ..OrderFilter::default() };
    assert_eq!(desk.phone.terminal.orders(rest).await.unwrap().orders[0].service_number, second);
    let source = OrderFilter { source: Some(desk.system.id.clone()), ..OrderFilter::default() };
    assert_eq!(desk.phone.terminal.orders(source).await.unwrap().orders, list.orders);
    let other = OrderFilter { case_number: Some("C-0".into()), ..OrderFilter::default() };
    assert!(desk.phone.terminal.orders(other).await.unwrap().orders.is_empty());
    let order = desk.phone.terminal.order(first).await.unwrap();
    assert_eq!((order.live, order.order.fees.len(), order.order.summary.case_number.as_str()), (true, 1, CASE));

    let slip = desk.slip(vec![first, second]).await;
    let made = slip.state().await.unwrap().slip.unwrap();
    assert_eq!((made.amount, made.items.len(), made.remarks.as_str()), (euros("20.00"), 2, "Third floor"));
    assert_eq!(made.invoice.unwrap().title, "Ada Lovelace");
    let payment_id = slip.pay(PaymentMethod::StoredValue, None).await.unwrap();
    let result = desk.phone.slip_result().await;
    assert_eq!((result.slip_status, result.payment.payment_id), (SlipStatus::Paid, payment_id));
    assert_eq!(result.payment.stored_value, euros("20.00"));
    assert_eq!(slip.wait_payment(PATIENCE).await.unwrap().legs, result.legs);
    assert!(result.legs.iter().all(|l| l.state == LegState::Succeeded && l.method == PaymentMethod::StoredValue));
    assert!(desk.waiting().await.is_empty());
    desk.paid(first).await;
    desk.paid(second).await;
    let again = desk.phone.terminal.make_slip(request(vec![first])).await.unwrap();
    assert_eq!(again.wait_made(PATIENCE).await.unwrap_err().code(), "refused.order_not_payable");
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_a_part_is_paid_by_stored_value_and_the_rest_by_the_bank() {
    let mut desk = Desk::open("alice").await;
    let number = desk.order("45.00", CASE).await;
    let slip = desk.slip(vec![number]).await;
    let before = desk.phone.terminal.balance().await.unwrap().stored_value.unwrap();
    assert_eq!(before.available, before.balance, "nothing is under way");
    slip.pay(PaymentMethod::Bank, Some(euros("30.00"))).await.unwrap();
    let result = desk.phone.slip_result().await;
    assert_eq!(result.slip_status, SlipStatus::Paid, "{result:?}");
    let mut legs: Vec<_> = result.legs.iter().map(|l| (l.method, l.amount)).collect();
    legs.sort_by_key(|(_, amount)| amount.minor);
    assert_eq!(legs, [(PaymentMethod::Bank, euros("15.00")), (PaymentMethod::StoredValue, euros("30.00"))]);
    let after = desk.phone.terminal.balance().await.unwrap().stored_value.unwrap();
    assert_eq!(before.balance.minor - after.balance.minor, 3_000);
    let bob = desk.shop.phone("bob").await;
    assert_eq!(bob.terminal.balance().await.unwrap().stored_value, None, "no account for it");
    desk.phone.terminal.set_network(false).await.unwrap();
    assert_eq!(desk.phone.terminal.balance().await.unwrap_err().code(), "network");
    desk.phone.terminal.set_network(true).await.unwrap();
    desk.paid(number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_payment_can_be_made_otherwise() {
    let mut desk = Desk::open("alice").await;
    let number = desk.order("45.00", CASE).await;
    let slip = desk.slip(vec![number]).await;
    slip.pay(PaymentMethod::StoredValue, None).await.unwrap();
    let refused = slip.wait_payment(PATIENCE).await.unwrap_err();
    assert_eq!(refused.code(), "refused.insufficient_stored_value");
    slip.pay(PaymentMethod::Bank, None).await.unwrap();
    assert_eq!(desk.phone.slip_result().await.slip_status, SlipStatus::Paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_offline_goes_on_after_a_restart() {
    let mut desk = Desk::open("carol").await;
    let number = desk.order("12.50", CASE).await;
    assert_eq!(desk.waiting().await, [number]);
    desk.phone.terminal.order(number).await.unwrap();
    desk.phone.terminal.set_network(false).await.unwrap();
    let seen = desk.phone.terminal.orders(OrderFilter::default()).await.unwrap();
    assert_eq!((seen.live, seen.orders.len()), (false, 1), "as it was last seen");
    assert!(!desk.phone.terminal.order(number).await.unwrap().live);
    assert_eq!(desk.phone.terminal.totals(TotalsFilter::default()).await.unwrap_err().code(), "network");
    let slip = desk.phone.terminal.make_slip(request(vec![number])).await.unwrap();
    let waits = desk.phone.terminal.outbox().await.unwrap().items;
    assert_eq!((waits.len(), waits[0].kind, waits[0].amount), (1, OutboxKind::Slip, Some(euros("12.50"))));
    let due = match slip.pay(PaymentMethod::StoredValue, None).await {
        Err(WalkpayError::WrongOrder { due, .. }) => due,
        other => panic!("{other:?}"),
    };
    assert_eq!(due, "next_event (the merchant's answer to the slip)");
    let id = slip.id();
    drop(slip);

    desk.phone = desk.phone.reopen(None).await;
    let slip = desk.phone.terminal.resume_slip(id).await.unwrap();
    slip.wait_made(PATIENCE).await.unwrap().unwrap();
    desk.phone.terminal.set_network(false).await.unwrap();
    slip.pay(PaymentMethod::StoredValue, None).await.unwrap();
    let outbox = desk.phone.terminal.outbox().await.unwrap();
    assert_eq!((outbox.items[0].kind, outbox.totals.amounts), (OutboxKind::SlipPayment, vec![euros("12.50")]));
    drop(slip);

    desk.phone = desk.phone.reopen(None).await;
    let slip = desk.phone.terminal.resume_slip(id).await.unwrap();
    assert_eq!(slip.wait_payment(PATIENCE).await.unwrap().view.unwrap().status, PaymentStatus::Succeeded);
    assert_eq!(desk.phone.slip_result().await.slip_status, SlipStatus::Paid);
    desk.paid(number).await;
    desk.phone.terminal.ack_events(desk.phone.seen).await.unwrap();
    assert!(desk.phone.terminal.slips().await.unwrap().is_empty(), "done, told and acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_make_neither_a_second_slip_nor_a_second_payment() {
    let mut desk = Desk::open("carol").await;
    let number = desk.order("12.50", CASE).await;
    desk.shop.arm("terminal_no_answer_after", "make_slip", 2);
    let slip = desk.slip(vec![number]).await;
    desk.shop.arm("terminal_no_answer_after", "put_payment", 2);
    let payment_id = slip.pay(PaymentMethod::StoredValue, None).await.unwrap();
    let result = desk.phone.slip_result().await;
    assert_eq!((result.slip_status, result.payment.payment_id), (SlipStatus::Paid, payment_id));
    let state = slip.refresh().await.unwrap();
    assert_eq!((state.status, state.slip.unwrap().payments.len()), (Some(SlipStatus::Paid), 1));
    desk.paid(number).await;
    let totals = TotalsFilter { by: vec![TotalsBy::Case], ..TotalsFilter::default() };
    assert_eq!(desk.phone.terminal.totals(totals).await.unwrap().groups[0].paid, euros("12.50"), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_the_host_gets_what_the_channel_needs_and_hears_how_it_ended() {
    let mut desk = Desk::open("alice").await;
    let number = desk.order("12.50", CASE).await;
    let slip = desk.slip(vec![number]).await;
    let given_up = slip.pay(PaymentMethod::Test, None).await.unwrap();
    let launch = slip.wait_launch(PATIENCE).await.unwrap().unwrap();
    assert_eq!(slip.state().await.unwrap().launch, Some(launch));
    slip.close_payment(given_up).await.unwrap();
    let closed = desk.phone.slip_result().await;
    assert_eq!((closed.slip_status, closed.payment.status), (SlipStatus::Open, PaymentStatus::Closed));

    let payment_id = slip.pay(PaymentMethod::Test, None).await.unwrap();
    let launch = slip.wait_launch(PATIENCE).await.unwrap().unwrap();
    assert_eq!(desk.waiting().await, Vec::<ServiceNumber>::new(), "in payment");
    desk.scan(&launch);
    let result = desk.phone.slip_result().await;
    assert_eq!((result.slip_status, result.payment.payment_id), (SlipStatus::Paid, payment_id));
    assert_eq!(slip.wait_launch(PATIENCE).await.unwrap(), None, "nothing is needed any more");
    desk.paid(number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_b31_alipay_and_wechat_pay_are_launched_resumed_followed_and_totalled() {
    let mut desk = Desk::open("alice").await;
    let yuan = |minor| Currency::parse("CNY").unwrap().minor(minor);
    for (method, minor) in [(PaymentMethod::Alipay, 1_250), (PaymentMethod::Tenpay, 3_000), (PaymentMethod::Alipay, 1)]
    {
        desk.handed += 1;
        let number = hand_in_priced(&desk.system, desk.user, desk.handed, yuan(minor), CASE).await;
        desk.phone.order_news(number, OrderNews::Payable).await;
        let slip = desk.slip(vec![number]).await;
        let (id, payment_id) = (slip.id(), slip.pay(method, None).await.unwrap());
        let launch = slip.wait_launch(PATIENCE).await.unwrap().unwrap();
        drop(slip);
        // The host was away: what is to be launched is still there.
        desk.phone = desk.phone.reopen(None).await;
        let slip = desk.phone.terminal.resume_slip(id).await.unwrap();
        assert_eq!(slip.wait_launch(PATIENCE).await.unwrap().as_ref(), Some(&launch));
        cashier::pay(&desk.shop.merchant.url, &launch).await.unwrap();
        // What was not acknowledged before the restart is told again.
        let mut result = desk.phone.slip_result().await;
        while result.payment.payment_id != payment_id {
            result = desk.phone.slip_result().await;
        }
        assert_eq!(result.slip_status, SlipStatus::Paid);
        assert_eq!(result.legs.iter().map(|l| (l.method, l.amount)).collect::<Vec<_>>(), [(method, yuan(minor))]);
        desk.paid(number).await;
    }
    let by_method = TotalsFilter { by: vec![TotalsBy::Method], ..TotalsFilter::default() };
    let totals = desk.phone.terminal.totals(by_method).await.unwrap().groups;
    let found: Vec<_> = totals.iter().map(|g| (g.method.unwrap(), g.paid, g.payments)).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    for expected in [(PaymentMethod::Alipay, yuan(1_251), 2), (PaymentMethod::Tenpay, yuan(3_000), 1)] {
        assert!(found.contains(&expected), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_that_is_given_up_frees_its_orders() {
    let mut desk = Desk::open("carol").await;
    let number = desk.order("12.50", CASE).await;
    let slip = desk.slip(vec![number]).await;
    let locked = desk.phone.terminal.make_slip(request(vec![number])).await.unwrap();
    assert_eq!(locked.wait_made(PATIENCE).await.unwrap_err().code(), "refused.order_not_payable");
    slip.close_slip().await.unwrap();
    desk.phone
        .event(|kind| matches!(kind, HostEventKind::SlipClosed { slip_id, .. } if *slip_id == slip.id()).then_some(()))
        .await;
    assert_eq!(slip.state().await.unwrap().due, "make_slip (this one is closed)");
    let again = desk.slip(vec![number]).await;
    again.pay(PaymentMethod::StoredValue, None).await.unwrap();
    assert_eq!(desk.phone.slip_result().await.slip_status, SlipStatus::Paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_b32_own_totals_by_case_and_method() {
    let mut desk = Desk::open("carol").await;
    for (amount, case) in [("10.00", "C-1"), ("20.00", "C-2"), ("5.00", "C-1")] {
        let number = desk.order(amount, case).await;
        desk.slip(vec![number]).await.pay(PaymentMethod::StoredValue, None).await.unwrap();
        desk.phone.slip_result().await;
    }
    let by = |by| TotalsFilter { by, ..TotalsFilter::default() };
    let cases = desk.phone.terminal.totals(by(vec![TotalsBy::Case])).await.unwrap().groups;
    let cases: Vec<_> = cases.into_iter().map(|g| (g.case_number.unwrap(), g.net, g.payments)).collect();
    assert_eq!(cases, [("C-1".to_owned(), euros("15.00"), 2), ("C-2".to_owned(), euros("20.00"), 1)]);
    let methods = desk.phone.terminal.totals(by(vec![TotalsBy::Method])).await.unwrap().groups;
    assert_eq!(
        methods.iter().map(|g| (g.method, g.paid)).collect::<Vec<_>>(),
        [(Some(PaymentMethod::StoredValue), euros("35.00"))]
    );
    let one = TotalsFilter { case_number: Some("C-2".into()), ..TotalsFilter::default() };
    assert_eq!(desk.phone.terminal.totals(one).await.unwrap().groups[0].net, euros("20.00"));
    let bob = desk.shop.phone("bob").await;
    assert!(bob.terminal.totals(by(vec![TotalsBy::Case])).await.unwrap().groups.is_empty(), "only one's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn b33_nobody_sees_or_pays_somebody_elses_orders() {
    let mut desk = Desk::open("carol").await;
    let number = desk.order("12.50", CASE).await;
    let bob = desk.shop.phone("bob").await;
    assert!(bob.terminal.orders(OrderFilter { all: true, ..OrderFilter::default() }).await.unwrap().orders.is_empty());
    assert_eq!(bob.terminal.order(number).await.unwrap_err().code(), "refused.not_found");
    let slip = bob.terminal.make_slip(request(vec![number])).await.unwrap();
    assert_eq!(slip.wait_made(PATIENCE).await.unwrap_err().code(), "refused.not_found");
    let wait = slip.wait_payment(Duration::ZERO).await;
    assert!(
        matches!(&wait, Err(WalkpayError::WrongOrder { due, .. }) if due == "make_slip (this one was refused)"),
        "{wait:?}"
    );
}

/// A consent key that the host keeps.
struct HostKey {
    key: TestKey,
    purposes: std::sync::Mutex<Vec<SigningPurpose>>,
}

impl DeviceSigner for HostKey {
    fn algorithm(&self) -> Result<Algorithm, WalkpayError> {
        Ok(Algorithm::Es256)
    }

    fn public_key(&self) -> Result<Vec<u8>, WalkpayError> {
        Ok(self.key.public().raw().to_vec())
    }

    fn sign(&self, purpose: SigningPurpose, bytes: Vec<u8>) -> Result<Vec<u8>, WalkpayError> {
        self.purposes.lock().unwrap().push(purpose);
        Ok(self.key.sign(&bytes))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_can_sign_payments_themselves() {
    let shop = Shop::open().await;
    let phone = Phone::new().await;
    let key = Arc::new(HostKey { key: TestKey::new(Algorithm::Es256, 77), purposes: std::sync::Mutex::default() });
    phone.terminal.enrol(shop.code("carol").await, None, Some(key.clone())).await.unwrap();
    phone.terminal.sign_in(UserName::parse("carol").unwrap()).await.unwrap();
    let mut desk = Desk::with(shop, phone, "carol").await;
    let (first, second) = (desk.order("12.50", CASE).await, desk.order("1.00", CASE).await);
    let slip = desk.slip(vec![first]).await;
    let bytes = slip.prepare_payment(PaymentMethod::StoredValue, None).await.unwrap();
    assert_eq!(slip.submit_payment_signature(vec![0; 64]).await.unwrap_err().code(), "key");
    let payment_id = slip.submit_payment_signature(key.key.sign(&bytes)).await.unwrap();
    assert_eq!(desk.phone.slip_result().await.payment.payment_id, payment_id);
    let other = desk.slip(vec![second]).await;
    other.pay(PaymentMethod::StoredValue, None).await.unwrap();
    assert_eq!(desk.phone.slip_result().await.slip_status, SlipStatus::Paid);
    assert!(key.purposes.lock().unwrap().contains(&SigningPurpose::SlipPayment), "the prompt can say what it is for");
}
