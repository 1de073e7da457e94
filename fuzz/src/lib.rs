//! What the fuzz targets do with their bytes; the same bodies run over `corpus/` in the test suite.

pub mod bodies;
pub mod wire;
