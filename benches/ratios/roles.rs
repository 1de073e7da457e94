//! What this program does when it is started as another process.

use crate::bare;
use crate::goods::{Goods, currency};
use crate::measure::Outcome;
use crate::process::wait_for_the_end;
use crate::service::DEVICES;
use crate::shop::{admin, code, stock, store};
use mock_merchant::domain::{self, AdminCommand, Answer, NewUser, StaffScopes};
use mock_merchant::server::{Config, Limits, Rate, Server};
use std::env;
use std::path::PathBuf;
use std::time::Duration;
use walkpay::UserName;
use walkpay::api::{Terminal, TerminalConfig, memory_vault};
use walkpay::barcode::ScanInput;
use walkpay::protocol::document::Verdict;
use walkpay::session::ForwardPolicy;

/// How long a verdict may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays a role to its end.
pub fn play(role: &str) -> Outcome<()> {
    let data = PathBuf::from(given("DATA")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        "merchant" => runtime.block_on(merchant(data, &Goods::again(&given("ARTICLES")?, &given("GOODS")?)?)),
        "books" => runtime.block_on(books(data)),
        "bare" => runtime.block_on(bare::serve(&data, DEVICES)),
        "terminal" => runtime.block_on(terminal(&data.display().to_string(), &given("CODE")?, &given("SCANS")?)),
        other => Err(format!("there is no role {other}").into()),
    }
}

/// A merchant as it is served, but for its limits: nobody shops as much as these devices do.
async fn merchant(data: PathBuf, goods: &Goods) -> Outcome<()> {
    let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let limits = domain::Limits { purchase: 1_000_000, day: i64::MAX / 1_000_000, count: u32::MAX };
    let config = Config::new(data);
    let policy = domain::Config { limits, new_device_limits: limits, ..config.policy.clone() };
    let config = Config {
        demo: true,
        limits: Limits {
            per_address: rate,
            per_device: rate,
            enrolments_per_address: rate,
            documents_per_day: u32::MAX,
            ..Limits::default()
        },
        policy,
        ..config
    };
    let merchant = Server::start(config).await?;
    stock(&merchant, goods).await?;
    for n in 0..=DEVICES {
        let user = format!("shopper-{n}");
        let user_name = UserName::parse(&user)?;
        let stored_value = Some(currency()?);
        let new = NewUser {
            user_name: user_name.clone(),
            display_name: user.clone(),
            addresses: vec![],
            stored_value,
            bank: None,
        };
        admin(&merchant, AdminCommand::AddUser(new)).await?;
        let amount = currency()?.minor(1_000_000_000_000);
        admin(&merchant, AdminCommand::TopUp { user_name, amount, reference: format!("top-up-{n}") }).await?;
        println!("code {}", code(&merchant, &user).await?);
    }
    println!("listening {}", merchant.url);
    tokio::task::spawn_blocking(wait_for_the_end).await??;
    merchant.shutdown().await;
    Ok(())
}

/// A merchant whose books are asked about.
async fn books(data: PathBuf) -> Outcome<()> {
    let merchant = Server::start(Config { demo: true, ..Config::new(data) }).await?;
    let scopes = StaffScopes::unnamed();
    let command = AdminCommand::NewStaffToken { store_id: store()?, staff_id: "bench".to_owned(), hours: 8, scopes };
    let Answer::StaffToken(token) = admin(&merchant, command).await? else { return Err("no staff token".into()) };
    println!("token {token}\nlistening {}", merchant.url);
    tokio::task::spawn_blocking(wait_for_the_end).await??;
    merchant.shutdown().await;
    Ok(())
}

/// A terminal from its first start to the accepted basket.
async fn terminal(folder: &str, code: &str, scans: &str) -> Outcome<()> {
    let terminal = Terminal::open(TerminalConfig::new(folder), memory_vault()?).await?;
    let enrolled = terminal.enrol(code.to_owned(), None, None).await?;
    terminal.sign_in(enrolled.user.user_name).await?;
    terminal.sync_catalogue(store()?).await?;
    let trip = terminal.start_trip(store()?, ForwardPolicy::PreferOnline).await?;
    for code in scans.split(',') {
        trip.scan(ScanInput::text(code), None).await?;
    }
    trip.review().await?;
    trip.sign_and_submit().await?;
    let validation = trip.wait_validation(PATIENCE).await?.ok_or("no verdict came")?;
    if validation.verdict != Verdict::Accepted {
        return Err(format!("not accepted: {validation:?}").into());
    }
    println!("accepted {}", validation.total);
    tokio::task::spawn_blocking(wait_for_the_end).await??;
    terminal.shutdown().await?;
    Ok(())
}

fn given(name: &str) -> Outcome<String> {
    Ok(env::var(name).map_err(|e| format!("{name}: {e}"))?)
}
