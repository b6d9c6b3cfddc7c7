//! What is looked for in an answer before it is passed on.

use super::checks::{self, Checked, Checks};
use super::intake::kinds;
use super::{ModelAside, Notes};
use lockgate_core::World;
use lockgate_core::declare::{AnswerGuard, FoundWord, LinksWord};
use lockgate_detect::hold::{self, Release};
use lockgate_detect::redactable::{self, Redactable};
use lockgate_detect::{Link, links, suspicious};
use lockgate_types::Code;
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::model::ModelAsked;
use lockgate_wire::model::scan::Words;
use lockgate_wire::model::{Channel, Edit, Held, Scan};
use lockgate_wire::refusal::Refusal;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Stands where a text was taken out.
const REDACTED: &str = "[redacted]";
/// Stands where an address was taken out.
const LINK_REMOVED: &str = "[link removed]";
/// Bytes of a streamed answer that are recorded with its outcome.
const RELEASED_BYTES_MAX: usize = 1 << 20;

/// What is looked for, and what it came to.
#[derive(Clone)]
pub(crate) struct Guard {
    sought: Vec<Redactable>,
    rules: AnswerGuard,
    /// What stands for what was taken out of the prompt, to be put back.
    restored: Vec<(String, String)>,
    redactions: u32,
    notes: Arc<Notes>,
    released: String,
    checks: Option<Arc<Checks>>,
    checked: Checked,
    findings: BTreeSet<&'static str>,
}

impl Guard {
    /// What the entry and the decision say.
    pub(crate) fn of(
        world: &World,
        asked: &ModelAsked,
        decision: &Decision,
        aside: &ModelAside,
    ) -> Self {
        let entry = world.models.of(asked).map(|(_, model)| &model.declared.guard);
        let rules = entry.map(|guard| guard.answer.clone()).unwrap_or_default();
        let personal = kinds(&rules.personal).into_iter().map(Redactable::Pii);
        let mut sought: Vec<Redactable> = personal.collect();
        if rules.secrets != FoundWord::Pass {
            sought.push(Redactable::Secret);
        }
        for obligation in &decision.obligations {
            let Obligation::Redact(targets) = obligation else { continue };
            sought.extend(targets.iter().filter_map(|target| Redactable::of(target)).flatten());
        }
        sought.sort_unstable();
        sought.dedup();
        let restores = entry.is_some_and(|guard| guard.prompt.restore);
        let restored = if restores { aside.taken.placeholders.clone() } else { Vec::new() };
        let (redactions, notes) = (aside.taken.redactions, Arc::clone(&aside.notes));
        Self {
            sought,
            rules,
            restored,
            redactions,
            notes,
            released: String::new(),
            checks: aside.checks.clone(),
            checked: Checked::default(),
            findings: BTreeSet::new(),
        }
    }

    /// Thousandths of the mean log-probability below which an answer is not sure.
    pub(crate) fn logprob_least(&self) -> Option<i64> {
        self.rules.logprob_mean_min.map(i64::from)
    }

    /// What was found about the answer.
    pub(crate) fn findings(&self) -> BTreeSet<&'static str> {
        self.findings.clone()
    }

    /// Holds a text against what has to be true of it: how much of it may go.
    fn check(
        &mut self,
        channel: &Channel,
        (text, from): (&str, usize),
        (release_to, is_final): (usize, bool),
    ) -> Result<usize, Box<Refusal>> {
        let Some(checks) = &self.checks else { return Ok(release_to) };
        let looked = self.checked.look(checks, channel, (text, from), (release_to, is_final));
        if !looked.found.is_empty() {
            self.notes.find();
            self.findings.extend(looked.found);
        }
        match looked.refused {
            None => Ok(looked.release_to),
            Some(finding) => {
                let reason = checks::reason(finding).to_owned();
                Err(Box::new(Refusal { reason, ..Refusal::of(Code::AnswerRefused) }))
            }
        }
    }

    /// How much was taken out.
    pub(crate) const fn redactions(&self) -> u32 {
        self.redactions
    }

    /// What was passed on of an answer in events.
    pub(crate) fn released(&self) -> &str {
        &self.released
    }

    /// What is taken out of a text, and what stands there instead: in order and apart.
    fn found(&self, text: &str) -> Vec<Found> {
        let out = |bytes: Range<usize>| Found { bytes, with: REDACTED.into(), is_taken: true };
        let mut found: Vec<Found> =
            redactable::find(text, &self.sought).into_iter().map(out).collect();
        let is_sign = |byte: u8| matches!(byte, b'/' | b':' | b'.');
        if self.rules.links == LinksWord::Strip && text.bytes().any(is_sign) {
            let links = links(text);
            let is_foreign =
                |link: &&Link| link.is_image && !self.rules.image_hosts.contains(&link.host);
            let images = links.iter().filter(is_foreign).map(|it| it.start..it.end);
            let carriers = suspicious(text, &links).into_iter().map(|it| it.start..it.end);
            let out = |bytes| Found { bytes, with: LINK_REMOVED.into(), is_taken: true };
            found.extend(images.chain(carriers).map(out));
        }
        for (placeholder, value) in &self.restored {
            let places = text.match_indices(placeholder.as_str());
            found.extend(places.map(|(at, _)| Found {
                bytes: at..at + placeholder.len(),
                with: value.clone().into(),
                is_taken: false,
            }));
        }
        found.sort_by_key(|it| (it.bytes.start, usize::MAX - it.bytes.end));
        let mut end = 0;
        found.retain_mut(|it| {
            it.bytes.start = it.bytes.start.max(end);
            end = end.max(it.bytes.end);
            it.bytes.start < it.bytes.end
        });
        found
    }
}

/// Something that does not pass as it is.
struct Found {
    bytes: Range<usize>,
    with: Cow<'static, str>,
    /// Whether it is taken out, and not put back.
    is_taken: bool,
}

impl Scan for Guard {
    fn scan(
        &mut self,
        channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>> {
        let Release::To(release_to) = hold::release(text, from, is_final) else {
            let reason = "more of the answer would have to be looked at together than is";
            let withheld = Refusal::of(Code::ResultWithheld);
            return Err(Box::new(Refusal { reason: reason.to_owned(), ..withheld }));
        };
        if release_to == from && !is_final {
            return Ok(Held { release_to, edits: Vec::new() });
        }
        let release_to = self.check(channel, (text, from), (release_to, is_final))?;
        if release_to == from {
            return Ok(Held { release_to, edits: Vec::new() });
        }
        if channel.words == Words::Refusal {
            self.notes.decline();
        }
        let seen = text.get(..release_to).unwrap_or_default();
        let mut edits = Vec::new();
        for Found { bytes, with, is_taken } in self.found(seen) {
            // What was passed on is apart from what is not yet.
            if bytes.end <= from {
                continue;
            }
            if is_taken && self.rules.secrets == FoundWord::Refuse {
                return Err(Box::new(Refusal::of(Code::ResultWithheld)));
            }
            if is_taken {
                self.notes.find();
                self.redactions = self.redactions.saturating_add(1);
            }
            let bytes = bytes.start.max(from)..bytes.end;
            edits.push(Edit { bytes, with: with.into_owned() });
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
