//! The shopper as a payer: slips of what the service system has handed in, paid by stored value and the bank.

use crate::desk;
use crate::process::PATIENCE;
use crate::shopper::{LOOK, Shopper, text};
use rand::RngExt;
use tokio::sync::watch;
use walkpay::WalkpayError;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{SlipRequest, SlipStatus};
use walkpay::protocol::question::OrderFilter;
use walkpay::session::{PaymentFacts, SlipState};

impl Shopper {
    /// Goes on with what an earlier life has begun, then pays what there is until it is told to stop.
    pub async fn pay(mut self, stop: watch::Receiver<bool>) -> Result<(), String> {
        for known in self.terminal.slips().await.map_err(text)? {
            self.pay_slip(known).await?;
        }
        while !*stop.borrow() {
            let filter = OrderFilter { source: Some(desk::NAME.into()), ..OrderFilter::default() };
            let orders = match self.terminal.orders(filter).await {
                Ok(list) if list.live => list.orders,
                // The merchant may be dead at present.
                Ok(_) | Err(WalkpayError::Network { .. } | WalkpayError::Refused { status: 408 | 429 | 500.., .. }) => {
                    Vec::new()
                }
                // The question was signed before the merchant's last start.
                Err(WalkpayError::Refused { problem, .. }) if problem == "signature_stale" => continue,
                Err(e) => return Err(e.explain()),
            };
            let free = orders.iter().filter(|o| o.slip_number.is_none()).map(|o| o.service_number);
            let most = self.rng.random_range(1..4);
            let orders: Vec<_> = free.take(most).collect();
            if orders.is_empty() {
                if let Some(event) = self.terminal.next_event(self.seen, LOOK).await.map_err(text)? {
                    self.seen = event.number;
                }
                continue;
            }
            let request = SlipRequest { orders, remarks: String::new(), invoice: None };
            let slip = self.terminal.make_slip(request).await.map_err(text)?;
            println!("slip {}", slip.id());
            self.pay_slip(slip.state().await.map_err(text)?).await?;
        }
        Ok(())
    }

    /// Takes a slip from wherever it is to its end.
    async fn pay_slip(&mut self, known: SlipState) -> Result<(), String> {
        let slip = self.terminal.resume_slip(known.slip_id).await.map_err(text)?;
        loop {
            let state = slip.state().await.map_err(text)?;
            tell(&state);
            match state.status {
                None => {
                    slip.wait_made(PATIENCE).await.map_err(text)?.ok_or("a slip was never made")?;
                }
                Some(SlipStatus::Open) => {
                    let amount = state.slip.map(|s| s.amount).ok_or("an open slip that was never made")?;
                    let part = amount.currency.minor(self.rng.random_range(1..amount.minor));
                    // Stored value may be used up, by baskets as well.
                    let (method, part) = match (state.payments.is_empty(), self.rng.random_range(0..3)) {
                        (true, 0) => (PaymentMethod::StoredValue, None),
                        (true, 1) => (PaymentMethod::Bank, Some(part)),
                        _ => (PaymentMethod::Bank, None),
                    };
                    let payment = slip.pay(method, part).await.map_err(text)?;
                    println!("payment {payment} {}", amount.minor);
                }
                Some(SlipStatus::Paying) => match slip.wait_payment(PATIENCE).await {
                    Ok(ended) if ended.is_open() => return Err(format!("a payment never ends: {ended:?}")),
                    Ok(_) => {}
                    // Baskets have used the stored value in the meantime: the next try is without.
                    Err(WalkpayError::Refused { problem, .. }) if problem == "insufficient_stored_value" => {}
                    Err(e) => return Err(e.explain()),
                },
                Some(SlipStatus::Paid) => return Ok(()),
                Some(SlipStatus::Closed) => return Err(format!("a slip was closed by nobody: {:?}", state.slip)),
            }
        }
    }

    /// Says everything that is known of all slips.
    pub async fn recall_slips(&mut self) -> Result<(), String> {
        self.terminal.slips().await.map_err(text)?.iter().for_each(tell);
        Ok(())
    }
}

fn tell(state: &SlipState) {
    println!("slip {}", state.slip_id);
    if let Some(made) = &state.slip {
        println!("made {} {}/{}", state.slip_id, made.slip_number, made.amount.minor);
    }
    for payment in &state.payments {
        println!("payment {} {}", payment.payment_id, payment.amount.minor);
        if !payment.is_open() {
            println!("ended {} {}", payment.payment_id, end(payment));
        }
    }
}

fn end(payment: &PaymentFacts) -> String {
    match &payment.view {
        Some(view) => format!("{:?}", view.status),
        None => "Refused".into(),
    }
}
