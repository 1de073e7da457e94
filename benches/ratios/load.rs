//! Requests that were made beforehand, sent over as many connections as there are lists of them.

use crate::measure::Outcome;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One list per connection, each request as the bytes that are sent.
pub type Requests = Vec<Vec<Vec<u8>>>;

/// A request of HTTP/1.1 as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends everything; the time from the first byte to the last answer. Connections are made beforehand.
pub async fn send(address: SocketAddr, requests: Requests, status: u16) -> Outcome<Duration> {
    let mut connections = Vec::with_capacity(requests.len());
    for list in requests {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push((stream, list));
    }
    let start = Instant::now();
    let mut all = JoinSet::new();
    for (stream, list) in connections {
        all.spawn(one_after_the_other(stream, list, status));
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(start.elapsed())
}

async fn one_after_the_other(mut stream: TcpStream, list: Vec<Vec<u8>>, status: u16) -> Outcome<()> {
    let mut buffer = Vec::with_capacity(4096);
    for request in list {
        stream.write_all(&request).await?;
        let (got, body) = answer(&mut stream, &mut buffer).await?;
        if got != status {
            return Err(format!("status {got}: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    Ok(())
}

/// Reads one answer; what came of the next one stays in `buffer`.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<(u16, Vec<u8>)> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, buffer).await?;
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
    let end = head + length.ok_or("an answer without content-length")?.parse::<usize>()?;
    while buffer.len() < end {
        more(stream, buffer).await?;
    }
    let body = buffer[head..end].to_vec();
    buffer.drain(..end);
    Ok((status, body))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    match stream.read_buf(buffer).await? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}
