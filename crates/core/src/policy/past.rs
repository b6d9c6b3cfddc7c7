//! What bodies ask of the past: of `context.history`, `context.session_history` and
//! `context.exposure`.
//!
//! Found at load, so that only what somebody asks for is gathered, recorded and waited for, and
//! that a refusal can show the calls that led to it. The history is asked for what is written in
//! the policy: then a name that nothing has is a mistake, and what is kept has a bound.

use super::annotation::PII_KINDS;
use super::compile::Draft;
use super::expression::context_path;
use super::schema::Vocabulary;
use crate::Mistake;
use crate::bundle::search::{COUNT, RETRIEVE, SEARCH};
use crate::bundle::suggest;
use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal};
use lockgate_types::OperationName;
use lockgate_types::call::Effect;
use lockgate_types::flow::Author;
use lockgate_types::history::{EFFECT_TAG, History};
use lockgate_types::label::{CONFIDENTIALITY_TAG, Confidentiality, ORIGIN_TAG, PII_TAG};
use std::collections::{BTreeMap, BTreeSet};

/// Different things that the policies of a bundle ask the history for.
const ASKED_MAX: usize = 256;

/// The confidentialities that leave a tag.
const LEVELS: [Confidentiality; 3] =
    [Confidentiality::Internal, Confidentiality::Confidential, Confidentiality::Restricted];

/// What of a label policies see of a prompt.
const CARRIED: [&str; 4] = ["confidentiality", "integrity", "origins", "pii"];

/// What a body asks of the past.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Tags that it looks for, or that stand for what it asks of the exposure.
    pub(super) tags: BTreeSet<String>,
    /// Tags that it names.
    named: BTreeSet<String>,
    asks_history: bool,
    asks_exposure: bool,
    /// Whether it asks in a way that does not say for what.
    is_unclear: bool,
}

/// What the policies of a bundle ask of the past.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Whether one asks what a session has met.
    pub asks_exposure: bool,
    /// Whether one asks what has happened.
    pub asks_history: bool,
    /// What is asked for.
    pub tags: BTreeSet<String>,
    /// The same of each operation that is asked about.
    by_operation: BTreeMap<OperationName, BTreeSet<String>>,
}

impl Watch {
    /// Whether anything of the past makes a difference.
    pub fn looks_back(&self) -> bool {
        self.asks_exposure || self.asks_history
    }

    /// Whether it makes a difference which personal data were met.
    pub fn asks_pii(&self) -> bool {
        self.tags.iter().any(|tag| tag.starts_with(PII_TAG))
    }

    /// What is asked for when this operation is decided.
    pub fn of(&self, operation: &OperationName) -> Option<&BTreeSet<String>> {
        self.by_operation.get(operation)
    }

    /// Whether a history says of everything that is asked whether it has happened.
    pub fn is_answered(&self, operation: &OperationName, history: &History) -> bool {
        let asked = self.of(operation).into_iter().flatten();
        // What was recorded before answers of models had labels says nothing of them: there were
        // none.
        let model = tag(ORIGIN_TAG, Author::Model.as_str());
        asked.into_iter().all(|tag| history.tags.contains_key(tag) || *tag == model)
    }

    pub(super) fn of_drafts(vocabulary: &Vocabulary, drafts: &[Draft]) -> Self {
        let mut watch = Self::default();
        for draft in drafts {
            let past = &draft.speech.past;
            watch.asks_exposure |= past.asks_exposure;
            watch.asks_history |= past.asks_history;
            watch.tags.extend(past.tags.iter().cloned());
            if past.tags.is_empty() {
                continue;
            }
            let operations = draft.actions(vocabulary);
            for operation in operations.filter_map(|name| OperationName::new(name).ok()) {
                let asked = watch.by_operation.entry(operation).or_default();
                asked.extend(past.tags.iter().cloned());
            }
        }
        // What is asked about documents is gathered with what finds or counts them.
        let asked = OperationName::new(RETRIEVE).ok().and_then(|it| watch.by_operation.get(&it));
        if let Some(asked) = asked.cloned() {
            for finds in [SEARCH, COUNT].into_iter().filter_map(|it| OperationName::new(it).ok()) {
                let by_operation = watch.by_operation.entry(finds).or_default();
                by_operation.extend(asked.iter().cloned());
            }
        }
        watch
    }
}

