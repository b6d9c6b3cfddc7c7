//! Prompt injection: words in a text that give orders to the model which reads it.
//!
//! Two readers go over the same words once: rules that know how such orders are put, and a linear
//! model that knows which words they are made of. What either finds is a reason to trust a session
//! less, never a reason to trust it more: a text in which nothing is found may still be one.

mod cues;
pub mod features;
mod lexicon;
pub mod model;
mod rules;

use crate::signal::{Kind, SCORE_MAX, Signal};
use crate::words::{Word, Words};
use features::{BLOCK_WORDS, Before, PER_WORD, WINDOW_BLOCKS};
use lexicon::Role;
use model::Model;

/// A window with this score is a find; nothing weaker becomes a signal.
pub const THRESHOLD: u16 = 500;
/// The class of what the model finds, where no rule is surer.
pub const MODEL: &str = "model";
/// How sure rules have to be that a document gives orders for it not to be shown. Pages have
/// hundreds of windows where results have a few, and in those about prompts weak hints add up to
/// 750.
pub const DOCUMENT_RULES: u16 = 800;
/// The same of the model alone. Both are from measuring: see `docs/signals.md`, and ADR 55.
pub const DOCUMENT_MODEL: u16 = 700;
/// Words of a text below which the model says nothing: names of members and labels are no orders,
/// and have less of what it has learnt than a sentence does. Rules read them all the same.
const MODEL_WORDS_MIN: usize = 6;
/// Words that are remembered, for the steps of rules.
const RECENT: usize = 32;
/// Words within which what several rules say adds up.
const TOGETHER: usize = 64;
/// What a tag of a chat template counts for.
const TAG_SCORE: u16 = 400;
/// What a speaker's name with a colon, at the start of a line, counts for.
const SPEAKER_SCORE: u16 = 250;
/// How far above the threshold a value of the model scores full.
const VALUE_FULL: i32 = 40_000;

/// Finds injections, in order.
pub(crate) fn find(text: &str, signals: &mut Vec<Signal>) {
    for region in cues::regions(text) {
        let from = signals.len();
        let mut reader = Reader::new(&model::SHIPPED);
        for word in Words::of(text.get(region.clone()).unwrap_or_default()) {
            reader.read(&word, signals);
        }
        reader.close(signals);
        for signal in signals.iter_mut().skip(from) {
            (signal.start, signal.end) = (signal.start + region.start, signal.end + region.start);
        }
    }
}

/// What the rules find by themselves: for whoever believes them sooner than the model, and for
/// reports.
pub fn find_by_rules(text: &str) -> Vec<Signal> {
    let model = Model::empty();
    let mut reader = Reader::new(&model);
    let mut signals = Vec::new();
    for word in Words::of(text) {
        reader.read(&word, &mut signals);
    }
    reader.close(&mut signals);
    signals
}

/// How sure each reader of a text is that it gives orders, in thousandths; 0 if it finds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sure {
    /// The rules, by themselves.
    pub rules: u16,
    /// The model, where no rule is surer.
    pub model: u16,
}

impl Sure {
    /// Of a text in which these were found. Finds of both that overlap are one signal: what rules
    /// say by themselves is asked for again, where anything was found.
    pub fn of(text: &str, signals: &[Signal]) -> Self {
        let orders = signals.iter().filter(|signal| signal.kind == Kind::Injection);
        if orders.clone().next().is_none() {
            return Self::default();
        }
        let rules = find_by_rules(text).iter().map(|signal| signal.score).max().unwrap_or(0);
        let of_model = orders.filter(|signal| signal.class == MODEL);
        Self { rules, model: of_model.map(|signal| signal.score).max().unwrap_or(0) }
    }

    /// The surer of both.
    pub fn either(self) -> u16 {
        self.rules.max(self.model)
    }
}

/// The sums of windows: as many blocks as there are up to a window's length, then one further each.
pub(crate) fn windows(blocks: &[(i32, u32)]) -> impl Iterator<Item = (i32, u32)> + '_ {
    let whole = blocks.windows(WINDOW_BLOCKS.min(blocks.len()).max(1));
    whole.map(|window| {
        window.iter().fold((0, 0), |(sum, count), block| (sum + block.0, count + block.1))
    })
}

/// A rule that matched.
#[derive(Clone, Copy, Debug)]
struct Hit {
    rule: &'static str,
    score: u16,
    /// Number of the last word.
    at: usize,
    start: usize,
    end: usize,
}

