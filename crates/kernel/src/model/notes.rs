//! What is noticed of one answer while it passes.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is noticed of one answer.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    has_begun: AtomicBool,
    has_declined: AtomicBool,
    has_findings: AtomicBool,
}

impl Notes {
    /// The client has been given something of it.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// The model declines.
    pub(crate) fn decline(&self) {
        self.has_declined.store(true, Ordering::Release);
    }

    pub(crate) fn has_declined(&self) -> bool {
        self.has_declined.load(Ordering::Acquire)
    }

    /// Something was taken out of it.
    pub(crate) fn find(&self) {
        self.has_findings.store(true, Ordering::Release);
    }

    pub(crate) fn has_findings(&self) -> bool {
        self.has_findings.load(Ordering::Acquire)
    }
}
