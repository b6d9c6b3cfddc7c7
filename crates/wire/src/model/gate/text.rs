//! Text of one channel on its way: what was released and is still needed to understand the rest,
//! and what is held back.

use super::super::scan::{Channel, Scan, Words, masked, whole};
use crate::refusal::Refusal;
use lockgate_types::Code;

/// Bytes of a channel that are held back because more may belong to them. Beyond it the stream is
/// stopped: what cannot be looked at is not passed on.
pub const TEXT_HELD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of released text that are kept, at least, so that what stands behind them is understood.
pub const CONTEXT_BYTES: usize = 512;

/// Text of one channel.
#[derive(Debug)]
pub(super) struct Text {
    channel: Channel,
    /// What was released and is kept, then what is held back.
    window: String,
    released: usize,
    /// Where releases ended: nothing that is looked for stands across them.
    cuts: Vec<usize>,
    memory: Option<Memory>,
}

/// All that came and all that went out, for events that repeat the whole text.
#[derive(Debug, Default)]
struct Memory {
    came: String,
    went: String,
    is_masked: bool,
}

/// What goes out for a piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The piece as it came.
    Same,
    /// This instead; nothing, if it is empty.
    Other(String),
}

impl Text {
    pub(super) const fn new(channel: Channel) -> Self {
        let window = String::new();
        Self { channel, window, released: 0, cuts: Vec::new(), memory: None }
    }

    /// One that remembers all its text.
    pub(super) fn remembering(channel: Channel) -> Self {
        Self { memory: Some(Memory::default()), ..Self::new(channel) }
    }

    pub(super) const fn is_holding(&self) -> bool {
        self.released < self.window.len()
    }

    pub(super) const fn words(&self) -> Words {
        self.channel.words
    }

    pub(super) const fn is_sealed(&self) -> bool {
        self.channel.is_sealed
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str, scan: &mut dyn Scan) -> Result<Piece, Box<Refusal>> {
        if piece.is_empty() {
            return Ok(Piece::Same);
        }
        let was_holding = self.is_holding();
        self.window.push_str(piece);
        if let Some(memory) = &mut self.memory {
            memory.came.push_str(piece);
        }
        let (out, is_masked) = self.release(scan, false)?;
        let is_same = !was_holding && !is_masked && !self.is_holding();
        Ok(if is_same { Piece::Same } else { Piece::Other(out) })
    }

    /// What was held back, since no more follows.
    pub(super) fn finish(&mut self, scan: &mut dyn Scan) -> Result<String, Box<Refusal>> {
        if !self.is_holding() {
            return Ok(String::new());
        }
        Ok(self.release(scan, true)?.0)
    }

    /// What may go, and whether something in it is masked.
    fn release(
        &mut self,
        scan: &mut dyn Scan,
        is_final: bool,
    ) -> Result<(String, bool), Box<Refusal>> {
        let from = self.released;
        let held = scan.scan(&self.channel, &self.window, from, is_final)?;
        let masked = masked(&self.channel, &self.window, from, &held)?;
        self.released = held.release_to;
        let length = self.window.len() - self.released;
        if length > if is_final { 0 } else { TEXT_HELD_BYTES_MAX } {
            let reason = "a stretch of text is too long to be looked at before it is passed on";
            let refusal = Refusal::of(Code::ResultWithheld);
            return Err(Box::new(Refusal { reason: reason.to_owned(), ..refusal }));
        }
        let is_masked = masked.is_some();
        let plain = || self.window.get(from..self.released).unwrap_or_default().to_owned();
        let out = masked.unwrap_or_else(plain);
        if let Some(memory) = &mut self.memory {
            memory.went.push_str(&out);
            memory.is_masked |= is_masked;
        }
        self.trim();
        Ok((out, is_masked))
    }

    /// Forgets what is too far behind to matter. What is kept begins where a release ended, so that
    /// nothing is cut in two.
    fn trim(&mut self) {
        if self.cuts.last() != Some(&self.released) {
            self.cuts.push(self.released);
        }
        if self.released < CONTEXT_BYTES * 2 {
            return;
        }
        let least = self.released - CONTEXT_BYTES;
        let Some(cut) = self.cuts.iter().copied().rfind(|cut| *cut <= least) else { return };
        self.window.drain(..cut);
        self.released -= cut;
        self.cuts.retain(|it| *it > cut);
        self.cuts.iter_mut().for_each(|it| *it -= cut);
    }

    /// What stands for the whole text in an event that repeats it. `None`: the text as it is there.
    pub(super) fn settle(
        &self,
        text: &str,
        scan: &mut dyn Scan,
    ) -> Result<Option<String>, Box<Refusal>> {
        match &self.memory {
            Some(memory) if memory.came == text && !self.is_holding() => {
                Ok(memory.is_masked.then(|| memory.went.clone()))
            }
            _ => whole(scan, &self.channel, text),
        }
    }
}
