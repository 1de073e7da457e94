//! Services of two systems that belong to one case, paid in one place: `cargo run --example service_desk`, or `-- --help`.
//!
//! Merchant, bank, payment channel, service systems and payer are all in this process, on loopback ports.

#[path = "support/cashier.rs"]
mod cashier;
#[path = "support/qr.rs"]
mod qr;
#[path = "support/service_system.rs"]
mod service_system;
#[path = "support/table.rs"]
mod table;

use clap::{Parser, ValueEnum};
use mock_merchant::domain::{AdminCommand, Answer, Caller, Command};
use mock_merchant::server::{Config, Running, Server};
use serde_json::{Value, json};
use service_system::ServiceSystem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use table::{Side, table};
use walkpay::api::{Slip, Terminal, TerminalConfig, file_vault};
use walkpay::protocol::document::{Leg, PaymentMethod};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::order::*;
use walkpay::protocol::query::TotalsGroup;
use walkpay::protocol::question::{OrderFilter, TotalsBy, TotalsFilter};
use walkpay::session::{HostEventKind, PaymentFacts};
use walkpay::{Currency, Money, ServiceNumber, Timestamp, UserName, WalkpayError};

/// How long a step waits for the others.
const PATIENCE: Duration = Duration::from_secs(120);
const CASE: &str = "C-2026-0815";

/// Two service systems hand in orders of one case and confirm them, one of them with a change. The payer puts both on one slip and
/// pays it; the systems are told by webhooks, and the payer asks what the case has cost so far.
#[derive(Parser)]
#[command(after_help = "Examples:
  cargo run --example service_desk
      30.00 from stored value, the rest from the bank account
  cargo run --example service_desk -- --method alipay
      in yuan, at the cashier of the simulated Alipay, by a QR code that is shown here; tenpay for WeChat Pay
  cargo run --example service_desk -- --method test
      at the simulated payment channel, which has the payer scan a QR code
  cargo run --example service_desk -- --data desk
      keeps everything; a second run adds to the case")]
struct Args {
    /// How the payer pays.
    #[arg(long, value_enum, default_value = "bank")]
    method: Method,
    /// Where merchant and terminal keep their files; by default a temporary folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// All of it from the payer's stored value.
    #[value(name = "stored_value")]
    StoredValue,
    /// A part from stored value, the rest from the bank account.
    Bank,
    /// At the simulated Alipay.
    Alipay,
    /// At the simulated WeChat Pay.
    Tenpay,
    /// At the simulated payment channel.
    Test,
}

impl Method {
    fn payment(self) -> PaymentMethod {
        match self {
            Self::StoredValue => PaymentMethod::StoredValue,
            Self::Bank => PaymentMethod::Bank,
            Self::Alipay => PaymentMethod::Alipay,
            Self::Tenpay => PaymentMethod::Tenpay,
            Self::Test => PaymentMethod::Test,
        }
    }

    /// Whether the payer pays at a simulated channel.
    fn elsewhere(self) -> bool {
        matches!(self, Self::Alipay | Self::Tenpay | Self::Test)
    }

    /// What the services cost is told in this currency.
    fn currency(self) -> &'static str {
        if matches!(self, Self::Alipay | Self::Tenpay) { "CNY" } else { "EUR" }
    }

    /// A user of the demo store who can pay so.
    fn payer(self) -> &'static str {
        if self == Self::StoredValue { "carol" } else { "alice" }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&format!("no threads: {e}")),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble(text)) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("\nerror: {text}");
    ExitCode::FAILURE
}

/// Why it ended early, in words for the person at the keyboard.
struct Trouble(String);

impl From<WalkpayError> for Trouble {
    fn from(e: WalkpayError) -> Self {
        Self(e.explain())
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self(text)
    }
}

