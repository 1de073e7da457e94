//! Orders, slips and payments with fixed values: vectors and the protocol's papers use them.

use crate::samples::{at, device, euros, merchant, sub};
use walkpay::protocol::document::{Leg, LegState, PaymentMethod};
use walkpay::protocol::order::*;
use walkpay::{PaymentId, ServiceNumber, SlipNumber};

pub fn service_number() -> ServiceNumber {
    ServiceNumber::parse("000000000004711").unwrap()
}

pub fn slip_number() -> SlipNumber {
    SlipNumber::parse("000000000000000815").unwrap()
}

pub fn payment_id() -> PaymentId {
    PaymentId::new(at(2_000), [0x9a; 10])
}

pub fn summary() -> OrderSummary {
    OrderSummary {
        service_number: service_number(),
        status: OrderStatus::Payable,
        source: "delivery".into(),
        service_name: "Delivery of a washing machine".into(),
        payee: "Walkpay Services".into(),
        total: euros(4_900),
        due: euros(4_900),
        case_number: "C-2026-0815".into(),
        case_name: "Kitchen".into(),
        arose_at: at(1_000),
        deadline: at(14 * 86_400),
        slip_number: Some(slip_number()),
    }
}

pub fn order() -> OrderView {
    OrderView {
        summary: summary(),
        paying_unit: "Acme".into(),
        remarks: "Ring twice.".into(),
        fees: vec![FeeLine {
            name: "Delivery".into(),
            quantity: "1".into(),
            unit_price: euros(4_900),
            amount: euros(4_900),
            tax_rate: "19".into(),
            tax: euros(782),
        }],
        version: 2,
        refunded: euros(0),
        legs: Vec::new(),
    }
}

pub fn slip_request() -> SlipRequest {
    let invoice = Invoice { kind: InvoiceType::Company, title: "Acme".into(), tax_id: Some("DE123456789".into()) };
    SlipRequest { orders: vec![service_number()], remarks: "For the kitchen.".into(), invoice: Some(invoice) }
}

pub fn slip() -> SlipView {
    let asked = slip_request();
    SlipView {
        slip_number: slip_number(),
        status: SlipStatus::Paying,
        payee: summary().payee,
        title: summary().service_name,
        amount: euros(4_900),
        items: vec![SlipItem {
            service_number: service_number(),
            service_name: summary().service_name,
            amount: euros(4_900),
        }],
        remarks: asked.remarks,
        method: Some(PaymentMethod::Bank),
        invoice: asked.invoice,
        made_at: at(1_990),
        expires_at: at(5_590),
        payments: vec![payment()],
    }
}

pub fn payment() -> PaymentView {
    PaymentView {
        payment_id: payment_id(),
        slip_number: slip_number(),
        method: PaymentMethod::Bank,
        status: PaymentStatus::Open,
        amount: euros(4_900),
        stored_value: euros(900),
        launch: None,
        reason: None,
        deadline: at(2_900),
    }
}

pub fn slip_payment() -> SlipPayment {
    SlipPayment {
        merchant_id: merchant(),
        sub: sub(),
        device_id: device(),
        device_seq: 11,
        slip_number: slip_number(),
        payment_id: payment_id(),
        method: PaymentMethod::Bank,
        amount: euros(4_900),
        stored_value: euros(900),
        signed_at: at(2_000),
    }
}

pub fn slip_result() -> SlipResult {
    let leg = |method, minor, mark: &str| Leg {
        method,
        amount: euros(minor),
        reference: format!("{}.{mark}", payment_id()),
        state: LegState::Succeeded,
    };
    SlipResult {
        merchant_id: merchant(),
        sub: sub(),
        slip_number: slip_number(),
        slip_status: SlipStatus::Paid,
        payment: PaymentView { status: PaymentStatus::Succeeded, ..payment() },
        legs: vec![leg(PaymentMethod::StoredValue, 900, "s"), leg(PaymentMethod::Bank, 4_000, "d")],
        issued_at: at(2_010),
    }
}

/// A result of a payment that waits for the payer at a channel.
pub fn launched() -> SlipResult {
    let launch = Launch::Qr { text: format!("walkpay-test:{}01", slip_number()) };
    let payment =
        PaymentView { method: PaymentMethod::Test, stored_value: euros(0), launch: Some(launch), ..payment() };
    SlipResult { slip_status: SlipStatus::Paying, payment, legs: Vec::new(), issued_at: at(2_001), ..slip_result() }
}

pub fn order_notice() -> OrderNotice {
    OrderNotice {
        merchant_id: merchant(),
        sub: sub(),
        service_number: service_number(),
        news: OrderNews::Payable,
        status: OrderStatus::Payable,
        due: euros(4_900),
        deadline: at(14 * 86_400),
        version: 1,
        issued_at: at(1_100),
    }
}

pub fn balance() -> Balance {
    let (balance, available) = (euros(2_000), euros(1_550));
    Balance { stored_value: Some(StoredValue { balance, available }), at: slip_payment().signed_at }
}
