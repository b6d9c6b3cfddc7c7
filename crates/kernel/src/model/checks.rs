//! What has to be true of an answer before anybody gets it: its form, what it cites, and what it
//! does not say over again. An entry and a task may each ask for something; the stricter holds.
//!
//! What is only noted passes, is recorded and counts for risk. What refuses is not passed on: of a
//! stream, whatever could still turn out so is held back, within the bound that holds for all text.

use super::ModelRequest;
use crate::port::Refusal;
use lockgate_core::World;
use lockgate_core::conform::Conformance;
use lockgate_core::declare::{AnswerChecks, CheckWord};
use lockgate_core::exposure;
use lockgate_core::model::Model;
use lockgate_detect::active::{has_active_markup, has_unsafe_code, open_tag};
use lockgate_detect::verbatim::{Protected, Said};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Code, Json, JsonLimits};
use lockgate_wire::model::asked::Kind;
use lockgate_wire::model::wanted::Wanted;
use lockgate_wire::model::{Asked, Channel, Words};
use std::collections::{BTreeMap, BTreeSet};

/// It is not of the form that was asked for.
const SCHEMA: &str = "answer:schema";
/// It cites nothing, or what was not given.
const CITATIONS: &str = "answer:citations";
/// It says its instructions over again.
const INSTRUCTIONS: &str = "answer:instructions";
/// It says something confidential over again.
const VERBATIM: &str = "answer:verbatim";
/// It has markup that acts.
const MARKUP: &str = "answer:markup";
/// It has code that does harm.
const UNSAFE: &str = "answer:code";

/// Bytes of the texts of one answer that are put together to be looked at as a whole.
const WHOLE_BYTES_MAX: usize = 1 << 20;
/// What begins a block of data in a prompt of the gate's own, and what ends one.
const FENCE: [&str; 2] = ["<<<data ", ">>>end "];

/// What is asked of an answer.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    rules: Rules,
    schemas: Vec<Conformance>,
    /// The numbers of the sources that stand in the prompt.
    sources: BTreeSet<u32>,
    instructions: Option<Protected>,
    confidential: Option<Protected>,
}

/// What becomes of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rules {
    schema: CheckWord,
    citations: CheckWord,
    instructions: CheckWord,
    verbatim: CheckWord,
    markup: CheckWord,
    code: CheckWord,
}

impl Checks {
    /// What is asked of the answer to a request. `None`: nothing. A form that cannot be checked is
    /// refused before anybody is asked.
    pub(super) fn of(
        world: &World,
        model: &Model,
        request: &ModelRequest,
        body: &Json,
    ) -> Result<Option<Self>, Refusal> {
        let task = request.identity.task.as_ref().and_then(|task| world.tasks.get(task));
        let all = [Some(&model.declared.guard.checks), task.map(|task| &task.checks)];
        let all = || all.into_iter().flatten();
        let strictest =
            |of: fn(&AnswerChecks) -> CheckWord| all().map(of).max().unwrap_or_default();
        let mut rules = Rules {
            schema: strictest(|it| it.asked_schema),
            citations: strictest(|it| it.citations),
            instructions: strictest(|it| it.instructions),
            verbatim: strictest(|it| it.verbatim),
            markup: strictest(|it| it.markup),
            code: strictest(|it| it.code),
        };
        let declared: Vec<&str> = all().filter_map(|it| it.schema.as_deref()).collect();
        let is_declared = !declared.is_empty();
        // What a run's own steps have to come to is for the run to check: not each is an answer.
        let declared = if request.run.is_some() { Vec::new() } else { declared };
        if request.run.is_some() {
            (rules.schema, rules.citations) = (CheckWord::Pass, CheckWord::Pass);
        }
        let schemas = schemas(declared.into_iter(), rules, request, body)?;
        if is_declared && !schemas.is_empty() {
            rules.schema = CheckWord::Refuse;
        }
        if rules == Rules::default() {
            return Ok(None);
        }
        let read = Asked::read(request.api, body);
        let read = read
            .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })?;
        let asks = |word: CheckWord| word != CheckWord::Pass;
        let (mut instructions, mut confidential) = (Vec::new(), Vec::new());
        let mut sources = BTreeSet::new();
        for segment in &read.segments {
            let text = segment.text.as_ref();
            match &segment.kind {
                Kind::Instruction => instructions.push(text),
                Kind::Result { name: Some(name), .. } if is_confidential(world, name) => {
                    confidential.push(text);
                }
                _ if asks(rules.verbatim) => confidential.extend(fenced(text)),
                _ => {}
            }
            if asks(rules.citations) {
                sources.extend(text.lines().filter_map(source));
            }
        }
        let protected = |word, texts: Vec<&str>| match asks(word) {
            true => Protected::of(texts.into_iter()),
            false => None,
        };
        let instructions = protected(rules.instructions, instructions);
        let confidential = protected(rules.verbatim, confidential);
        Ok(Some(Self { rules, schemas, sources, instructions, confidential }))
    }

    /// Whether an answer is held until it is whole.
    fn holds_all(&self) -> bool {
        let refuses = |word: CheckWord| word == CheckWord::Refuse;
        refuses(self.rules.citations) || refuses(self.rules.schema) && !self.schemas.is_empty()
    }

    /// Whether texts have to be put together.
    fn looks_at_whole(&self) -> bool {
        self.rules.citations != CheckWord::Pass || !self.schemas.is_empty()
    }
}