async fn run(args: Args) -> Result<(), Trouble> {
    let temporary = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let folder = args.data.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    // Simulated channels are a part of simulations, which have files of their own.
    let sim = args.method.elsewhere();
    let merchant_folder = folder.join(if sim { "merchant-sim" } else { "merchant" });
    let config = Config { demo: true, sim, ..Config::new(&merchant_folder) };
    let merchant = Server::start(config).await.map_err(|e| format!("the merchant did not start: {e}"))?;
    heading("A merchant and a bank, in this process");
    say("merchant", &merchant.url);
    say("database", &merchant_folder.display().to_string());
    let terminal_folder = merchant_folder.with_extension(args.method.payer());
    let terminal = open(&terminal_folder, &merchant).await?;
    let result = desk(&args, &merchant, &terminal).await;
    terminal.shutdown().await?;
    merchant.shutdown().await;
    result
}

async fn open(folder: &Path, merchant: &Running) -> Result<Arc<Terminal>, Trouble> {
    let path = |p: PathBuf| p.display().to_string();
    let vault = file_vault(path(folder.join("vault")))?;
    let config = TerminalConfig {
        device_label: "example payer".into(),
        merchant_url: Some(merchant.url.clone()),
        ..TerminalConfig::new(path(folder.to_path_buf()))
    };
    Ok(Terminal::open(config, vault).await?)
}

async fn desk(args: &Args, merchant: &Running, terminal: &Arc<Terminal>) -> Result<(), Trouble> {
    let payer = sign_in(args, merchant, terminal).await?;
    let mut events = Events { terminal: terminal.clone(), seen: terminal.acked_events().await? };

    heading("Two service systems (B01 to B06)");
    let confirm = Arc::new(|_: &Value| json!({ "decision": "confirm" }));
    let delivery = ServiceSystem::open(merchant, "delivery", "Delivery", confirm).await?;
    // The fitters have looked at the kitchen meanwhile: it takes longer.
    let currency = args.method.currency();
    let longer = fitting_fees("1.5", currency);
    let modify = move |_: &Value| json!({ "decision": "modify", "fields": { "fees": longer.clone() }, "reason": "One and a half hours" });
    let fitting = ServiceSystem::open(merchant, "fitting", "Fitting", Arc::new(modify)).await?;
    let first = hand_in(&delivery, &payer, "Delivery of a washing machine", &delivery_fees(currency)).await?;
    let second = hand_in(&fitting, &payer, "Fitting of a washing machine", &fitting_fees("1", currency)).await?;
    for (system, number) in [(&delivery, first), (&fitting, second)] {
        let asked = system.told("order.confirmation_requested", number, PATIENCE).await;
        asked.ok_or_else(|| format!("{} was not asked to confirm {number}", system.id))?;
        events.payable(number).await?;
    }
    say("delivery", &format!("{first}: confirmed at once"));
    say("fitting", &format!("{second}: confirmed with a change, 1.5 hours instead of one"));

    heading("The payer's orders (B20, B21)");
    let filter = OrderFilter { case_number: Some(CASE.into()), ..OrderFilter::default() };
    let waiting = terminal.orders(filter).await?;
    print!("{}", orders_table(&waiting.orders));
    let order = terminal.order(second).await?.order;
    println!("\n  {} in full, version {}", order.summary.service_name, order.version);
    print!("{}", fees_table(&order.fees));

    heading("One slip (B22)");
    let title = payer.to_string();
    let invoice = Some(Invoice { kind: InvoiceType::Personal, title, tax_id: None });
    let request = SlipRequest { orders: vec![first, second], remarks: "Kitchen, third floor".into(), invoice };
    let slip = terminal.make_slip(request).await?;
    let made = slip.wait_made(PATIENCE).await?.ok_or_else(|| "the merchant did not answer".to_owned())?;
    say("slip", &format!("{} for {}: {}", made.slip_number, made.payee, made.title));
    say("amount", &format!("{}, to be paid until {}", made.amount, made.expires_at));

    heading("Paying (B23)");
    let (payment, legs) = pay(args, merchant, &slip, &made, &mut events).await?;
    say("paid", &format!("{} by payment {}", payment.amount, payment.payment_id));
    print!("{}", legs_table(&legs));

    heading("What the service systems were told (B24)");
    for (system, number) in [(&delivery, first), (&fitting, second)] {
        let told = system.told("order.paid", number, PATIENCE).await;
        told.ok_or_else(|| format!("{} was not told that {number} is paid", system.id))?;
    }
    let systems = [&delivery, &fitting];
    print!("{}", messages_table(&systems));
    let refused: u32 = systems.iter().map(|s| s.refused()).sum();
    say("verified", &format!("all of them, by the secret of each system; {refused} refused"));

    heading("What was paid everywhere (B31, B32)");
    for by in [TotalsBy::Case, TotalsBy::Method, TotalsBy::Source] {
        let totals = terminal.totals(TotalsFilter { by: vec![by], ..TotalsFilter::default() }).await?;
        println!("{}", totals_table(by, &totals.groups));
    }
    terminal.ack_events(events.seen).await?;
    Ok(())
}

