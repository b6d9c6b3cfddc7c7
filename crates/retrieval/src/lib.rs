//! placeholder

pub mod connect;
pub mod cut;
pub mod format;
pub mod ingest;
pub mod quality;
