//! Retrieval as the decision sees it: which documents somebody may be shown, how old they may be,
//! and whether what is cited was found.
//!
//! Pure: documents and what was retrieved are handed in as facts. A search is a call like any
//! other and is decided first; each document that it finds is then decided by itself, with the same
//! policies and the same two sides. A filter says the same of all documents at once, or says that
//! it cannot.

pub mod admit;
pub mod cite;
pub mod count;
pub mod filter;
pub mod found;
pub mod fresh;
pub mod narrow;
pub mod path;
pub mod source;
pub mod watch;

pub use admit::{Admission, Inexpressible, Retrieval, Withheld, admits, filter};
pub use narrow::Narrowed;
