//! `user`.

use super::address::Address;
use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::bank::{Bank, NewAccount};
use crate::domain::notices::Site;
use crate::domain::{AdminCommand, Answer, BankAccount, NewUser, Query};
use crate::failure::Failure;
use crate::notify::files;
use crate::store::{StoreError, Tx, ledger, notices, orders, privacy, stores, users};
use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use walkpay::protocol::document::PaymentMethod;
use walkpay::{Currency, Money, UserName};

const ADVICE: &str = "`user list` lists the users";

/// Shoppers.
#[derive(Subcommand)]
pub enum User {
    /// Add somebody who can shop; prints the opaque identifier.
    Add(Add),
    /// List user names and opaque identifiers.
    List,
    /// Print everything that is kept about a user, as JSON.
    Export {
        /// Whom.
        user: UserName,
    },
    /// Erase what is known of the person; the book keeps opaque identifiers only. There is no way back.
    Erase {
        /// Whom.
        user: UserName,
        /// Really.
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Put money on a user's stored-value account.
    TopUp {
        /// Whose.
        user: UserName,
        /// How much, with exactly the currency's digits: 30.00.
        amount: String,
        /// The currency.
        #[arg(long, default_value = "EUR")]
        currency: Currency,
        /// Names this transfer; the same reference again does nothing.
        #[arg(long)]
        reference: String,
    },
    /// Let a user shop no more, or again with --off.
    Block {
        /// Whom.
        user: UserName,
        /// Unblock.
        #[arg(long)]
        off: bool,
    },
    /// Where and how a user is told what happens.
    #[command(subcommand)]
    Address(Address),
    /// Print a link to a user's page of what is to be paid; no login is needed there.
    Page {
        /// Whose.
        user: UserName,
        /// How payers reach the server; by default as the running server of this folder says.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Say who a user is at WeChat: what a payment inside WeChat (`product` `jsapi`) is made for.
    Openid {
        /// Who.
        user: UserName,
        /// The openid that WeChat has for them in the merchant's application.
        #[arg(required_unless_present = "none")]
        openid: Option<String>,
        /// Forget it.
        #[arg(long, conflicts_with = "openid")]
        none: bool,
    },
    /// Tie another bank account to a user, or none with --none.
    Bank {
        /// Whose.
        user: UserName,
        #[command(flatten)]
        account: AccountArgs,
        /// Untie the account.
        #[arg(long, conflicts_with_all = ["bank_token", "simulated_bank"])]
        none: bool,
    },
}

/// A new user.
#[derive(Args)]
pub struct Add {
    /// What the shopper signs in with: letters, digits, - _ . @ + (at most 64).
    user: UserName,
    /// What people call them.
    #[arg(long, default_value = "")]
    name: String,
    /// Where they are told what happens: mailto:…, sms:… (text messages), tel:… or sip:… (calls); at most five.
    #[arg(long = "address", value_name = "URI")]
    addresses: Vec<String>,
    /// Give them a stored-value account in this currency.
    #[arg(long, value_name = "CURRENCY")]
    stored_value: Option<Currency>,
    #[command(flatten)]
    account: AccountArgs,
}

/// A bank account.
#[derive(Args)]
pub struct AccountArgs {
    /// The bank's token of the account.
    #[arg(long, value_name = "TOKEN", requires = "bank_label", requires = "bank_confirm_url")]
    bank_token: Option<String>,
    /// For people, masked: "DE ···· 4711".
    #[arg(long, value_name = "TEXT")]
    bank_label: Option<String>,
    /// The bank's own page where device keys are confirmed.
    #[arg(long, value_name = "URL")]
    bank_confirm_url: Option<String>,
    /// Open an account with this balance at the simulated bank, and use it.
    #[arg(long, value_name = "AMOUNT", conflicts_with = "bank_token", requires = "pin")]
    simulated_bank: Option<String>,
    /// What the holder proves himself with at the simulated bank: 4 to 64 characters.
    #[arg(long, requires = "simulated_bank")]
    pin: Option<String>,
    /// The currency of the account at the simulated bank.
    #[arg(long, value_name = "CURRENCY", default_value = "EUR")]
    bank_currency: Currency,
}

impl User {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        if let Self::Add(add) = self {
            return add.run(common);
        }
        let open = Open::existing(common)?;
        let operator = open.operator();
        let run = |command| operator.run(command).map_err(|e| refused(e, ADVICE));
        match self {
            Self::Add(_) => {}
            Self::List => {
                for (name, sub) in Tx::read(operator.connection, |tx| Ok(users::list(tx)?))? {
                    println!("{name}\t{sub}");
                }
            }
            Self::Export { user } => match operator.ask(Query::ExportUser { user_name: user }) {
                Ok(Answer::Export(export)) => println!("{export:#}"),
                Ok(other) => return Err(unexpected(&other)),
                Err(e) => return Err(refused(e, ADVICE)),
            },
            Self::Erase { user, yes: _ } => {
                let found = Tx::read(operator.connection, |tx| match users::find(tx, &user)? {
                    Some(user) => Ok(notices::message_ids(tx, user.user)?),
                    None => Ok(Vec::new()),
                })?;
                for note in Tx::read(operator.connection, |tx| Ok(outstanding(tx, &user)?))? {
                    eprintln!("note: {note}");
                }
                run(AdminCommand::EraseUser { user_name: user })?;
                if !privacy::scrub(operator.connection).map_err(Failure::from)? {
                    let detail = "erased; the write-ahead log has older pages until nobody reads an older snapshot and it is emptied";
                    eprintln!("note: {detail}");
                }
                let outbox = open.folder.file("outbox");
                files::forget(&outbox, &found).map_err(|cause| CliError::File { path: outbox, cause })?;
            }
            Self::Address(address) => address.run(&open)?,
            Self::Page { user, url } => {
                let url = match url {
                    Some(url) => url,
                    None => open.server()?.url,
                };
                match run(AdminCommand::NewPayPage { user_name: user })? {
                    Answer::PayPage { token, expires_at } => {
                        println!("{}", Site { url: url.trim_end_matches('/').to_owned() }.page(&token));
                        eprintln!("works until {expires_at}");
                    }
                    other => return Err(unexpected(&other)),
                }
            }
            Self::TopUp { user, amount, currency, reference } => {
                let amount = Money::parse(&amount, currency)?;
                run(AdminCommand::TopUp { user_name: user, amount, reference })?;
            }
            Self::Block { user, off } => {
                run(AdminCommand::SetUserBlocked { user_name: user, blocked: !off })?;
            }
            Self::Openid { user, openid, none: _ } => {
                run(AdminCommand::NamePayer { user_name: user, method: PaymentMethod::Tenpay, name: openid })?;
            }
            Self::Bank { user, account, none } => {
                let account = if none { None } else { account.open(&open)? };
                if account.is_none() && !none {
                    return Err(CliError::Other("give --bank-token, --simulated-bank or --none".to_owned()));
                }
                run(AdminCommand::BindBank { user_name: user, account })?;
            }
        }
        Ok(())
    }
}

/// What is open between somebody and the merchant when they are erased: nobody can be asked afterwards.
fn outstanding(tx: &Tx<'_>, name: &UserName) -> Result<Vec<String>, StoreError> {
    let Some(user) = users::find(tx, name)? else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    if let Some(account) = user.account {
        let (balance, _) = ledger::balance(tx, account)?;
        if balance.minor > 0 {
            notes.push(format!("their stored value, {balance}, stays in the books: pay it out by other means"));
        }
    }
    let currencies: BTreeSet<_> = stores::all(tx)?.iter().map(|s| s.currency().code().to_owned()).collect();
    for code in currencies {
        let Ok(currency) = Currency::parse(&code) else { continue };
        let owed = orders::owed(tx, user.user, currency)?;
        if owed > 0 {
            notes.push(format!("they owe {}: it stays payable under their opaque identifier", currency.minor(owed)));
        }
    }
    Ok(notes)
}

impl Add {
    fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::new(common)?;
        let bank = self.account.open(&open)?;
        let user = NewUser {
            user_name: self.user,
            display_name: self.name,
            addresses: self.addresses,
            stored_value: self.stored_value,
            bank,
        };
        match open.operator().run(AdminCommand::AddUser(user))? {
            Answer::User { sub } => println!("{sub}"),
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }
}

impl AccountArgs {
    fn open(self, open: &Open) -> Result<Option<BankAccount>, CliError> {
        if let (Some(token), Some(label), Some(confirm_url)) = (self.bank_token, self.bank_label, self.bank_confirm_url)
        {
            return Ok(Some(BankAccount { token, label, confirm_url }));
        }
        let (Some(balance), Some(pin)) = (self.simulated_bank, self.pin) else { return Ok(None) };
        let balance = Money::parse(&balance, self.bank_currency)?;
        let random = crate::random::bytes::<9>().map_err(|e| CliError::Other(e.to_string()))?;
        let token = format!("acc-{}", walkpay::protocol::crypto::base64url(&random));
        let new = NewAccount { pin: Some(pin), ..NewAccount::plain(&token, balance) };
        let failed = |e: crate::bank::BankError| CliError::Other(format!("the simulated bank: {e}"));
        let mut bank = Bank::open(&open.folder.file("bank.db")).map_err(failed)?;
        bank.open_account(open.operator().clock.now(), &new).map_err(failed)?;
        let confirm_url = match open.folder.read::<crate::folder::BankFile>("bank.json")? {
            Some(file) => format!("http://127.0.0.1:{}/bank/v1/confirm", file.port),
            None => "http://127.0.0.1/bank/v1/confirm".to_owned(),
        };
        Ok(Some(BankAccount { token, label: new.label, confirm_url }))
    }
}