async fn sign_in(args: &Args, merchant: &Running, terminal: &Terminal) -> Result<UserName, Trouble> {
    heading("The payer");
    let user_name = UserName::parse(args.method.payer())?;
    if terminal.users().await?.is_empty() {
        let new = AdminCommand::NewEnrolmentCode { user_name: user_name.clone(), self_confirming: true };
        let answer = merchant.app().execute(Caller::Operator, Command::Admin(new)).await;
        let Ok(Answer::EnrolmentCode { code, root, .. }) = answer else {
            return Err(Trouble("no enrolment code".into()));
        };
        let code = EnrolmentCode::new(merchant.merchant_id.clone(), &code, root.as_str(), &merchant.public_url)?;
        terminal.enrol(code.to_text(), None, None).await?;
    }
    let user = terminal.sign_in(user_name).await?;
    say("signed in", &format!("{}, on device {}", user.user_name, user.device_id));
    say("bank", user.bank_label.as_deref().unwrap_or("no account is bound"));
    Ok(user.user_name)
}

async fn hand_in(
    system: &ServiceSystem,
    payer: &UserName,
    service_name: &str,
    fees: &Value,
) -> Result<ServiceNumber, Trouble> {
    let deadline = Timestamp::from_millis(now_millis() + 14 * 86_400_000);
    let order = json!({
        "service_name": service_name, "payer": payer, "deadline": deadline, "case_number": CASE, "case_name": "Kitchen",
        "fees": fees,
    });
    let number = system.hand_in(&format!("{}-{}", system.id, now_millis()), &order).await?;
    say(&system.id, &format!("handed in: {service_name}, service number {number}"));
    Ok(number)
}

fn delivery_fees(currency: &str) -> Value {
    json!([
        { "name": "Delivery", "quantity": "1", "unit_price": price(1_900, currency), "tax_rate": "19" },
        { "name": "Old machine taken away", "quantity": "1", "unit_price": price(990, currency), "tax_rate": "19" },
    ])
}

fn fitting_fees(hours: &str, currency: &str) -> Value {
    let unit_price = price(3_400, currency);
    json!([{ "name": "Fitter, per hour", "quantity": hours, "unit_price": unit_price, "tax_rate": "19" }])
}

