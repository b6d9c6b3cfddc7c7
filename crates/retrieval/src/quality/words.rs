//! A report as people read it.

use super::{Report, Verdict};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Publish => "serves",
            Verdict::Quarantine => "is quarantined: the last good one goes on serving",
        };
        writeln!(f, "source {}, snapshot {}: {verdict}", self.source, self.snapshot)?;
        for breach in &self.breaches {
            writeln!(
                f,
                "  breaks `{}`: {}, allowed {}",
                breach.term, breach.found, breach.allowed
            )?;
        }
        let volume = self.volume;
        writeln!(
            f,
            "  documents {} ({} new, {} changed, {} as before), {} gone, {} bytes of text",
            volume.documents(),
            volume.added,
            volume.changed,
            volume.kept,
            volume.removed,
            self.bytes
        )?;
        for (name, count) in [
            ("left out, since they give orders", self.withheld),
            ("suspected: they may give orders, and serve", self.suspected),
            ("with text that people do not see", self.hidden),
            ("with broken text", self.broken),
            ("the same as another", self.duplicates),
            ("nearly the same as another", self.near_duplicates),
            ("unreadable", self.refusals()),
            ("not confirmed this time", self.unconfirmed),
            ("not read: links, too large", self.skipped),
        ] {
            if count > 0 {
                writeln!(f, "  {count} {name}")?;
            }
        }
        for (name, fields) in [("new", &self.fields_new), ("gone", &self.fields_gone)] {
            if !fields.is_empty() {
                writeln!(f, "  fields that are {name}: {}", fields.join(", "))?;
            }
        }
        for (kind, examples) in &self.examples {
            for example in examples {
                writeln!(f, "    {kind}: `{}`: {}", example.id, example.why)?;
            }
        }
        Ok(())
    }
}
