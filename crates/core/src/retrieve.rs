//! Retrieval as the decision sees it.

pub mod filter;
