//! Service systems (*sources*): who they are, the orders that they hand in, what they are told.

mod caller;
mod news;

pub use caller::{Scope, Scopes, SourceCaller, source_of_key};
pub use news::{SourceNews, tell_source};
