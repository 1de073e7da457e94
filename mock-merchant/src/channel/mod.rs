//! Payment channels: the port that the merchant uses, and the channels behind it.
//!
//! `alipay` and `wechat` are reached over their gateways' own protocols. `stored_value` is the merchant's own ledger and `bank` the bank's port; both need no channel here. `test` is a simulated
//! channel with a book of its own: it moves no money and fails by name.

pub mod alipay;
pub mod armed;
pub mod gateways;
pub mod http;
pub mod outgoing;
pub mod port;
pub mod rsa_key;
pub mod settings;
pub mod test;
pub mod wechat;

use alipay::AlipayChannel;
use port::{ChannelAnswer, ChannelAsk, Forged, Identity, NoAnswer, Notice, Notification};
use test::TestChannel;
use walkpay::Timestamp;
use walkpay::protocol::document::PaymentMethod;
use wechat::WechatPay;

/// A channel that can be asked.
#[derive(Clone)]
pub enum Channel {
    /// Alipay.
    Alipay(AlipayChannel),
    /// The simulated one.
    Test(TestChannel),
    /// WeChat Pay.
    Tenpay(WechatPay),
}

impl Channel {
    /// How payers pay over it.
    pub fn method(&self) -> PaymentMethod {
        match self {
            Self::Alipay(_) => PaymentMethod::Alipay,
            Self::Test(_) => PaymentMethod::Test,
            Self::Tenpay(_) => PaymentMethod::Tenpay,
        }
    }

    /// Who the merchant is there.
    pub fn identity(&self) -> Identity {
        match self {
            Self::Alipay(channel) => channel.identity(),
            Self::Test(_) => TestChannel::identity(),
            Self::Tenpay(channel) => channel.identity(),
        }
    }

    /// Asks the channel for something.
    ///
    /// # Errors
    /// [`NoAnswer`]: it may have been done or not.
    pub async fn ask(&self, now: Timestamp, ask: &ChannelAsk) -> Result<ChannelAnswer, NoAnswer> {
        match self {
            Self::Alipay(channel) => channel.ask(now, ask).await,
            Self::Test(channel) => channel.ask(now, ask).await,
            Self::Tenpay(channel) => channel.ask(now, ask).await,
        }
    }

    /// Opens a notification that came at `now`.
    ///
    /// # Errors
    /// [`Forged`] unless the channel has signed exactly this.
    pub async fn open(&self, now: Timestamp, notification: &Notification<'_>) -> Result<Notice, Forged> {
        match self {
            Self::Alipay(channel) => channel.open(notification).await,
            Self::Test(channel) => channel.open_notification(notification.body).map(Notice::Paid),
            Self::Tenpay(channel) => channel.open(now, notification).await,
        }
    }
}

/// The channels of a merchant.
#[derive(Clone, Default)]
pub struct Channels(Vec<Channel>);

impl Channels {
    /// These channels, one a method.
    pub fn new(channels: Vec<Channel>) -> Self {
        Self(channels)
    }

    /// The channel of a method.
    pub fn get(&self, method: PaymentMethod) -> Option<&Channel> {
        self.0.iter().find(|c| c.method() == method)
    }

    /// The simulated channel.
    pub fn test(&self) -> Option<&TestChannel> {
        self.0.iter().find_map(|c| match c {
            Channel::Test(channel) => Some(channel),
            _ => None,
        })
    }

    /// Who the merchant is at each of them.
    pub fn identities(&self) -> Vec<Identity> {
        self.0.iter().map(Channel::identity).collect()
    }
}
