//! Notices to payers, one outbox per medium: a call that rings holds up no e-mail.

use super::deliver::Outbox;
use crate::api::App;
use crate::domain::Ctx;
use crate::domain::notices::{SentAs, Site};
use crate::failure::Failure;
use crate::notify::Transports;
use crate::store::Tx;
use crate::store::contacts::Medium;
use crate::worker::notices::{self, OutsideNotice};
use std::sync::Arc;
use tokio::sync::Notify;
use walkpay::Timestamp;

/// The messages of one medium, and what carries them away.
#[derive(Clone)]
pub(super) struct Notices {
    pub medium: Medium,
    pub site: Arc<Site>,
    pub transports: Arc<Transports>,
}

impl Outbox for Notices {
    type Message = OutsideNotice;
    const WHAT: &'static str = "notices";

    fn lines(&self) -> usize {
        self.transports.lines(self.medium)
    }

    fn woken<'a>(&self, app: &'a App) -> &'a Notify {
        app.notices(self.medium)
    }

    fn next_due(&self, tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure> {
        notices::next_due(tx, self.medium)
    }

    fn take_due(&self, tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<OutsideNotice>, Failure> {
        notices::take_due(tx, ctx, &self.site, self.medium)
    }

    async fn carry_out(&self, app: &App, notice: OutsideNotice) {
        let (job, medium) = (notice.job, self.medium.word());
        let sent = self.transports.send(self.medium, &notice).await;
        app.metrics.notice(medium, sent.word);
        if !matches!(sent.as_, SentAs::Delivered | SentAs::Accepted) {
            tracing::info!(message_id = %notice.message_id, medium, code = sent.code, outcome = sent.word, "a notice was not taken");
        }
        let Ok(ctx) = app.ctx() else { return };
        if let Err(e) = app.writer.submit(move |tx| notices::settle(tx, &ctx, &job, &sent)).await {
            tracing::error!(error = %e, "what came of a notice could not be kept: it is sent again");
        }
    }
}