/// Pays the slip; where less stored value is left than was asked for, without it.
async fn pay(
    args: &Args,
    merchant: &Running,
    slip: &Slip,
    made: &SlipView,
    events: &mut Events,
) -> Result<(PaymentFacts, Vec<Leg>), Trouble> {
    let method = args.method.payment();
    let part = (method == PaymentMethod::Bank).then(|| made.amount.currency.minor(3_000.min(made.amount.minor - 1)));
    say("signed", &split(made.amount, method, part));
    slip.pay(method, part).await?;
    if args.method.elsewhere() {
        at_the_channel(args.method, merchant, slip).await?;
    }
    let result = match (events.payment(slip).await?, part) {
        (Outcome::Refused(problem), Some(_)) if problem == "insufficient_stored_value" => {
            say("refused", "there is not so much stored value left; once more without it");
            say("signed", &split(made.amount, method, None));
            slip.pay(method, None).await?;
            events.payment(slip).await?
        }
        (outcome, _) => outcome,
    };
    match result {
        Outcome::Ended(result) if result.payment.status == PaymentStatus::Succeeded => {
            Ok((slip.wait_payment(PATIENCE).await?, result.legs))
        }
        Outcome::Ended(result) => {
            let reason = result.payment.reason.unwrap_or_else(|| "no reason".into());
            Err(Trouble(format!("the payment was not made ({reason}); the slip can be paid by another method")))
        }
        Outcome::Refused(problem) => Err(Trouble(format!("the merchant refused the payment: {problem}"))),
    }
}

fn split(amount: Money, method: PaymentMethod, part: Option<Money>) -> String {
    let by = method_name(method);
    match part {
        Some(part) => format!("{amount}: {part} from stored value, the rest by {by}, with the key of this device"),
        None => format!("{amount} by {by}, with the key of this device"),
    }
}

/// The payer scans the QR code with the app of the channel, and confirms at its cashier.
async fn at_the_channel(method: Method, merchant: &Running, slip: &Slip) -> Result<(), Trouble> {
    let launch = slip.wait_launch(PATIENCE).await?;
    let launch = launch.ok_or_else(|| "the channel did not answer in time".to_owned())?;
    let Launch::Qr { text } = &launch else {
        return Err(Trouble(format!("the channel gave no QR code but {launch:?}")));
    };
    say("QR code", text);
    print!("{}", qr::half_blocks(text)?);
    if method != Method::Test {
        cashier::pay(&merchant.url, &launch).await?;
        say("payer", "has scanned it and confirmed at the cashier; the channel notifies the merchant");
        return Ok(());
    }
    let number = text.rsplit(':').next().unwrap_or_default();
    let channel = merchant.app().channels.test().ok_or_else(|| "no simulated channel".to_owned())?;
    channel.pay(merchant.app().clock.now(), number).map_err(|e| format!("the channel: {e}"))?;
    say("payer", "has scanned it and paid; the channel notifies the merchant");
    Ok(())
}

/// The events of the payer, in their order: the one path of all results.
struct Events {
    terminal: Arc<Terminal>,
    seen: u64,
}

enum Outcome {
    Ended(SlipResult),
    Refused(String),
}

impl Events {
    async fn next(&mut self) -> Result<HostEventKind, Trouble> {
        let event = self.terminal.next_event(self.seen, PATIENCE).await?;
        let event = event.ok_or_else(|| "nothing was heard of the merchant for too long".to_owned())?;
        self.seen = event.number;
        Ok(event.kind)
    }

