//! `device`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::bank::NewKey;
use crate::bank::client::confirm_url;
use crate::demo::{bank_http, confirm_key};
use crate::domain::{AdminCommand, Answer, DeviceRow, Query};
use crate::store::{Tx, devices, users};
use clap::Subcommand;
use walkpay::{DeviceId, UserName};

const ADVICE: &str = "`device list USER` lists a user's devices, `user list` the users";

/// Devices of shoppers.
#[derive(Subcommand)]
pub enum Device {
    /// List a user's devices, and the bank's page where each consent key is confirmed.
    List {
        /// Whose.
        user: UserName,
    },
    /// Confirm a device, as the user's second way; with --bank-pin, also its consent key at the simulated bank.
    Confirm {
        /// The device.
        device: DeviceId,
        /// The holder's PIN at the simulated bank of the running server.
        #[arg(long, value_name = "PIN")]
        bank_pin: Option<String>,
    },
    /// Take a device out of use, for good.
    Revoke {
        /// The device.
        device: DeviceId,
    },
}

impl Device {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        let run = |command| open.operator().run(command).map_err(|e| refused(e, ADVICE));
        match self {
            Self::List { user } => list(&open, &user),
            Self::Confirm { device, bank_pin } => {
                run(AdminCommand::ConfirmDevice(device))?;
                match bank_pin {
                    Some(pin) => confirm_at_bank(&open, device, &pin),
                    None => Ok(()),
                }
            }
            Self::Revoke { device } => run(AdminCommand::RevokeDevice(device)).map(|_| ()),
        }
    }
}

fn rows(open: &Open, user: &UserName) -> Result<Vec<DeviceRow>, CliError> {
    match open.operator().ask(Query::Devices { user_name: user.clone() }) {
        Ok(Answer::Devices(rows)) => Ok(rows),
        Ok(other) => Err(unexpected(&other)),
        Err(e) => Err(refused(e, ADVICE)),
    }
}

fn list(open: &Open, user: &UserName) -> Result<(), CliError> {
    let account = Tx::read(open.operator().connection, |tx| {
        let found = users::find(tx, user)?;
        Ok(found.map(|u| users::bank(tx, u.user)).transpose()?.flatten())
    })?;
    let bank = open.server().ok().and_then(|s| s.bank_url);
    for row in rows(open, user)? {
        println!("{}\t{}\t{}\t{}", row.device_id, row.state, row.enrolled_at, row.label);
        if let (Some(account), Some(bank)) = (&account, &bank) {
            let key = NewKey {
                account: account.token.clone(),
                merchant_id: open.folder.merchant_id().clone(),
                device_id: row.device_id,
                key: row.consent_key,
            };
            println!("\tconfirm at the bank: {}", confirm_url(bank, &key)?);
        }
    }
    Ok(())
}

fn confirm_at_bank(open: &Open, device: DeviceId, pin: &str) -> Result<(), CliError> {
    let found = Tx::read(open.operator().connection, |tx| {
        let Some(found) = devices::find(tx, &device)? else { return Ok(None) };
        Ok(users::bank(tx, found.user)?.map(|account| (found.consent_jwk, account)))
    })?;
    let (key, account) = found.ok_or_else(|| CliError::Other("the user has no bank account".to_owned()))?;
    let bank = open.server()?.bank_url.ok_or_else(|| {
        CliError::Other("the server does not use the simulated bank: confirm the key on the bank's own page".to_owned())
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CliError::File { path: "runtime".into(), cause })?;
    let (http, merchant, key) = (bank_http()?, open.folder.merchant_id(), key.to_key()?);
    let confirmed = confirm_key(&http, &bank, &account.token, pin, merchant, device, &key);
    runtime
        .block_on(confirmed)
        .map_err(|e| CliError::Other(format!("the device is confirmed, its key at the bank is not: {e}")))
}
