//! The entry that says that something may be missing, and within which bounds.

use super::{Draft, Leaf, time};
use lockgate_ledger::Kind;
use lockgate_ledger::leaf::{ENTRY_VERSION, INTEGER_MAX};
use lockgate_types::Micros;

/// Something may be missing: what a gap entry bounds.
pub(crate) struct Missing {
    /// `unclean_stop` or `not_recorded`.
    pub(crate) cause: &'static str,
    /// Since when.
    pub(crate) since: Micros,
    /// How many reads are known to be missing, where that is known.
    pub(crate) reads: Option<u64>,
    /// Calls that were open; each gets an outcome of its own.
    pub(crate) open: u64,
}

/// Reads between `since` and now may be missing.
pub(crate) fn gap(missing: &Missing, at: Micros) -> Draft {
    let number = |count: u64| i64::try_from(count).unwrap_or(INTEGER_MAX);
    let mut leaf = Leaf::new(256);
    leaf.text("cause", missing.cause);
    leaf.text("k", Kind::Gap.as_str());
    leaf.integer("open", number(missing.open));
    if let Some(reads) = missing.reads {
        leaf.integer("reads", number(reads));
    }
    leaf.integer("since", time(missing.since));
    leaf.place();
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}
