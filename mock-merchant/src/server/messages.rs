//! Webhooks to service systems.

use super::callbacks::Callbacks;
use super::deliver::Outbox;
use crate::api::App;
use crate::domain::Ctx;
use crate::failure::Failure;
use crate::store::Tx;
use crate::worker::deliveries::{self, MessageAnswer, OutsideMessage};
use std::sync::Arc;
use tokio::sync::Notify;
use walkpay::Timestamp;

/// Messages to service systems, and what they are sent with.
#[derive(Clone)]
pub(super) struct Webhooks(pub Arc<Callbacks>);

impl Outbox for Webhooks {
    type Message = OutsideMessage;
    const WHAT: &'static str = "webhooks";

    fn lines(&self) -> usize {
        16
    }

    fn woken<'a>(&self, app: &'a App) -> &'a Notify {
        &app.messages
    }

    fn next_due(&self, tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure> {
        deliveries::next_due(tx)
    }

    fn take_due(&self, tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<OutsideMessage>, Failure> {
        deliveries::take_due(tx, ctx)
    }

    async fn carry_out(&self, app: &App, message: OutsideMessage) {
        let (job, message_id) = (message.job, message.message_id.clone());
        let answer = self.0.send(message).await;
        app.metrics.webhook(outcome_word(&answer));
        if !matches!(answer, MessageAnswer::Answered { status: 200..=299, .. }) {
            tracing::info!(%message_id, outcome = outcome_word(&answer), "a webhook was not taken");
        }
        let Ok(ctx) = app.ctx() else { return };
        if let Err(e) = app.writer.submit(move |tx| deliveries::settle(tx, &ctx, &job, &answer)).await {
            tracing::error!(error = %e, "what came of a webhook could not be kept: it is sent again");
        }
        app.kick.notify_one();
        app.written();
    }
}

fn outcome_word(answer: &MessageAnswer) -> &'static str {
    match answer {
        MessageAnswer::Answered { status: 200..=299, .. } => "taken",
        MessageAnswer::Answered { status: 410, .. } => "gone",
        MessageAnswer::Answered { .. } => "status",
        MessageAnswer::Failed { word } => word,
    }
}
