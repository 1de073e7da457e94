//! Accepted baskets per second beside other projects' simulated payment servers, which create charges: for orientation only,
//! since these neither verify signatures nor flush. `cargo xtask bench --peers` fetches them and names their folder in
//! `WALKPAY_PEERS`.

use crate::device::client;
use crate::effort::Effort;
use crate::goods::Goods;
use crate::load::{Requests, request, send};
use crate::measure::{Found, Goal, Measure, Outcome, in_turns};
use crate::service::{DEVICES, Merchant};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The variable that names the folder of the peers.
const FOLDER: &str = "WALKPAY_PEERS";
/// How long a peer may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// `sk_test_ratios:` for HTTP basic authentication.
const KEY: &str = "Basic c2tfdGVzdF9yYXRpb3M6";

const MEASURES: &[Measure] = &[
    Measure {
        name: "peer_stripe_stateful_mock",
        ours: "accepted 50-line baskets per second, as above",
        reference: "charges per second of npm `stripe-stateful-mock`, in memory",
        goal: Goal::Reported,
        run: |goods, effort| run(goods, effort, &Peer::stripe_stateful_mock()?, effort.repeat),
    },
    Measure {
        name: "peer_localstripe",
        ours: "the same",
        reference: "charges per second of PyPI `localstripe`, which writes its store without flushing",
        goal: Goal::Reported,
        run: |goods, effort| run(goods, effort, &Peer::localstripe()?, (effort.repeat / 10).max(1)),
    },
];

/// What can be measured: nothing where no peers were fetched.
pub fn measures() -> &'static [Measure] {
    if std::env::var_os(FOLDER).is_some() { MEASURES } else { &[] }
}

fn run(goods: &Arc<Goods>, effort: &Effort, peer: &Peer, charges: usize) -> Outcome<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut merchant = Merchant::start(goods)?;
    let source = runtime.block_on(peer.source())?;
    let requests: Requests = vec![vec![charge(&source); charges]; usize::from(DEVICES)];
    let count = u32::try_from(charges * usize::from(DEVICES))?;
    let reference =
        |_: usize| -> Outcome<Duration> { Ok(runtime.block_on(send(peer.address, requests.clone(), 200))? / count) };
    reference(0)?;
    merchant.round(&runtime, effort.repeat)?;
    let rounds = effort.long_rounds.min(5);
    Ok(in_turns(rounds, |_| merchant.round(&runtime, effort.repeat), reference)?.into())
}

fn charge(source: &str) -> Vec<u8> {
    let headers = [("authorization", KEY.to_owned()), ("content-type", "application/x-www-form-urlencoded".to_owned())];
    request("POST", "/v1/charges", &headers, format!("amount=1000&currency=eur&source={source}").as_bytes())
}

/// A peer's process.
struct Peer {
    child: Child,
    address: SocketAddr,
    /// What charges are paid from, if it need not be made.
    source: Option<&'static str>,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

impl Peer {
    fn stripe_stateful_mock() -> Outcome<Self> {
        let port = free_port()?;
        let script = folder()?.join("node_modules/stripe-stateful-mock/dist/cli.js");
        let mut command = Command::new("node");
        command.arg(script).env("PORT", port.to_string()).env("LOG_LEVEL", "silent");
        Self::start(command, port, Some("tok_visa"))
    }

    fn localstripe() -> Outcome<Self> {
        let port = free_port()?;
        let mut command = Command::new(folder()?.join("python/bin/localstripe"));
        command.args(["--from-scratch", "--port", &port.to_string()]);
        Self::start(command, port, None)
    }

    fn start(mut command: Command, port: u16, source: Option<&'static str>) -> Outcome<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let peer = Self { child, address, source };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end {
                return Err(format!("{command:?} does not listen").into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// What charges are paid from.
    async fn source(&self) -> Outcome<String> {
        if let Some(source) = self.source {
            return Ok(source.to_owned());
        }
        let card = [
            ("type", "card"),
            ("card[number]", "4242424242424242"),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2040"),
            ("card[cvc]", "123"),
        ];
        let body: Vec<String> = card.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ask = client()?.post(format!("http://{}/v1/payment_methods", self.address)).header("authorization", KEY);
        let ask = ask.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"));
        Ok(ask.send().await?.error_for_status()?.json::<Made>().await?.id)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has no other way to end, and may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> Outcome<PathBuf> {
    let folder = std::env::var_os(FOLDER).ok_or_else(|| format!("{FOLDER} is not set"))?;
    Ok(Path::new(&folder).to_owned())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
