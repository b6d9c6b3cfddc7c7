//! Governed retrieval: what sources have, and search in what a subject may see of it.
//!
//! On the way in, [`connect`] asks sources, [`mod@format`] makes text of bytes in a confined
//! process, [`cut`] cuts it, [`quality`] looks at it, and [`ingest`] is the run that hands
//! documents on. [`corpus`] keeps them in snapshots, [`relation`] who may see them, [`embed`] makes
//! vectors, [`search`] finds. Who asks and what policies say is not known here: a question comes
//! with a filter, and with somebody who decides each document that is returned.

pub mod connect;
pub mod corpus;
pub mod cut;
pub mod embed;
mod embedded;
mod fleet;
pub mod format;
mod index;
pub mod ingest;
pub mod quality;
pub mod relation;
pub mod search;

pub use index::{
    CHUNKS_INDEXED_MAX, DOCUMENTS_INDEXED_MAX, FILTER_DEPTH_MAX, FILTER_PARTS_MAX,
    FOLDERS_INDEXED_MAX,
};
