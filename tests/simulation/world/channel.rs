//! The payment channel: the simulated one that ships, with a book of its own; payers pay at it, and it tells of that in every wrong way.

use super::network::Message;
use super::{Mutation, World, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mock_merchant::channel::port::{ChannelAsk, Receipt};
use mock_merchant::channel::test::{APPLICATION, Fault, SELLER, TestChannel, TestNotification, Trade, TradeState};
use mock_merchant::domain::{Caller, Command};
use mock_merchant::failure::Failure;
use mock_merchant::keys::Signing;
use mock_merchant::store::Tx;
use mock_merchant::worker::channels::{self, ChannelJob};
use rand::RngExt;
use std::collections::BTreeSet;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::jws;
use walkpay::protocol::order::Launch;

/// What the channel's key is made of.
const SEED: [u8; 32] = [42; 32];

/// The faults that most comes of.
const FATEFUL: [Fault; 7] = [
    Fault::PaidAfterClose,
    Fault::PaidAfterClose,
    Fault::PaidAfterClose,
    Fault::NeverKnew,
    Fault::ClosesLate,
    Fault::RefundRefused,
    Fault::WrongAmount,
];

/// The channel and what happens around it.
pub(super) struct Cashier {
    pub book: TestChannel,
    /// Whether it takes money for all that it has closed.
    wicked: bool,
    /// Trades that a payer has seen the code of.
    shown: BTreeSet<String>,
    /// Trades that were paid although they had ended: only the channel can tell of them.
    late: BTreeSet<String>,
    /// What the channel has ever notified.
    told: Vec<String>,
}

impl Cashier {
    pub fn new(wicked: bool) -> Self {
        let book = TestChannel::in_memory(SEED, Default::default());
        Self { book, wicked, shown: BTreeSet::new(), late: BTreeSet::new(), told: Vec::new() }
    }
}

impl World {
    pub(super) fn ask_channel(&mut self, job: ChannelJob) {
        if self.faults && self.cashier.wicked && matches!(job.ask, ChannelAsk::Close { .. }) {
            self.cashier.book.faults().clear();
            self.cashier.book.faults().once(Fault::PaidAfterClose);
        }
        let (answer, slow) = self.cashier.book.ask_now(self.now(), &job.ask);
        // What is slow is later than the lease of the call.
        let message = Message::FromChannel { job, answer };
        if slow {
            self.wire.push((self.now_ms + 90_000, message));
        } else {
            self.post(message);
        }
    }

    pub(super) fn channel_answered(&mut self, message: Message) -> Result<(), String> {
        let Message::FromChannel { job, answer } = message else { return Ok(()) };
        let ctx = self.ctx();
        self.touched = true;
        let settled = Tx::run(&self.conn, |tx| channels::settle(tx, &ctx, &job, answer));
        settled.map_err(|e| format!("settling a call to the channel failed: {e:?}"))
    }

    /// A fault of the channel by its name, whenever it fits.
    pub(super) fn arm_channel(&mut self) {
        // What is looked for where a bug is planted has to happen often enough.
        let fault = match self.mutation {
            Some(Mutation::OtherAmountAccepted) if self.rng.random_range(0..2) == 0 => Fault::WrongAmount,
            _ if self.rng.random_range(0..2) == 0 => FATEFUL[self.rng.random_range(0..FATEFUL.len())],
            _ => Fault::TABLE[self.rng.random_range(0..Fault::TABLE.len())].0,
        };
        let faults = self.cashier.book.faults();
        if faults.armed().len() >= 3 {
            faults.clear();
        }
        faults.once(fault);
    }

    /// Payers pay what they were shown a code of, also what they have given up since.
    pub(super) fn pay_at_channel(&mut self) -> Result<(), String> {
        let slips = self.terminals.iter().flat_map(|t| t.open_slips());
        for slip in slips {
            if let Some(Launch::Qr { text }) = slip.launch() {
                self.cashier.shown.insert(text.trim_start_matches("walkpay-test:").to_owned());
            }
        }
        // Every other time it is what should not be paid any more.
        let over = self.rng.random_range(0..2) == 0;
        let again = if over { self.paid_otherwise()? } else { None };
        let state = |n: &String| self.cashier.book.trade(n).map(|t| t.state);
        let wanted = |n: &&String| {
            state(n) == Some(if over { TradeState::Closed } else { TradeState::Waiting })
                && again.as_ref().is_none_or(|again| again.contains(*n))
        };
        let shown: Vec<&String> = self.cashier.shown.iter().filter(wanted).collect();
        if shown.is_empty() {
            return Ok(());
        }
        let number = shown[self.rng.random_range(0..shown.len())].clone();
        let before = self.cashier.book.trade(&number).map(|t| t.state);
        let paid = self.cashier.book.pay(self.now(), &number).is_ok();
        if paid && before == Some(TradeState::Closed) {
            self.cashier.late.insert(number);
        }
        Ok(())
    }

    /// Mostly, who pays what should not be paid any more has paid the same otherwise before: the payments of slips that others have
    /// paid. `None`: this time it may be any.
    pub(super) fn paid_otherwise(&mut self) -> Result<Option<BTreeSet<String>>, String> {
        if self.rng.random_range(0..4) == 0 {
            return Ok(None);
        }
        let sql = "SELECT channel_number FROM payment_attempts p JOIN slips s USING (slip)
                   WHERE s.state = 'paid' AND p.state = 'closed'";
        Ok(Some(self.column(sql)?.into_iter().collect()))
    }

    /// What the channel notifies by now goes on its way.
    pub(super) fn notify(&mut self) {
        for body in self.cashier.book.notifications(self.now()) {
            self.cashier.told.push(body.clone());
            self.post(Message::Notification { body, forged: false });
        }
    }

    /// Somebody sends again what the channel has once said, or something else in its place.
    pub(super) fn attack_notifications(&mut self) -> Result<(), String> {
        if self.cashier.told.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.cashier.told.len());
        let body = self.cashier.told[at].clone();
        let (_, mut told) = jws::peek::<TestNotification>(&body).map_err(text)?;
        told.receipt.amount.minor += self.rng.random_range(1..500);
        let message = match self.rng.random_range(0..3) {
            0 => Message::Notification { body, forged: false },
            1 => {
                let forged = Signing::new(&[77; 32]).and_then(|key| key.jws(&told)).map_err(text)?;
                Message::Notification { body: forged, forged: true }
            }
            _ => {
                let parts: Vec<&str> = body.split('.').collect();
                let [header, _, signature] = parts[..] else { return Err(format!("no JWS: {body}")) };
                let payload = URL_SAFE_NO_PAD.encode(super::json(&told));
                Message::Notification { body: format!("{header}.{payload}.{signature}"), forged: true }
            }
        };
        self.post(message);
        Ok(())
    }

    /// A notification arrives: the merchant opens it and takes it in.
    pub(super) fn notified(&mut self, body: &str, forged: bool) -> Result<(), String> {
        match self.cashier.book.open_notification(body.as_bytes()) {
            Ok(_) if forged => Err(format!("a forged notification was believed: {body}")),
            Ok(receipt) => self.take_receipt(receipt),
            Err(_) => Ok(()),
        }
    }

    fn take_receipt(&mut self, receipt: Receipt) -> Result<(), String> {
        let ctx = self.ctx();
        let dies = self.faults && self.rng.random_range(0..20) == 0;
        let caller = Caller::Channel(PaymentMethod::Test);
        match self.command(&ctx, &caller, Command::Notified(receipt), dies) {
            Ok(_) | Err(Failure::Refused { .. }) => Ok(()),
            Err(Failure::Fault(fault)) => Err(format!("a notification failed: {fault:?}")),
        }
    }

    /// Nothing goes wrong any more: of what was paid although it had ended, the channel tells until it is heard.
    pub(super) fn channel_settles(&mut self) -> Result<(), String> {
        self.cashier.book.faults().clear();
        for number in self.cashier.late.clone() {
            let Some(trade) = self.cashier.book.trade(&number) else { continue };
            let told = TestNotification { receipt: receipt(&trade), paid_at: self.now() };
            let body = Signing::new(&SEED).and_then(|key| key.jws(&told)).map_err(text)?;
            self.post(Message::Notification { body, forged: false });
        }
        Ok(())
    }

    /// The numbers of what was paid at a channel although it had ended there.
    pub(super) fn late(&self) -> Vec<String> {
        let of_providers = self.providers.iter().flat_map(|p| p.late());
        self.cashier.late.iter().cloned().chain(of_providers).collect()
    }

    pub(super) fn trades(&self) -> Vec<Trade> {
        self.cashier.book.trades()
    }
}

fn receipt(trade: &Trade) -> Receipt {
    Receipt {
        application: APPLICATION.into(),
        seller: SELLER.into(),
        number: trade.number.clone(),
        trade: trade.trade.clone(),
        amount: trade.amount,
    }
}