/// The forms that an answer has to have.
fn schemas<'a>(
    declared: impl Iterator<Item = &'a str>,
    rules: Rules,
    request: &ModelRequest,
    body: &Json,
) -> Result<Vec<Conformance>, Refusal> {
    let mut wanted: Vec<Json> = Vec::new();
    for text in declared {
        // The bundle was not loaded with one that cannot be read.
        let read = Json::parse(text.as_bytes(), &JsonLimits::OWN);
        wanted.push(read.map_err(|_| Refusal::of(Code::InvariantBroken))?);
    }
    if rules.schema != CheckWord::Pass {
        match Wanted::of(request.api, body) {
            Wanted::Text => {}
            Wanted::Object => wanted.push(object()),
            Wanted::Schema(schema) => wanted.push(schema.clone()),
        }
    }
    let compiled = wanted.iter().map(Conformance::compile);
    let compiled: Result<Vec<_>, _> = compiled.collect();
    compiled.map_err(|unsupported| {
        let reason = format!("an answer could not be held against what is asked: {unsupported}");
        Refusal { reason, ..Refusal::of(Code::AnswerRefused) }
    })
}

fn object() -> Json {
    lockgate_types::Object::new().with("type", "object").into()
}

/// Whether what is said to be a tool's result is confidential, as the tool declares.
fn is_confidential(world: &World, name: &str) -> bool {
    let mut labels =
        super::propose::operations_called(world, name).map(|it| exposure::returned(world, it));
    labels.any(|label| label.confidentiality >= Confidentiality::Confidential)
}

/// What stands between fences of the gate's own and is confidential by what is written there.
fn fenced(text: &str) -> Vec<&str> {
    let [begins, ends] = FENCE;
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(begins) {
        let block = block.split_once(ends).map_or(block, |(block, _)| block);
        let known = block.lines().nth(1).unwrap_or_default();
        let levels = [Confidentiality::Confidential, Confidentiality::Restricted];
        let is_it = levels
            .iter()
            .any(|level| known.ends_with(&format!("confidentiality: {}", level.as_str())));
        if is_it {
            found.push(block.split_once(known).map_or(block, |(_, data)| data));
        }
        rest = rest.split_once(begins).map_or("", |(_, after)| after);
    }
    found
}

/// The number of the source that a line of a prompt begins.
fn source(line: &str) -> Option<u32> {
    let line = line.trim_start();
    let after =
        [FENCE[0], "[", "<document index=\""].into_iter().find_map(|it| line.strip_prefix(it));
    let after = after?;
    let end = after.find(|it: char| !it.is_ascii_digit())?;
    let (number, rest) = after.split_at_checked(end)?;
    rest.starts_with([' ', ']', '"']).then(|| number.parse().ok()).flatten()
}

/// The numbers that an answer cites: `[1]`, `[2, 3]`.
fn cited(answer: &str) -> BTreeSet<u32> {
    let inside = answer.split('[').skip(1).filter_map(|piece| Some(piece.split_once(']')?.0));
    let numbers = inside.map(|all| all.split(',').map(|it| it.trim().parse().ok()).collect());
    numbers.flat_map(|all: Option<Vec<u32>>| all.unwrap_or_default()).collect()
}

/// What is found about an answer, and what of it may go.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Up to this byte.
    pub(super) release_to: usize,
    /// Words of the gate.
    pub(super) found: Vec<&'static str>,
    /// One for which it is refused.
    pub(super) refused: Option<&'static str>,
}

/// An answer under the checks: what of its texts has gone out, where they are looked at as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    texts: BTreeMap<Channel, String>,
    bytes: usize,
}

