//! TLS with a certificate made for the test.

use crate::client::http;
use mock_merchant::server::{Config, Server, ServerError, TlsFiles};
use reqwest::StatusCode;
use tempfile::tempdir;

#[tokio::test(flavor = "multi_thread")]
async fn serves_https_and_nothing_else() {
    let folder = tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let config = Config {
        tls: Some(files.clone()),
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::new(folder.path().join("data"))
    };
    let running = Server::start(config).await.unwrap();
    let port = running.url.rsplit(':').next().unwrap().to_owned();
    assert!(running.url.starts_with("https://"));
    let url = format!("https://localhost:{port}/healthz");
    let answer = http(&[made.cert.der().to_vec()]).get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(http(&[]).get(&url).send().await.is_err(), "a certificate that nobody vouches for");
    assert!(http(&[]).get(url.replace("https", "http")).send().await.is_err());
    running.shutdown().await;
    std::fs::write(&files.key, "nonsense").unwrap();
    let config = Config { tls: Some(files), ..Config::new(folder.path().join("data")) };
    match Server::start(config).await {
        Err(ServerError::Tls(e)) => assert!(e.to_string().contains("key.pem")),
        other => panic!("{:?}", other.map(|r| r.url)),
    }
}
