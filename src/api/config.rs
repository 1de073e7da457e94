//! What a terminal is opened with.

/// Where a terminal keeps its files, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct TerminalConfig {
    /// The folder of journal and catalogues; made when it does not exist. One process at a time can have it open.
    pub folder: String,
    /// How the device calls itself to its user, 1 to 80 characters.
    #[uniffi(default = "walkpay terminal")]
    pub device_label: String,
    /// Where the merchant is, if that is not where the enrolment code said: it moved. https, or http on loopback.
    #[uniffi(default = None)]
    pub merchant_url: Option<String>,
    /// Root certificates (PEM) that are trusted beside the built-in ones.
    #[uniffi(default = None)]
    pub extra_roots_pem: Option<String>,
    /// If not empty, the server's key must be one of these: `sha256/` and the base64 of the SHA-256 of its
    /// SubjectPublicKeyInfo.
    #[uniffi(default = [])]
    pub pins: Vec<String>,
    /// Leaves it to the system when written data reaches the disk. Only for benchmarks: a power cut can lose what was
    /// answered.
    #[uniffi(default = false)]
    pub skip_disk_sync: bool,
}

impl TerminalConfig {
    /// A terminal in `folder`, everything else as usual.
    pub fn new(folder: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            device_label: "walkpay terminal".into(),
            merchant_url: None,
            extra_roots_pem: None,
            pins: Vec::new(),
            skip_disk_sync: false,
        }
    }
}