impl Checked {
    /// Looks at a text of which the bytes up to `from` went out, and those up to `release_to`
    /// could.
    pub(super) fn look(
        &mut self,
        checks: &Checks,
        channel: &Channel,
        (text, from): (&str, usize),
        (release_to, is_final): (usize, bool),
    ) -> Looked {
        let mut looked = Looked { release_to, ..Looked::default() };
        let rules = &checks.rules;
        let again = [
            (&checks.instructions, rules.instructions, INSTRUCTIONS),
            (&checks.confidential, rules.verbatim, VERBATIM),
        ];
        for (protected, word, finding) in again {
            match protected.as_ref().map(|it| it.said(text, is_final)) {
                Some(Said::Again) => looked.find(word, finding),
                Some(Said::Perhaps(at)) if word == CheckWord::Refuse => looked.hold(at.max(from)),
                Some(Said::Perhaps(_) | Said::Little) | None => {}
            }
        }
        if channel.words == Words::Reasoning {
            return looked;
        }
        if rules.markup == CheckWord::Refuse && !is_final {
            looked.hold(open_tag(text).unwrap_or(release_to).max(from));
        }
        if rules.code == CheckWord::Refuse && !is_final {
            let lines = text.get(..release_to).unwrap_or_default();
            let ended = lines.rfind('\n').map_or(from, |at| at + 1);
            let goes_on =
                lines.get(..ended).is_some_and(|it| it.trim_end_matches('\n').ends_with('\\'));
            looked.hold(if goes_on { from } else { ended.max(from) });
        }
        let seen = text.get(..looked.release_to).unwrap_or_default();
        for (word, finding, is_there) in [
            (rules.markup, MARKUP, has_active_markup as fn(&str) -> bool),
            (rules.code, UNSAFE, has_unsafe_code),
        ] {
            if word != CheckWord::Pass && is_there(seen) {
                looked.find(word, finding);
            }
        }
        if channel.words == Words::Text && checks.looks_at_whole() {
            if checks.holds_all() && !is_final {
                looked.hold(from);
            }
            let piece = text.get(from..looked.release_to).unwrap_or_default();
            self.take(checks, channel, (piece, from == 0), is_final, &mut looked);
        }
        looked
    }

    /// Puts a text together, and looks at it once it is whole.
    fn take(
        &mut self,
        checks: &Checks,
        channel: &Channel,
        (piece, begins): (&str, bool),
        is_final: bool,
        looked: &mut Looked,
    ) {
        let text = self.texts.entry(channel.clone()).or_default();
        if begins {
            self.bytes = self.bytes.saturating_sub(text.len());
            text.clear();
        }
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes > WHOLE_BYTES_MAX {
            // More than anybody puts together: it is not known to be as it has to.
            if is_final && checks.rules.schema != CheckWord::Pass && !checks.schemas.is_empty() {
                looked.find(checks.rules.schema, SCHEMA);
            }
            return;
        }
        text.push_str(piece);
        if !is_final || text.trim().is_empty() {
            return;
        }
        let is_of = |schema: &Conformance| {
            let json = Json::parse(text.trim().as_bytes(), &JsonLimits::MESSAGE);
            json.is_ok_and(|json| schema.check(&json).is_ok())
        };
        if !checks.schemas.iter().all(is_of) {
            looked.find(checks.rules.schema, SCHEMA);
        }
        let cited = cited(text);
        let is_sound = !cited.is_empty() && cited.is_subset(&checks.sources);
        if checks.rules.citations != CheckWord::Pass && !is_sound {
            looked.find(checks.rules.citations, CITATIONS);
        }
    }
}

impl Looked {
    fn find(&mut self, word: CheckWord, finding: &'static str) {
        if word == CheckWord::Pass {
            return;
        }
        self.found.push(finding);
        if word == CheckWord::Refuse {
            self.refused.get_or_insert(finding);
        }
    }

    fn hold(&mut self, at: usize) {
        self.release_to = self.release_to.min(at);
    }
}

/// Why an answer is refused.
pub(super) fn reason(finding: &str) -> &'static str {
    match finding {
        SCHEMA => "the answer is not of the form that it has to have",
        CITATIONS => "the answer cites nothing, or what it was not given",
        INSTRUCTIONS => "the answer says its instructions over again",
        VERBATIM => "the answer says over again, word for word, what is confidential",
        MARKUP => "the answer has markup that acts where it is shown",
        _ => "the answer has code that may do harm where it is run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_lines_of_a_prompt_number() {
        let prompt = "<<<data 2 documents 3f\n| [9] no, that is data\n[1] one\n see [4]\n\
                      <document index=\"7\">\n[x] none\n[3";
        let found: BTreeSet<u32> = prompt.lines().filter_map(source).collect();
        assert_eq!(found, [1, 2, 7].into());
        assert_eq!(cited("so [1] and [2, 7], not [x] nor array[3"), [1, 2, 7].into());
    }

    #[test]
    fn what_is_confidential_between_fences_is_found() {
        let block = |number: u32, level: &str, text: &str| {
            format!(
                "<<<data {number} documents ab\norigin: system; trust: trusted; confidentiality: \
                 {level}\n| {text}\n>>>end {number} ab\n"
            )
        };
        let prompt = [
            block(1, "internal", "one"),
            block(2, "confidential", "two"),
            block(3, "restricted", "3"),
        ];
        let prompt = prompt.concat();
        let found: Vec<&str> = fenced(&prompt).into_iter().map(str::trim).collect();
        assert_eq!(found, ["| two", "| 3"]);
    }
}
