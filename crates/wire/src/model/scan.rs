//! What is asked of whoever knows what may pass: of texts where they may be cut and what is masked,
//! of calls whether they may be made.

use crate::refusal::Refusal;
use lockgate_types::Code;
use std::ops::Range;

/// A place in an answer where text arrives in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    /// What is said there.
    pub words: Words,
    /// The choice, the block or the item of the answer.
    pub answer: u64,
    /// The part within it.
    pub part: u64,
    /// Whether a signature covers it: it passes as it is, or the answer is stopped.
    pub is_sealed: bool,
}

/// What is said in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Words {
    /// The answer.
    Text,
    /// That the model declines.
    Refusal,
    /// What the model thinks.
    Reasoning,
    /// What a tool of the provider gave back.
    Result,
    /// Something else: a citation, or what is not known here.
    Other,
}

/// Looks at texts before they are released.
pub trait Scan {
    /// Looks at a text of which the bytes up to `from` were released and what follows was not; more
    /// may follow if it is not final. What is said to be released may neither become, nor extend,
    /// nor be the beginning of something that would be masked, whatever follows. A final text is
    /// released to its end.
    fn scan(
        &mut self,
        channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>>;
}

/// How much of a text may go, and what of it is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Up to this byte.
    pub release_to: usize,
    /// In order and apart, between what was released before and that byte.
    pub edits: Vec<Edit>,
}

/// What goes out instead of a part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The part.
    pub bytes: Range<usize>,
    /// What stands there for it.
    pub with: String,
}

/// A call that the model proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Which one of this answer.
    pub key: u32,
    /// The choice it belongs to.
    pub choice: u64,
    /// What its result will refer to it by.
    pub id: Option<String>,
    /// The tool. What has no name goes by its type.
    pub name: String,
    /// The arguments as they were written: JSON for functions, anything for others.
    pub arguments: String,
    /// Set if the provider runs it by itself: its type. By the time it is seen it may have run.
    pub hosted: Option<String>,
    /// The server that a provider would call.
    pub server: Option<String>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets it as it came.
    Release,
    /// The client gets the reason in its place, as words of the model.
    Refuse(Box<Refusal>),
}

/// Looks at a text that is whole. `None`: it passes as it is.
pub(super) fn whole(
    scan: &mut dyn Scan,
    channel: &Channel,
    text: &str,
) -> Result<Option<String>, Box<Refusal>> {
    if text.is_empty() {
        return Ok(None);
    }
    let held = scan.scan(channel, text, 0, true)?;
    let masked = masked(channel, text, 0, &held)?;
    if held.release_to != text.len() {
        return Err(broken("a text that is final was not released"));
    }
    Ok(masked)
}

/// The part from a byte on as it goes out. `None`: as it is.
pub(super) fn masked(
    channel: &Channel,
    text: &str,
    from: usize,
    held: &Held,
) -> Result<Option<String>, Box<Refusal>> {
    let wrong = || broken("what is masked does not stand in what is released");
    if held.release_to < from || !text.is_char_boundary(held.release_to) {
        return Err(wrong());
    }
    if held.edits.is_empty() {
        return Ok(None);
    }
    if channel.is_sealed {
        let reason = "what would have to be masked is covered by a signature";
        return Err(Box::new(Refusal {
            reason: reason.to_owned(),
            ..Refusal::of(Code::ResultWithheld)
        }));
    }
    let (mut out, mut at) = (String::new(), from);
    for edit in &held.edits {
        let before = text.get(at..edit.bytes.start).ok_or_else(wrong)?;
        if edit.bytes.end < edit.bytes.start || edit.bytes.end > held.release_to {
            return Err(wrong());
        }
        out.push_str(before);
        out.push_str(&edit.with);
        at = edit.bytes.end;
    }
    out.push_str(text.get(at..held.release_to).ok_or_else(wrong)?);
    Ok(Some(out))
}

fn broken(reason: &str) -> Box<Refusal> {
    Box::new(Refusal { reason: reason.to_owned(), ..Refusal::of(Code::InvariantBroken) })
}

/// What a provider sent is not its own protocol.
pub(super) fn odd(reason: &str) -> Box<Refusal> {
    Box::new(Refusal { reason: reason.to_owned(), ..Refusal::of(Code::UpstreamProtocol) })
}

/// What a provider sent exceeds a bound.
pub(super) fn too_much(reason: &str) -> Box<Refusal> {
    Box::new(Refusal { reason: reason.to_owned(), ..Refusal::of(Code::UpstreamTooLarge) })
}
