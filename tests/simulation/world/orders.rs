//! Steps of a world with service orders: payers list and look, everybody else does their part.

use super::World;
use mock_merchant::domain::{Answer, Caller, OrderFilter as Wanted, PayerAnswer, PayerQuery, Query};
use mock_merchant::failure::Failure;
use rand::RngExt;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{OrderStatus, SlipStatus};
use walkpay::protocol::question::OrderFilter;
use walkpay::session::{Command, Input, Slip};

impl World {
    /// One step of what orders add to a world.
    pub(super) fn order_step(&mut self) -> Result<(), String> {
        match self.rng.random_range(0..44) {
            0..4 => self.shopper(),
            4..12 => self.service(),
            12..16 => {
                let n = self.any_terminal();
                self.list(n)
            }
            16..19 => {
                let n = self.any_terminal();
                self.look(n)
            }
            19..29 => {
                for _ in 0..2 {
                    let n = self.any_terminal();
                    let now = self.terminal_now(n);
                    self.terminals[n].pay(&now, &mut self.rng);
                }
                self.look_at_codes()
            }
            29..36 => self.pay_outside(),
            36..38 if self.rng.random_range(0..2) == 0 => self.arm_a_provider(),
            36..38 => {
                self.arm_channel();
                Ok(())
            }
            38 if self.rng.random_range(0..2) == 0 => self.attack_as_a_provider(),
            38 => self.attack_notifications(),
            39..42 => self.staff_refunds(),
            _ => {
                // Sometimes long enough for slips, payments and deadlines to be over.
                let most = if self.rng.random_range(0..8) == 0 { 4_000_000 } else { 300_000 };
                self.now_ms += self.rng.random_range(1_000..most);
                Ok(())
            }
        }
    }

    /// Somebody pays at a channel what a terminal has shown a code of.
    fn pay_outside(&mut self) -> Result<(), String> {
        let at_provider = match self.over {
            Some(method) => method != PaymentMethod::Test,
            None => self.rng.random_range(0..2) == 0,
        };
        if at_provider {
            return self.pay_at_a_provider();
        }
        self.pay_at_channel()
    }

    fn payer(&self, n: usize) -> Option<Caller> {
        let device = self.terminals[n].session.current().ok()?;
        Some(Caller::Device { device_id: device.id, kid: device.request_key.key_id() })
    }

    fn ask_as_payer(&mut self, n: usize, query: PayerQuery) -> Result<Option<PayerAnswer>, String> {
        let Some(caller) = self.payer(n) else { return Ok(None) };
        let ctx = self.ctx();
        match self.query(&ctx, &caller, Query::Payer(query)) {
            // The answer gets lost now and then: the payer knows as much as before.
            _ if self.faults && self.rng.random_range(0..8) == 0 => Ok(None),
            Ok(Answer::Payer(answer)) => Ok(Some(answer)),
            Err(Failure::Refused { .. }) => Ok(None),
            other => Err(format!("a payer's question failed: {other:?}")),
        }
    }

    fn list(&mut self, n: usize) -> Result<(), String> {
        let wanted = Wanted { statuses: vec![OrderStatus::Payable], limit: 50, ..Wanted::default() };
        let Some(PayerAnswer::Orders(page)) = self.ask_as_payer(n, PayerQuery::Orders(wanted))? else { return Ok(()) };
        let now = self.terminal_now(n);
        let command = Command::OrdersListed { filter: &OrderFilter::default(), page: &page };
        self.terminals[n].tell(Input::Command(command), &now).map_err(|e| format!("a list: {e}"))?;
        Ok(())
    }

    fn look(&mut self, n: usize) -> Result<(), String> {
        let slips = self.terminals[n].open_slips();
        if slips.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..slips.len());
        self.look_at(n, &slips[at])
    }

    fn look_at(&mut self, n: usize, slip: &Slip) -> Result<(), String> {
        let Some(number) = slip.number() else { return Ok(()) };
        let Some(PayerAnswer::Slip(view)) = self.ask_as_payer(n, PayerQuery::Slip(number))? else { return Ok(()) };
        let now = self.terminal_now(n);
        let command = Command::SlipShown { slip_id: slip.id, slip: &view };
        self.terminals[n].tell(Input::Command(command), &now).map_err(|e| format!("a slip: {e}"))?;
        Ok(())
    }

    /// Nothing goes wrong any more: everybody does what is left to do, payers go on paying for a while.
    pub(super) fn orders_settle(&mut self, round: usize) -> Result<(), String> {
        if round < 12 || round.is_multiple_of(8) {
            self.services_settle(round)?;
        }
        if round == 0 || round == 25 {
            self.channel_settles()?;
            self.providers_settle()?;
        }
        self.notify();
        self.providers_notify()?;
        for n in 0..self.terminals.len() {
            if round < 24 {
                self.list(n)?;
                let now = self.terminal_now(n);
                self.terminals[n].pay(&now, &mut self.rng);
            }
            if !(24..=56).contains(&round) {
                for slip in self.terminals[n].open_slips() {
                    self.look_at(n, &slip)?;
                }
            }
        }
        if round < 24 {
            self.pay_outside()?;
        }
        if round < 24 && round % 4 == 3 {
            self.staff_refunds()?;
        }
        Ok(())
    }

    /// What must hold of slips when nothing is under way any more.
    pub(super) fn no_slip_is_stuck(&mut self) -> Result<(), String> {
        let stuck: Vec<i64> = self.column("SELECT slip FROM slips WHERE state IN ('open', 'paying')")?;
        if let Some(slip) = stuck.first() {
            return Err(format!("slip {slip} never ends"));
        }
        let lasting = "SELECT number FROM orders WHERE store IS NULL AND state NOT IN
                       ('paid', 'partly_refunded', 'refunded', 'withdrawn', 'expired')";
        if let Some(order) = self.column::<i64>(lasting)?.first() {
            return Err(format!("order {order} never ends"));
        }
        for terminal in &self.terminals {
            if !terminal.session.current().is_ok_and(|d| d.may_send()) {
                continue;
            }
            if let Some(slip) = terminal.open_slips().first() {
                let known = matches!(slip.status(), Some(SlipStatus::Paid | SlipStatus::Closed));
                return Err(format!("a terminal waits for ever for a slip that is over ({known}): {slip:?}"));
            }
        }
        Ok(())
    }
}
