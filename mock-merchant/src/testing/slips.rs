//! Service orders, slips and payments for tests.

use super::{Device, World, name};
use crate::channel::test::{Armed, Fault};
use crate::domain::once::IdempotencyKey;
use crate::domain::*;
use crate::failure::Failure;
use crate::store::orders::{self, NewOrder, OrderState};
use crate::store::{Tx, sources, users};
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::{EventBody, KeyUse, PaymentMethod};
use walkpay::protocol::order::*;
use walkpay::{MerchantId, Money, PaymentId, ServiceNumber, SlipNumber};

impl World {
    /// A payable order of `alice` from the service system `delivery`.
    pub fn service_order(&self, amount: Money) -> ServiceNumber {
        self.service_order_of("alice", "delivery", amount)
    }

    pub fn service_order_of(&self, user: &str, source: &str, amount: Money) -> ServiceNumber {
        Tx::run(&self.conn, |tx| {
            let payee = "Walkpay Services";
            if sources::find(tx, source)?.is_none() {
                let new = sources::NewSource { source_id: source, name: source, payee, time_zone: "Asia/Tokyo" };
                sources::add(tx, &new, self.now)?;
            }
            let payer = users::find(tx, &name(user))?.unwrap().user;
            let new = NewOrder {
                source,
                state: OrderState::Payable,
                service_name: "Delivery",
                payee,
                payer,
                total: amount,
                due: amount.minor,
                case_number: "C-1",
                arose_at: self.now,
                deadline: self.now.plus(std::time::Duration::from_secs(14 * 24 * 3600)),
                store: None,
                made_at: self.now,
            };
            Ok(orders::add(tx, &new)?)
        })
        .unwrap()
    }

    pub fn try_slip(&self, device: &Device, orders: &[ServiceNumber]) -> Result<Answer, Failure> {
        let request = SlipRequest { orders: orders.to_vec(), remarks: String::new(), invoice: None };
        let key = IdempotencyKey::parse(&format!("k{}", self.seeds.get())).unwrap();
        let command = PayerCommand::MakeSlip { key, body_sha256: [0; 32], request };
        self.run(&device.caller(), Command::Payer(command))
    }

    pub fn make_slip(&self, device: &Device, orders: &[ServiceNumber]) -> SlipView {
        match self.try_slip(device, orders).unwrap() {
            Answer::Reply(reply) => serde_json::from_slice(&reply.body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn slip_payment(
        &self,
        device: &mut Device,
        slip: &SlipView,
        method: PaymentMethod,
        stored_value: i64,
    ) -> SlipPayment {
        SlipPayment {
            merchant_id: MerchantId::parse("m").unwrap(),
            sub: device.sub.clone(),
            device_id: device.id,
            device_seq: device.next(),
            slip_number: slip.slip_number,
            payment_id: PaymentId::new(self.now, self.random10()),
            method,
            amount: slip.amount,
            stored_value: slip.amount.currency.minor(stored_value),
            signed_at: self.now,
        }
    }

    pub fn put_payment(&self, device: &Device, payment: &SlipPayment) -> Result<Answer, Failure> {
        let body = PaymentPut { payment: device.consent.jws(payment).unwrap() };
        let (slip, payment_id) = (payment.slip_number, payment.payment_id);
        self.run(&device.caller(), Command::PutPayment { slip, payment_id, body })
    }

    /// Begins a payment of a slip.
    pub fn pay(&self, device: &mut Device, slip: &SlipView, method: PaymentMethod, stored_value: i64) -> PaymentView {
        let payment = self.slip_payment(device, slip, method, stored_value);
        payment_of(self.put_payment(device, &payment).unwrap())
    }

    pub fn payment(&self, device: &Device, payment: &PaymentView) -> PaymentView {
        let query = PayerQuery::Payment { slip: payment.slip_number, payment_id: payment.payment_id };
        payment_of(self.read(&device.caller(), Query::Payer(query)).unwrap())
    }

    pub fn close_payment(&self, device: &Device, payment: &PaymentView) -> PaymentView {
        let command = PayerCommand::ClosePayment { slip: payment.slip_number, payment_id: payment.payment_id };
        payment_of(self.run(&device.caller(), Command::Payer(command)).unwrap())
    }

    pub fn close_slip(&self, device: &Device, slip: SlipNumber) -> Result<Answer, Failure> {
        self.run(&device.caller(), Command::Payer(PayerCommand::CloseSlip(slip)))
    }

    pub fn slip(&self, device: &Device, slip: SlipNumber) -> SlipView {
        match self.read(&device.caller(), Query::Payer(PayerQuery::Slip(slip))).unwrap() {
            Answer::Payer(PayerAnswer::Slip(slip)) => *slip,
            other => panic!("{other:?}"),
        }
    }

    pub fn order(&self, device: &Device, number: ServiceNumber) -> OrderView {
        match self.read(&device.caller(), Query::Payer(PayerQuery::Order(number))).unwrap() {
            Answer::Payer(PayerAnswer::Order(order)) => *order,
            other => panic!("{other:?}"),
        }
    }

    /// Method and minor units of an order's legs.
    pub fn legs(&self, device: &Device, number: ServiceNumber) -> Vec<(PaymentMethod, i64)> {
        self.order(device, number).legs.iter().map(|l| (l.method, l.amount.minor)).collect()
    }

    pub fn refund(&self, number: ServiceNumber, request: RefundRequest) -> Result<RefundView, Failure> {
        let body_sha256 = sha256(&serde_json::to_vec(&request).unwrap());
        let key = IdempotencyKey::parse(&format!("r{}", self.seeds.get())).unwrap();
        match self.run(&Caller::Operator, Command::Refund { number, key, body_sha256, request })? {
            Answer::Reply(reply) => Ok(serde_json::from_slice(&reply.body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub fn refunds(&self, number: ServiceNumber) -> Vec<RefundView> {
        match self.read(&Caller::Operator, Query::Refunds(number)).unwrap() {
            Answer::Refunds(refunds) => refunds,
            other => panic!("{other:?}"),
        }
    }

    /// What the device was told of payments of slips, in order.
    pub fn slip_results(&self, device: &Device) -> Vec<(SlipStatus, PaymentStatus)> {
        let document = |e: EventBody| match e {
            EventBody::Slip { document } => Some(self.document::<SlipResult>(&document, KeyUse::Results)),
            _ => None,
        };
        let results = self.events(device).into_iter().filter_map(document);
        results.map(|r| (r.slip_status, r.payment.status)).collect()
    }

    /// The balance of an account of the ledger.
    pub fn balance(&self, account: &str) -> i64 {
        Tx::read(&self.conn, |tx| {
            let account = crate::store::ledger::account(tx, account, super::eur(0).currency, None)?;
            Ok(crate::store::ledger::balance(tx, account)?.0.minor)
        })
        .unwrap_or(0)
    }

    /// Arms a fault of the simulated channel for once.
    pub fn channel_fault(&self, fault: Fault) {
        assert!(self.channel.faults().arm(Armed { fault, times: 1, operation: None }));
    }

    /// The number that the channel knows the newest payment of a slip by.
    pub fn trade_number(&self, device: &Device, slip: SlipNumber) -> String {
        format!("{slip}{:02}", self.slip(device, slip).payments.len())
    }
}

fn payment_of(answer: Answer) -> PaymentView {
    match answer {
        Answer::Payer(PayerAnswer::Payment { view, .. }) => *view,
        other => panic!("{other:?}"),
    }
}
