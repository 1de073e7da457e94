//! The adversary: a device of the merchant's whose owner lies.

use super::network::Message;
use super::{ADVERSARY, World, shop};
use crate::device::public;
use ed25519_dalek::{Signer, SigningKey};
use rand::{Rng, RngExt};
use walkpay::TripId;
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::DueId;

impl World {
    /// Replays what was sent, and hands in baskets whose totals or digests are not what they should be.
    pub(super) fn adversary(&mut self) {
        let n = ADVERSARY;
        if self.captured.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.captured.len());
        let mut request = self.captured[at].clone();
        let Ok(device) = self.terminals[n].session.current() else { return };
        let device_id = device.id;
        if let TerminalRequest::PutAttempt { trip_id, attempt, body } = &mut request
            && let Ok((kid, mut summary)) = jws::peek::<BasketSummary>(&body.basket)
            && self.rng.random_range(0..2) == 0
        {
            // A number that the device has not used, so that the freezing of copies does not hide what is tested.
            summary.device_seq = 1_000_000 + self.steps;
            summary.total = shop::currency().minor(1);
            match self.rng.random_range(0..3) {
                0 => {
                    let mut random = [0; 10];
                    self.rng.fill_bytes(&mut random);
                    summary.trip_id = TripId::new(self.now(), random);
                    summary.attempt = 1;
                }
                1 => summary.attempt += 1,
                _ => summary.lines_sha256 = walkpay::protocol::crypto::digest(b"{}"),
            }
            (*trip_id, *attempt) = (summary.trip_id, summary.attempt);
            if !self.signed.contains_key(trip_id) {
                self.tampered.insert(*trip_id);
            }
            let key: &SigningKey = self.terminals[n].consent();
            debug_assert_eq!(public(key).key_id(), kid);
            let Ok(input) = jws::signing_input(&summary, walkpay::protocol::crypto::Algorithm::Ed25519, &kid) else {
                return;
            };
            body.basket = jws::assemble(&input, &key.sign(input.as_bytes()).to_bytes());
        }
        let id = DueId::Keys { device: device_id };
        let (boot, sent_ms) = (0, self.now_ms);
        self.post(Message::ToMerchant { from: n, boot, id, nonce: "replayed".into(), request, sent_ms });
    }
}
