//! The benchmark of the governed call: an upstream, a byte proxy, a load generator, and what runs
//! them.
//!
//! Everything is measured in one run and interleaved, because machines are noisy: what counts are
//! ratios and differences between neighbours in time, not single figures.

pub mod load;
pub mod machine;
pub mod models;
pub mod proxy;
pub mod report;
pub mod run;
pub mod upstream;
