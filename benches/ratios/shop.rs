//! A folder with an enrolled terminal and a catalogue in it, made at a real merchant that has gone away since.

use crate::goods::Goods;
use crate::measure::Outcome;
use mock_merchant::demo::{DEMO_STORE, DEMO_USER};
use mock_merchant::domain::{AdminCommand, Answer, Caller, Command};
use mock_merchant::server::{Config, Running, Server};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use walkpay::api::{KeyVault, Terminal, TerminalConfig, memory_vault};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::{StoreId, UserName};

/// A terminal's folder.
pub struct Shop {
    /// Where its calls are awaited.
    pub runtime: Runtime,
    folder: TempDir,
    vault: Arc<dyn KeyVault>,
}

impl Shop {
    /// Enrols a terminal at a merchant with these goods, and has it fetch the catalogue.
    pub fn new(goods: &Goods) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (folder, vault) = (scratch()?, memory_vault()?);
        runtime.block_on(async {
            let data = scratch()?;
            let merchant = merchant(data.path(), goods).await?;
            let terminal = Terminal::open(config(folder.path(), false), vault.clone()).await?;
            terminal.enrol(code(&merchant, DEMO_USER).await?, None, None).await?;
            terminal.sign_in(UserName::parse(DEMO_USER)?).await?;
            terminal.sync_catalogue(store()?).await?;
            terminal.shutdown().await?;
            merchant.shutdown().await;
            Outcome::Ok(())
        })?;
        Ok(Self { runtime, folder, vault })
    }

    /// Opens the terminal.
    pub async fn open(&self, skip_disk_sync: bool) -> Outcome<Arc<Terminal>> {
        Ok(Terminal::open(config(self.folder.path(), skip_disk_sync), self.vault.clone()).await?)
    }

    /// Where its journal is.
    pub fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join(walkpay::adapter::journal::JOURNAL_FILE)
    }
}

/// A merchant with the demo store's people and these goods.
pub async fn merchant(data: &Path, goods: &Goods) -> Outcome<Running> {
    let merchant = Server::start(Config { demo: true, ..Config::new(data) }).await?;
    stock(&merchant, goods).await?;
    Ok(merchant)
}

/// Puts the goods into the demo store.
pub async fn stock(merchant: &Running, goods: &Goods) -> Outcome<()> {
    admin(merchant, AdminCommand::ImportCatalogue { store_id: store()?, ndjson: goods.ndjson()?, replace: true })
        .await?;
    Ok(())
}

/// An enrolment code whose device confirms itself.
pub async fn code(merchant: &Running, user: &str) -> Outcome<String> {
    let command = AdminCommand::NewEnrolmentCode { user_name: UserName::parse(user)?, self_confirming: true };
    match admin(merchant, command).await? {
        Answer::EnrolmentCode { code, root, .. } => {
            let (id, url) = (merchant.merchant_id.clone(), &merchant.public_url);
            Ok(EnrolmentCode::new(id, &code, root.as_str(), url)?.to_text())
        }
        other => Err(format!("no enrolment code: {other:?}").into()),
    }
}

/// What an operator does.
pub async fn admin(merchant: &Running, command: AdminCommand) -> Outcome<Answer> {
    let answer = merchant.app().execute(Caller::Operator, Command::Admin(command)).await;
    Ok(answer.map_err(|refusal| refusal.detail)?)
}

/// The demo store.
pub fn store() -> Outcome<StoreId> {
    Ok(StoreId::parse(DEMO_STORE)?)
}

/// A folder on the disk that is built on: a temporary folder may be in memory.
pub fn scratch() -> Outcome<TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

fn config(folder: &Path, skip_disk_sync: bool) -> TerminalConfig {
    TerminalConfig { skip_disk_sync, ..TerminalConfig::new(folder.display().to_string()) }
}
