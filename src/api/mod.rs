//! The objects that every language uses alike: they hold no logic of their own.

mod config;
mod gate;
mod records;
mod slip;
mod terminal;
mod trip;
mod vault;

pub use crate::adapter::keys::{DeviceSigner, FileVault, KeyVault, MemoryVault, SigningPurpose};
pub use config::TerminalConfig;
pub use gate::{Gate, GateConfig, GateDecision, GateMerchant, GateSync, PassInfo};
pub use records::{CatalogueStatus, EnrolmentInfo, ExitPassView, Outbox, ScanOutcome, SyncReport, UserInfo};
pub use slip::Slip;
pub use terminal::Terminal;
pub use trip::Trip;
pub use vault::{file_vault, memory_vault};
