//! SQLite, concretely: schema, migrations, typed functions over a transaction, the writer, readers. SQL nowhere else.

mod error;
mod open;
mod tx;
mod writer;

pub use error::StoreError;
pub use open::{Identity, Readers, open, open_in_memory};
pub use tx::Tx;
pub use writer::{BATCH, QUEUE, Writer};
