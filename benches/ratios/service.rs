//! Accepted baskets per second: a merchant in a process of its own, asked by devices that signed everything beforehand.

use crate::baskets::LINES;
use crate::device::{Baskets, Device};
use crate::effort::Effort;
use crate::goods::Goods;
use crate::load::{Requests, send};
use crate::measure::{Found, Goal, Measure, Outcome, in_turns, mebibytes};
use crate::process::Process;
use crate::shop::scratch;
use rusqlite::{Connection, OpenFlags};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The row.
pub const MEASURES: &[Measure] = &[Measure {
    name: "service",
    ours: "accepted 50-line baskets per second over loopback HTTP, durable, 32 connections, requests signed beforehand",
    reference: "an axum handler that verifies two signatures and group-commits one row",
    goal: Goal::AtLeast(0.4),
    run,
}];

/// Connections; each is a device.
pub const DEVICES: u8 = 32;
/// How long the last debits may take to be posted.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(goods: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let mut merchant = Merchant::start(goods)?;
    let folder = scratch()?;
    let mut bare = Process::start("bare", &[("DATA", folder.path().display().to_string())])?;
    let address: SocketAddr = bare.said("listening")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let same = merchant.bare_requests(effort.repeat)?;
    let reference =
        |_: usize| -> Outcome<Duration> { each(runtime.block_on(send(address, same.clone(), 201))?, &same) };
    // Both sides have seen every article and every page once before anything counts.
    merchant.round(&runtime, effort.repeat)?;
    reference(0)?;
    let pairs = in_turns(effort.long_rounds, |_| merchant.round(&runtime, effort.repeat), reference)?;
    bare.end()?;
    let shopper = merchant.shopper(goods)?;
    let facts = vec![
        ("peak memory of that merchant".to_owned(), mebibytes(merchant.process.peak_memory())),
        (
            "peak memory of a terminal that fetches the catalogue and has a basket of 50 lines accepted".to_owned(),
            shopper,
        ),
    ];
    merchant.process.end()?;
    Ok(Found { pairs, facts })
}

/// A merchant's process, and the devices that were enrolled there.
pub struct Merchant {
    process: Process,
    address: SocketAddr,
    devices: Vec<Device>,
    baskets: Baskets,
    code: String,
    book: Connection,
    sent: i64,
    _data: TempDir,
}

impl Merchant {
    /// Starts one with these goods, and enrols the devices.
    pub fn start(goods: &Goods) -> Outcome<Self> {
        let data = scratch()?;
        let [articles, file] = goods.recipe();
        let variables = [("DATA", data.path().display().to_string()), ("ARTICLES", articles), ("GOODS", file)];
        let mut process = Process::start("merchant", &variables)?;
        let codes: Vec<String> = (0..DEVICES).map(|_| process.said("code")).collect::<Outcome<_>>()?;
        let code = process.said("code")?;
        let url = process.said("listening")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let devices = (0..).zip(&codes).map(|(n, code)| runtime.block_on(Device::enrol(&url, n, code)));
        let devices: Vec<Device> = devices.collect::<Outcome<_>>()?;
        let revision = devices.first().map_or(0, |d| d.revision);
        Ok(Self {
            process,
            address: url.trim_start_matches("http://").parse()?,
            baskets: Baskets::new(goods, revision)?,
            devices,
            code,
            book: open(&data.path().join("merchant.db"))?,
            sent: 0,
            _data: data,
        })
    }

    /// Every device has `count` baskets accepted, one after the other; the time of one basket. Debits are posted meanwhile;
    /// before this returns, all are.
    pub fn round(&mut self, runtime: &Runtime, count: usize) -> Outcome<Duration> {
        let (baskets, devices) = (&self.baskets, &mut self.devices);
        let of = |d: &mut Device| (0..count).map(|n| d.attempt(baskets, n)?.signed(d)).collect();
        let requests: Requests = devices.iter_mut().map(of).collect::<Outcome<_>>()?;
        self.sent += i64::try_from(requests.iter().map(Vec::len).sum::<usize>())?;
        let took = each(runtime.block_on(send(self.address, requests.clone(), 201))?, &requests)?;
        self.settled()?;
        Ok(took)
    }

    /// The same baskets, as the bare handler takes them.
    fn bare_requests(&mut self, count: usize) -> Outcome<Requests> {
        let (baskets, devices) = (&self.baskets, &mut self.devices);
        let of = |d: &mut Device| (0..count).map(|n| Ok(d.attempt(baskets, n)?.bare(d))).collect();
        devices.iter_mut().map(of).collect()
    }

    /// Waits until everything that was sent is accepted and posted, by the merchant's own book.
    fn settled(&self) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let count = |sql| self.book.query_row(sql, [], |r| r.get::<_, i64>(0));
            let accepted = count("SELECT count(*) FROM attempts WHERE state = 'accepted'")?;
            let open = count("SELECT count(*) FROM payments WHERE state <> 'closed'")?;
            if (accepted, open) == (self.sent, 0) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{} baskets were sent, {accepted} accepted, {open} not posted", self.sent).into());
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// The most memory of a terminal in a process of its own that shops here.
    fn shopper(&mut self, goods: &Goods) -> Outcome<String> {
        let codes: Vec<String> = goods.pieces(0, LINES).map(|a| a.gtin.to_string()).collect();
        let folder = scratch()?;
        let data = folder.path().display().to_string();
        let mut terminal =
            Process::start("terminal", &[("DATA", data), ("CODE", self.code.clone()), ("SCANS", codes.join(","))])?;
        let peak = terminal.said("accepted").map(|_| mebibytes(terminal.peak_memory()));
        terminal.end()?;
        peak
    }
}

fn open(book: &Path) -> Outcome<Connection> {
    let book = Connection::open_with_flags(book, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    book.busy_timeout(Duration::from_secs(10))?;
    Ok(book)
}

fn each(all: Duration, requests: &Requests) -> Outcome<Duration> {
    Ok(all / u32::try_from(requests.iter().map(Vec::len).sum::<usize>().max(1))?)
}
