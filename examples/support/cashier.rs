//! The payer's phone: what is launched leads to the simulated cashier of Alipay or WeChat Pay, where the payer confirms.

use mock_merchant::channel::http::{Http, Received};
use std::time::Duration;
use walkpay::protocol::order::Launch;

const PATIENCE: Duration = Duration::from_secs(120);
/// How often a page leads to another one, at most.
const HOPS: usize = 3;

/// Pays what was launched; `merchant` is where the simulated gateways are.
///
/// # Errors
/// What went wrong, in words.
pub async fn pay(merchant: &str, launch: &Launch) -> Result<(), String> {
    let http = Http::new(PATIENCE, &[]).map_err(|e| e.explain())?;
    let address = match launch {
        Launch::Url { url } => url,
        Launch::Qr { text } => text,
        Launch::Parameters { .. } => return Err("parameters are for an app, not for a phone's camera".into()),
    };
    // Only WeChat itself understands its own addresses; the simulated one's cashier is asked in its place.
    if let Some(code) = address.strip_prefix("weixin://wxpay/bizpayurl?pr=") {
        let cashier = format!("{merchant}/sim/tenpay/cashier");
        opened(&http, &format!("{cashier}?pr={code}")).await?;
        return sent(&http, &cashier, &format!("pr={code}&action=pay")).await;
    }
    let cashier = opened(&http, address).await?;
    sent(&http, &cashier, "action=confirm").await
}

/// Opens a page; where it was in the end.
async fn opened(http: &Http, address: &str) -> Result<String, String> {
    let mut address = address.to_owned();
    for _ in 0..HOPS {
        let page = http.send(http.client().get(&address)).await.map_err(|e| e.to_string())?;
        match page.headers.get("location").filter(|_| page.status.is_redirection()) {
            Some(next) => address = next.to_str().map_err(|e| e.to_string())?.to_owned(),
            None => return good(&page).map(|()| address),
        }
    }
    Err(format!("{address} leads on and on"))
}

async fn sent(http: &Http, address: &str, form: &str) -> Result<(), String> {
    let post = http.client().post(address).header("content-type", "application/x-www-form-urlencoded");
    good(&http.send(post.body(form.to_owned())).await.map_err(|e| e.to_string())?)
}

fn good(page: &Received) -> Result<(), String> {
    let status = page.status.as_u16();
    if status == 200 { Ok(()) } else { Err(format!("the cashier answered with status {status}")) }
}