struct Reader<'a> {
    model: &'a Model,
    count: usize,
    /// Roles and beginnings of the last words, by number modulo their number.
    recent: [(u64, usize); RECENT],
    hits: Vec<Hit>,
    before: Before,
    /// The blocks of the window: sum, number of features, first byte, last byte.
    blocks: Vec<(i32, u32, usize, usize)>,
    found: Option<Signal>,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            model,
            count: 0,
            recent: [(0, 0); RECENT],
            hits: Vec::new(),
            before: Before::default(),
            blocks: Vec::with_capacity(WINDOW_BLOCKS + 1),
            found: None,
        }
    }

    fn read(&mut self, word: &Word, signals: &mut Vec<Signal>) {
        self.weigh(word, signals);
        let roles = lexicon::roles(word);
        if let Some(slot) = self.recent.get_mut(self.count % RECENT) {
            *slot = (roles, word.start);
        }
        if roles != 0 {
            self.mark(word, roles, signals);
            for rule in rules::ending_in(roles) {
                if let Some(start) = self.start_of(rule.steps) {
                    self.hit(rule.class, rule.score, start, word.end, signals);
                }
            }
        }
        self.count += 1;
    }

    /// Where a sequence that ends with this word begins.
    fn start_of(&self, steps: &[(Role, usize)]) -> Option<usize> {
        let (mut at, mut start) = (self.count, 0);
        for (role, gap) in steps {
            let back = (1..=*gap).find_map(|back| {
                let at = at.checked_sub(back)?;
                let (roles, start) = self.recent.get(at % RECENT)?;
                (roles & role.bit() != 0).then_some((at, *start))
            });
            (at, start) = back?;
        }
        Some(start)
    }

    /// Tags of chat templates, and speakers that a text claims to have.
    fn mark(&mut self, word: &Word, roles: u64, signals: &mut Vec<Signal>) {
        let is_tag = roles & Role::Tag.bit() != 0
            && matches!(word.before, b'<' | b'[' | b'|' | b'/')
            && matches!(word.after, b'>' | b']' | b'|' | b'_');
        if is_tag {
            // `<|im_start|>` is of a chat template, `<system>` may be of a page.
            let class = if word.before == b'|' { "chat_template" } else { "markup" };
            self.hit(class, TAG_SCORE, word.start, word.end, signals);
        }
        let is_speaker = roles & Role::Speaker.bit() != 0
            && word.after == b':'
            && matches!(word.before, 0 | b'\n' | b'#');
        if is_speaker {
            self.hit("speaker", SPEAKER_SCORE, word.start, word.end, signals);
        }
    }

    fn hit(
        &mut self,
        rule: &'static str,
        score: u16,
        start: usize,
        end: usize,
        signals: &mut Vec<Signal>,
    ) {
        let at = self.count;
        self.hits.retain(|hit| hit.at + TOGETHER > at);
        // What is said again counts once, as the strongest and the latest.
        match self.hits.iter_mut().find(|hit| hit.rule == rule) {
            Some(hit) => (hit.score, hit.at, hit.end) = (hit.score.max(score), at, end),
            None => self.hits.push(Hit { rule, score, at, start, end }),
        }
        let sum: u16 = self.hits.iter().fold(0, |sum, hit| sum.saturating_add(hit.score));
        if sum < THRESHOLD {
            return;
        }
        let Some(strongest) = self.hits.iter().max_by_key(|hit| hit.score) else { return };
        let start = self.hits.iter().map(|hit| hit.start).min().unwrap_or(start);
        let end = self.hits.iter().map(|hit| hit.end).max().unwrap_or(end);
        self.found(Signal::new(Kind::Injection, strongest.rule, start..end, sum), signals);
    }

    /// Adds a word to its block, and looks at the window when the block is full.
    fn weigh(&mut self, word: &Word, signals: &mut Vec<Signal>) {
        if self.count.is_multiple_of(BLOCK_WORDS) {
            self.look(signals);
            if self.blocks.len() == WINDOW_BLOCKS {
                self.blocks.remove(0);
            }
            self.blocks.push((0, 0, word.start, word.end));
        }
        let features = self.before.next(word);
        let sum: i32 = features.iter().map(|feature| self.model.weight(*feature)).sum();
        if let Some(block) = self.blocks.last_mut() {
            block.0 += sum;
            block.1 += u32::try_from(PER_WORD).unwrap_or(0);
            block.3 = word.end;
        }
    }

    fn look(&mut self, signals: &mut Vec<Signal>) {
        // A window that is not full counts only where the text ends in it.
        if self.blocks.len() == WINDOW_BLOCKS {
            self.look_at_window(signals);
        }
    }

    fn look_at_window(&mut self, signals: &mut Vec<Signal>) {
        let (sum, count) =
            self.blocks.iter().fold((0, 0), |(sum, count), block| (sum + block.0, count + block.1));
        let above = self.model.value(sum, count).saturating_sub(self.model.threshold());
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else { return };
        if above < 0 {
            return;
        }
        let above = above.min(VALUE_FULL) * i32::from(SCORE_MAX - THRESHOLD) / VALUE_FULL;
        let score = THRESHOLD + u16::try_from(above).unwrap_or(0);
        let signal = Signal::new(Kind::Injection, MODEL, first.2..last.3, score);
        self.found(signal, signals);
    }

    /// What overlaps is one find: of the surest, as long as both.
    fn found(&mut self, signal: Signal, signals: &mut Vec<Signal>) {
        match &mut self.found {
            Some(last) if last.class == signal.class && last.end >= signal.start => {
                last.start = last.start.min(signal.start);
                last.end = last.end.max(signal.end);
                last.score = last.score.max(signal.score);
            }
            Some(last) if last.end >= signal.start => {
                let stronger =
                    if signal.score > last.score { signal.clone() } else { last.clone() };
                let (start, end) = (last.start.min(signal.start), last.end.max(signal.end));
                *last = Signal { start, end, ..stronger };
            }
            found => signals.extend(found.replace(signal)),
        }
    }

    fn close(mut self, signals: &mut Vec<Signal>) {
        if self.count >= MODEL_WORDS_MIN {
            self.look_at_window(signals);
        }
        signals.extend(self.found);
    }
}
