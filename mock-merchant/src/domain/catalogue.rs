//! Catalogue revisions: immutable, read once, shared.

/// What has been read of catalogue revisions.
#[derive(Debug, Default)]
pub struct Catalogues {}