impl Past {
    /// Notes what an expression asks, and says whether that is all there is to it.
    pub(super) fn note(&mut self, expr: &Expr) -> bool {
        if let ExprKind::BinaryApp {
            op: BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::ContainsAll,
            arg1,
            arg2,
        } = expr.expr_kind()
            && is_history(context_path(arg1).as_deref())
            && let Some(texts) = texts(arg2)
        {
            self.asks_history = true;
            self.named.extend(texts.iter().cloned());
            self.tags.extend(texts);
            return true;
        }
        let path = context_path(expr);
        if is_history(path.as_deref()) {
            (self.asks_history, self.is_unclear) = (true, true);
        }
        let part = match path.as_deref() {
            Some([]) | Some(["exposure"]) => None,
            Some(["exposure", part, ..]) => Some(*part),
            // What a prompt carries is at least what was met.
            Some(["model", part, ..]) if CARRIED.contains(part) => Some(*part),
            _ => return false,
        };
        self.asks_exposure = true;
        let is_asked = |name: &str| part.is_none_or(|part| part == name);
        if is_asked("integrity") || is_asked("origins") {
            self.tags.extend(Author::ALL.iter().map(|it| tag(ORIGIN_TAG, it.as_str())));
        }
        if is_asked("confidentiality") {
            self.tags.extend(LEVELS.iter().map(|it| tag(CONFIDENTIALITY_TAG, it.as_str())));
        }
        if is_asked("pii") {
            self.tags.extend(PII_KINDS.iter().map(|kind| tag(PII_TAG, kind)));
        }
        false
    }
}

fn is_history(path: Option<&[&str]>) -> bool {
    matches!(path, Some(["history" | "session_history", ..]))
}

fn tag(kind: &str, word: &str) -> String {
    format!("{kind}{word}")
}

/// The texts that an expression is, or is a set of; `None` if anything else is among them.
fn texts(expr: &Expr) -> Option<Vec<String>> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(vec![text.to_string()]),
        ExprKind::Set(items) => {
            let all: Option<Vec<_>> = items.iter().map(texts).collect();
            Some(all?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// The mistakes of a policy that asks the history for what can never be there.
pub(super) fn mistakes(vocabulary: &Vocabulary, draft: &Draft) -> Vec<Mistake> {
    let past = &draft.speech.past;
    let mut mistakes = Vec::new();
    if past.is_unclear {
        let what = "the history can be asked for what is written in the policy, and nothing else";
        let hint = "write `context.history.contains(\"crm/get\")`, or `containsAny` or \
                    `containsAll` with a list of texts";
        mistakes.push(draft.mistake(None, what.to_owned(), hint));
    }
    let known = || known(vocabulary);
    for tag in past.named.iter().filter(|tag| !is_known(vocabulary, tag)) {
        let what = format!("nothing that happens is called `{tag}`");
        let near = suggest::among(tag, &known().collect::<Vec<_>>());
        let hint = match near.is_empty() {
            false => near,
            true => "there are names of operations (`<upstream>/<tool>`), `effect:<effect>`, \
                     `origin:<whose words>`, `confidentiality:<above public>` and `pii:<kind>`"
                .to_owned(),
        };
        mistakes.push(draft.mistake(None, what, &hint));
    }
    mistakes
}

/// The mistake of a bundle that asks for too much.
pub(super) fn too_many(drafts: &[Draft]) -> Option<Mistake> {
    let asked: BTreeSet<&String> =
        drafts.iter().flat_map(|draft| &draft.speech.past.tags).collect();
    (asked.len() > ASKED_MAX).then(|| Mistake {
        file: "policies".to_owned(),
        line: None,
        what: format!("{} things are asked of the history, more than {ASKED_MAX}", asked.len()),
        hint: "ask for effects or labels instead of single operations".to_owned(),
    })
}

fn is_known(vocabulary: &Vocabulary, tag: &str) -> bool {
    let is_operation = tag != RETRIEVE && vocabulary.actions.contains_key(tag);
    is_operation || words().any(|word| word == tag)
}

fn known(vocabulary: &Vocabulary) -> impl Iterator<Item = String> {
    let operations = vocabulary.actions.keys().filter(|name| *name != RETRIEVE);
    operations.cloned().chain(words())
}

/// Every tag that is no operation.
fn words() -> impl Iterator<Item = String> {
    let effects = Effect::ALL.iter().map(|effect| tag(EFFECT_TAG, effect.as_str()));
    let origins = Author::ALL.iter().map(|origin| tag(ORIGIN_TAG, origin.as_str()));
    let levels = LEVELS.iter().map(|level| tag(CONFIDENTIALITY_TAG, level.as_str()));
    let kinds = PII_KINDS.iter().map(|kind| tag(PII_TAG, kind));
    effects.chain(origins).chain(levels).chain(kinds)
}
