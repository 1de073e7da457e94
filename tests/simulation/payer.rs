//! What a payer does on a terminal: slips of the orders that were listed, payments by whichever method, second thoughts.

use crate::device::Terminal;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use walkpay::SlipId;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{SlipRequest, SlipStatus};
use walkpay::protocol::question::OrderFilter;
use walkpay::session::*;

/// The payment channels, the quickest to simulate more often.
const CHANNELS: [PaymentMethod; 4] =
    [PaymentMethod::Test, PaymentMethod::Test, PaymentMethod::Alipay, PaymentMethod::Tenpay];
/// How many slips a payer is busy with at most.
const BUSY: usize = 3;

impl Terminal {
    /// The slips of which it is still to be heard how they end.
    pub fn open_slips(&self) -> Vec<Slip> {
        let Ok(device) = self.session.current() else { return Vec::new() };
        device.slips().filter(|s| !s.is_finished()).cloned().collect()
    }

    /// The next thing that the payer does; whatever the terminal refuses is not done.
    pub fn pay(&mut self, now: &Now, rng: &mut ChaCha8Rng) {
        let slips = self.open_slips();
        if slips.len() < BUSY && (slips.is_empty() || rng.random_range(0..4) == 0) {
            return self.make_slip(now, rng);
        }
        let Some(slip) = slips.get(rng.random_range(0..slips.len().max(1))) else { return };
        match slip.status() {
            Some(SlipStatus::Open) if rng.random_range(0..16) == 0 => {
                let _ = self.tell(Input::Command(Command::CloseSlip { slip_id: slip.id }), now);
            }
            Some(SlipStatus::Open) => self.begin_payment(slip, now, rng),
            // Whoever is impatient looks at the code before.
            Some(SlipStatus::Paying)
                if rng.random_range(0..if self.impatient && slip.launch().is_some() { 3 } else { 16 }) == 0 =>
            {
                let Some(payment_id) = slip.payments.last().map(|p| p.payment_id) else { return };
                let _ = self.tell(Input::Command(Command::ClosePayment { slip_id: slip.id, payment_id }), now);
            }
            _ => {}
        }
    }

    fn make_slip(&mut self, now: &Now, rng: &mut ChaCha8Rng) {
        let Ok(device) = self.session.current() else { return };
        let Some(list) = device.orders().page(&OrderFilter::default()) else { return };
        let mut free: Vec<_> =
            list.orders.iter().filter(|o| o.slip_number.is_none()).map(|o| o.service_number).collect();
        let mut orders = Vec::new();
        for _ in 0..rng.random_range(1..4) {
            if !free.is_empty() {
                orders.push(free.swap_remove(rng.random_range(0..free.len())));
            }
        }
        if !orders.is_empty() {
            let request = SlipRequest { orders, remarks: String::new(), invoice: None };
            let _ = self.tell(Input::Command(Command::MakeSlip { request: &request }), now);
        }
    }

    fn begin_payment(&mut self, slip: &Slip, now: &Now, rng: &mut ChaCha8Rng) {
        let Some(amount) = slip.made.as_ref().map(|s| s.amount) else { return };
        let method = match rng.random_range(0..8) {
            0 => PaymentMethod::StoredValue,
            1..4 => PaymentMethod::Bank,
            channel => self.over.unwrap_or(CHANNELS[channel % CHANNELS.len()]),
        };
        let part = amount.currency.minor(rng.random_range(0..amount.minor.min(400)));
        let split = method != PaymentMethod::StoredValue && rng.random_range(0..4) == 0;
        let command = Command::PreparePayment { slip_id: slip.id, method, stored_value: split.then_some(part) };
        let Ok(Reply::ToSign(inputs)) = self.tell(Input::Command(command), now) else { return };
        // Now and then the payer thinks again, or the process dies, before anything is signed.
        if rng.random_range(0..8) > 0 {
            self.sign_payment(slip.id, &inputs, now);
        }
    }

    fn sign_payment(&mut self, slip_id: SlipId, inputs: &[ToSign], now: &Now) {
        let Some(signature) = inputs.first().map(|i| self.sign(i)) else { return };
        let _ = self.tell(Input::Command(Command::SubmitPayment { slip_id, signature: &signature }), now);
    }
}
