//! Signals found in text.
//!
//! Functions from a text to spans: where, of what kind. They know nothing of policies or of what
//! becomes of a find. The spine needs personal data; injection, hidden text, secrets and
//! exfiltration links come with risk.

pub mod definition;
pub mod pii;