    /// Passes over the news until an order can be paid.
    async fn payable(&mut self, number: ServiceNumber) -> Result<(), Trouble> {
        loop {
            match self.next().await? {
                HostEventKind::Order { notice }
                    if notice.service_number == number && notice.news == OrderNews::Payable =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    async fn payment(&mut self, slip: &Slip) -> Result<Outcome, Trouble> {
        let number = slip.state().await?.slip.map(|s| s.slip_number);
        let mut under_way = false;
        loop {
            match self.next().await? {
                HostEventKind::Slip { result } if Some(result.slip_number) == number => {
                    let over = matches!(result.payment.status, PaymentStatus::Succeeded | PaymentStatus::Closed);
                    if over {
                        return Ok(Outcome::Ended(result));
                    }
                    if !std::mem::replace(&mut under_way, true) {
                        say("merchant", "has the payment and waits for its channel");
                    }
                }
                HostEventKind::Refused { slip_id: Some(id), refusal, .. } if id == slip.id() => {
                    return Ok(Outcome::Refused(refusal.problem));
                }
                _ => {}
            }
        }
    }
}

fn orders_table(orders: &[OrderSummary]) -> String {
    let head = [
        ("service number", Side::Left),
        ("source", Side::Left),
        ("service", Side::Left),
        ("case", Side::Left),
        ("due", Side::Right),
        ("until", Side::Left),
    ];
    let row = |o: &OrderSummary| {
        let until = o.deadline.to_string().chars().take(10).collect();
        let case = format!("{} {}", o.case_number, o.case_name);
        vec![o.service_number.to_string(), o.source.clone(), o.service_name.clone(), case, o.due.to_string(), until]
    };
    table(&head, &orders.iter().map(row).collect::<Vec<_>>())
}

fn fees_table(fees: &[FeeLine]) -> String {
    let head = [
        ("fee", Side::Left),
        ("quantity", Side::Right),
        ("each", Side::Right),
        ("amount", Side::Right),
        ("of that tax", Side::Right),
    ];
    let row = |f: &FeeLine| {
        let tax = format!("{} ({} %)", f.tax, f.tax_rate);
        vec![f.name.clone(), f.quantity.clone(), f.unit_price.to_string(), f.amount.to_string(), tax]
    };
    table(&head, &fees.iter().map(row).collect::<Vec<_>>())
}

fn legs_table(legs: &[Leg]) -> String {
    let head = [("method", Side::Left), ("amount", Side::Right), ("reference", Side::Left)];
    let row = |l: &Leg| vec![method_name(l.method).to_owned(), l.amount.to_string(), l.reference.clone()];
    table(&head, &legs.iter().map(row).collect::<Vec<_>>())
}

fn messages_table(systems: &[&ServiceSystem]) -> String {
    let head = [("system", Side::Left), ("message", Side::Left), ("order", Side::Left), ("due", Side::Right)];
    let rows = systems.iter().flat_map(|s| s.messages().into_iter().map(|m| (s.id.clone(), m)));
    let row = |(id, m): (String, service_system::Message)| {
        let due = &m.body["data"]["due"];
        let due = format!("{} {}", due["amount"].as_str().unwrap_or("-"), due["currency"].as_str().unwrap_or(""));
        vec![id, m.kind, m.service_number, due]
    };
    table(&head, &rows.map(row).collect::<Vec<_>>())
}

fn totals_table(by: TotalsBy, groups: &[TotalsGroup]) -> String {
    let title = match by {
        TotalsBy::Case => "by case",
        TotalsBy::Method => "by method",
        TotalsBy::Source => "by source",
        TotalsBy::State => "by state",
        TotalsBy::BusinessDay => "by day",
    };
    let head = [
        (title, Side::Left),
        ("payments", Side::Right),
        ("paid", Side::Right),
        ("given back", Side::Right),
        ("together", Side::Right),
    ];
    let row = |g: &TotalsGroup| {
        let method = g.method.map(|m| method_name(m).to_owned());
        let group = [g.case_number.clone(), method, g.source.clone(), g.business_day.clone()];
        let group = group.into_iter().flatten().next().unwrap_or_default();
        vec![group, g.payments.to_string(), g.paid.to_string(), g.refunded.to_string(), g.net.to_string()]
    };
    table(&head, &groups.iter().map(row).collect::<Vec<_>>())
}

fn method_name(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::StoredValue => "stored value",
        PaymentMethod::Bank => "bank",
        PaymentMethod::Alipay => "Alipay",
        PaymentMethod::Tenpay => "WeChat Pay",
        PaymentMethod::Test => "test",
    }
}

fn price(minor: i64, currency: &str) -> Value {
    let amount = Currency::parse(currency).map(|currency| currency.minor(minor));
    amount.ok().and_then(|a| serde_json::to_value(a).ok()).unwrap_or_default()
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn say(what: &str, text: &str) {
    println!("  {what:<14} {text}");
}
