//! Peers that are there and do not behave: silent ones, and a mail server that hangs up after the message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A listener that ends with this value.
pub struct Rude {
    pub address: SocketAddr,
    /// How many connections it has had.
    pub seen: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes connections, reads what comes, and says nothing.
pub async fn silent() -> Rude {
    start(|mut stream| async move {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    })
    .await
}

/// A mail server without TLS that takes the message and hangs up instead of answering, the first `cut` times.
pub async fn cutting(cut: usize) -> (Rude, Arc<AtomicUsize>) {
    let taken = Arc::<AtomicUsize>::default();
    let count = taken.clone();
    let server = start(move |stream| {
        let count = count.clone();
        async move {
            // Whoever hangs up hangs up on us as well.
            let _over = converse(stream, &count, cut).await.is_err();
        }
    })
    .await;
    (server, taken)
}

async fn converse(stream: TcpStream, taken: &AtomicUsize, cut: usize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 rude.example ESMTP\r\n").await?;
    let (mut line, mut data) = (String::new(), false);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.trim_end() {
            "." if data && taken.fetch_add(1, Ordering::SeqCst) < cut => return Ok(()),
            "." if data => {
                data = false;
                b"250 taken\r\n"
            }
            _ if data => continue,
            "DATA" => {
                data = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 rude.example\r\n",
        };
        stream.write_all(answer).await?;
    }
}

async fn start<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Rude {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<AtomicUsize>::default();
    let count = seen.clone();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    Rude { address, seen, task }
}
