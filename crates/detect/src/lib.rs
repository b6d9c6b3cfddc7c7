//! Signals found in text.
//!
//! Functions from a text to spans: where, of what kind, how sure. They know nothing of policies or
//! of what becomes of a find. Signals feed redaction and risk; a text in which nothing is found is
//! as untrusted as before, so none of them ever allows anything.

pub mod active;
pub mod contradict;
pub mod definition;
mod encoded;
mod fold;
mod hidden;
pub mod hold;
pub mod injection;
mod link;
pub mod pii;
mod recall;
pub mod redactable;
mod runs;
mod secret;
mod shown;
mod signal;
pub mod verbatim;
mod words;

pub use link::{LINKS_MAX, Link, links, suspicious};
pub use recall::asks_recall;
pub use signal::{Kind, SCORE_MAX, Signal};

/// Signals of one text. Of more the surest are kept.
pub const SIGNALS_MAX: usize = 1024;

/// Finds every kind: in order of where they begin.
pub fn scan(text: &str) -> Vec<Signal> {
    let mut signals = Vec::new();
    for kind in Kind::ALL {
        signals.extend(scan_kind(text, kind));
    }
    if signals.len() > SIGNALS_MAX {
        signals.sort_by_key(|signal| (u16::MAX - signal.score, signal.start));
        signals.truncate(SIGNALS_MAX);
    }
    signals.sort();
    signals
}

/// Finds one kind, in order.
pub fn scan_kind(text: &str, kind: Kind) -> Vec<Signal> {
    let mut signals = Vec::new();
    match kind {
        Kind::Injection => injection::find(text, &mut signals),
        Kind::HiddenText => hidden::find(text, &mut signals),
        Kind::Confusable => hidden::confusable(text, &mut signals),
        Kind::Encoded => encoded::find(text, &mut signals),
        Kind::Secret => secret::find(text, &mut signals),
        Kind::Pii => pii::signals(text, &mut signals),
        Kind::Link => link::find(text, &mut signals),
    }
    signals
}
