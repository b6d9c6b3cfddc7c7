//! What is looked for in an answer before it is passed on.

use lockgate_core::World;
use lockgate_detect::hold::{self, Release};
use lockgate_detect::redactable::{self, Redactable};
use lockgate_detect::{Kind, links, scan_kind};
use lockgate_types::Code;
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::model::ModelAsked;
use lockgate_wire::model::{Channel, Edit, Held, Scan};
use lockgate_wire::refusal::Refusal;
use std::ops::Range;

/// Stands where a text was taken out.
const REDACTED: &str = "[redacted]";
/// Stands where an address was taken out.
const LINK_REMOVED: &str = "[link removed]";
/// Bytes of a streamed answer that are recorded with its outcome.
const RELEASED_BYTES_MAX: usize = 1 << 20;

/// What is looked for, and what it came to.
pub(crate) struct Guard {
    sought: Vec<Redactable>,
    /// Hosts to which addresses may lead by themselves.
    hosts: Vec<String>,
    redactions: u32,
    released: String,
}

impl Guard {
    /// What the decision obliges to, and what no model may say.
    pub(crate) fn of(_world: &World, _asked: &ModelAsked, decision: &Decision) -> Self {
        let mut sought = vec![Redactable::Secret];
        for obligation in &decision.obligations {
            let Obligation::Redact(targets) = obligation else { continue };
            sought.extend(targets.iter().filter_map(|target| Redactable::of(target)).flatten());
        }
        sought.sort_unstable();
        sought.dedup();
        Self { sought, hosts: Vec::new(), redactions: 0, released: String::new() }
    }

    /// How much was taken out.
    pub(crate) const fn redactions(&self) -> u32 {
        self.redactions
    }

    /// What was passed on of an answer in events.
    pub(crate) fn released(&self) -> &str {
        &self.released
    }

    /// What is taken out of a text, in order and apart.
    fn found(&self, text: &str) -> Vec<(Range<usize>, &'static str)> {
        let secrets = redactable::find(text, &self.sought).into_iter();
        let mut found: Vec<_> = secrets.map(|bytes| (bytes, REDACTED)).collect();
        if text.contains(['/', ':', '.']) {
            let images = links(text)
                .into_iter()
                .filter(|link| link.is_image && !self.hosts.iter().any(|host| *host == link.host));
            found.extend(images.map(|link| (link.start..link.end, LINK_REMOVED)));
            let carriers = scan_kind(text, Kind::Link).into_iter();
            found.extend(carriers.map(|signal| (signal.start..signal.end, LINK_REMOVED)));
        }
        found.sort_by_key(|(bytes, _)| (bytes.start, usize::MAX - bytes.end));
        let mut end = 0;
        found.retain_mut(|(bytes, _)| {
            bytes.start = bytes.start.max(end);
            end = end.max(bytes.end);
            bytes.start < bytes.end
        });
        found
    }
}

impl Scan for Guard {
    fn scan(
        &mut self,
        _channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>> {
        let Release::To(release_to) = hold::release(text, from, is_final) else {
            let reason = "more of the answer would have to be looked at together than is";
            let withheld = Refusal::of(Code::ResultWithheld);
            return Err(Box::new(Refusal { reason: reason.to_owned(), ..withheld }));
        };
        if release_to == from {
            return Ok(Held { release_to, edits: Vec::new() });
        }
        let seen = text.get(..release_to).unwrap_or_default();
        let mut edits = Vec::new();
        for (bytes, with) in self.found(seen) {
            // What was passed on is apart from this, but for a bound that was reached.
            let bytes = bytes.start.max(from)..bytes.end;
            if bytes.start < bytes.end {
                self.redactions = self.redactions.saturating_add(1);
                edits.push(Edit { bytes, with: with.to_owned() });
            }
        }
        let room = RELEASED_BYTES_MAX.saturating_sub(self.released.len());
        let mut piece = seen.get(from..).unwrap_or_default().to_owned();
        for edit in edits.iter().rev() {
            piece.replace_range(edit.bytes.start - from..edit.bytes.end - from, &edit.with);
        }
        self.released.push_str(piece.get(..piece.floor_char_boundary(room)).unwrap_or_default());
        Ok(Held { release_to, edits })
    }
}
