//! Strict validation of policies, without the cost of trying each against every action.
//!
//! A policy can only be told apart by what it speaks about: for one that mentions the argument
//! `amount`, two actions whose resource and `amount` have the same types are the same, unless its
//! body names an action or group that tells them apart. So each policy is validated against one
//! action of each kind it can tell apart, and policies with the same kinds together, against a
//! schema of just these.

use super::compile::Draft;
use super::expression::Mentions;
use super::input::Record;
use super::schema::{self, Vocabulary, input_type, upstream_group};
use crate::Mistake;
use crate::bundle::admin::RESERVED;
use cedar_policy_core::ast::{ActionConstraint, Effect, EntityUID, PolicySet};
use cedar_policy_core::validator::{ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many entities may be passed through to reach an attribute or group. Nothing but principals,
/// resource and action is loaded: what this refuses is asking a literal, or the owner of a
/// document, what it is in.
const LEVEL_MAX: u32 = 1;

/// The actions one policy is validated against, and those that must exist because it names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kinds {
    representatives: Vec<String>,
    /// The input of every representative may be reduced to these.
    input: Option<Vec<String>>,
    named: BTreeSet<String>,
}

/// Validates policies whose names are settled and whose action scopes are known.
pub(super) fn validate(vocabulary: &Vocabulary, drafts: &[Draft]) -> Vec<Mistake> {
    let mut together: BTreeMap<Kinds, Vec<&Draft>> = BTreeMap::new();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for draft in drafts {
        if !draft.has_actions(vocabulary) {
            continue;
        }
        let kinds = kinds(vocabulary, draft, &mut known);
        together.entry(kinds).or_default().push(draft);
    }
    let mut mistakes: Vec<Mistake> = together
        .iter()
        .flat_map(|(kinds, drafts)| validate_together(vocabulary, kinds, drafts))
        .collect();
    mistakes.sort();
    mistakes
}

fn kinds(
    vocabulary: &Vocabulary,
    draft: &Draft,
    known: &mut BTreeMap<String, Vec<String>>,
) -> Kinds {
    let input = match draft.speech.mentions() {
        Mentions::Nothing => Some(Vec::new()),
        Mentions::Names(names) => Some(names.iter().map(|name| name.to_string()).collect()),
        Mentions::Everything => None,
    };
    let named: Vec<&EntityUID> =
        draft.speech.entities.iter().filter(|uid| uid.is_action()).collect();
    let scope = format!("{named:?} {input:?} {}", draft.policy.action_constraint());
    let representatives = known.entry(scope).or_insert_with(|| {
        let mut seen = BTreeSet::new();
        let mut representatives = Vec::new();
        for name in draft.actions(vocabulary) {
            let Some(action) = vocabulary.actions.get(name) else { continue };
            let is_within = named.iter().map(|uid| {
                let wanted: &str = uid.eid().as_ref();
                name == wanted || action.groups.iter().any(|group| group == wanted)
            });
            let is_within: Vec<bool> = is_within.collect();
            let seen_input = reduced(&action.input, input.as_deref()).to_string();
            let seen_as = (action.resource_type.as_str(), action.asks_model, seen_input);
            if seen.insert((is_within, seen_as)) {
                representatives.push(name.to_owned());
            }
        }
        representatives
    });
    Kinds { representatives: representatives.clone(), input, named: draft.named_actions() }
}

fn reduced(record: &Record, names: Option<&[String]>) -> Value {
    let Some(names) = names else { return input_type(record) };
    let members = record.0.iter().filter(|(name, _)| names.contains(name));
    input_type(&Record(members.map(|(n, member)| (n.clone(), member.clone())).collect()))
}

fn validate_together(vocabulary: &Vocabulary, kinds: &Kinds, drafts: &[&Draft]) -> Vec<Mistake> {
    let actions = kinds.representatives.iter().filter_map(|name| {
        let action = vocabulary.actions.get(name)?;
        Some((name.as_str(), reduced(&action.input, kinds.input.as_deref())))
    });
    let bare = kinds.named.iter().map(String::as_str);
    let schema = match schema::compile(vocabulary.schema(actions, bare)) {
        Ok(schema) => schema,
        Err(mistake) => return vec![mistake],
    };
    let validator = Validator::new(schema);
    let validate = |draft: &&&Draft| {
        // What is forbidden of a kind of operations is forbidden where none is declared yet.
        (!draft.waits_for_operations(vocabulary)).then(|| validate_one(&validator, draft))
    };
    drafts.iter().filter_map(|draft| validate(&draft)).flatten().collect()
}

fn validate_one(validator: &Validator, draft: &Draft) -> Vec<Mistake> {
    let mut policies = PolicySet::new();
    if let Err(error) = policies.add(draft.policy.clone()) {
        return vec![draft.mistake(None, error.to_string(), "")];
    }
    let result = validator.validate_with_level(&policies, ValidationMode::Strict, LEVEL_MAX);
    let (errors, warnings) = result.into_errors_and_warnings();
    let mut mistakes: Vec<Mistake> = errors
        .map(|error| {
            let (offset, what, hint) = described(&error);
            draft.mistake(offset, what, &hint)
        })
        .collect();
    if mistakes.is_empty() {
        let mut warnings: Vec<ValidationWarning> = warnings.collect();
        let is_unfit =
            |w: &ValidationWarning| matches!(w, ValidationWarning::InvalidActionApplication(_));
        if warnings.iter().any(is_unfit) {
            warnings.retain(is_unfit);
        }
        let warnings = warnings.into_iter().filter_map(|warning| {
            let (what, hint) = warned(&warning)?;
            Some(draft.mistake(described(&warning).0, what.to_owned(), hint))
        });
        mistakes.extend(warnings);
    }
    // The same mistake, seen by another action.
    mistakes.sort();
    let mut seen = BTreeSet::new();
    mistakes.retain(|mistake| {
        let essence = mistake.what.split(" in context for ").next().unwrap_or_default();
        seen.insert((mistake.line, essence.to_owned()))
    });
    mistakes
}

/// Warnings that are mistakes here.
fn warned(warning: &ValidationWarning) -> Option<(&'static str, &'static str)> {
    match warning {
        ValidationWarning::InvalidActionApplication(_) => Some((
            "no operation in the scope of this policy has such a principal and resource",
            "it can never hold: correct it",
        )),
        ValidationWarning::ImpossiblePolicy(_) => {
            Some(("this policy can never hold", "correct its scope or its conditions"))
        }
        ValidationWarning::BidiCharsInString(_) | ValidationWarning::BidiCharsInIdentifier(_) => {
            Some(("there are characters that turn text around", "take them out"))
        }
        ValidationWarning::MixedScriptString(_)
        | ValidationWarning::MixedScriptIdentifier(_)
        | ValidationWarning::ConfusableIdentifier(_) => None,
    }
}

/// Where, what, and what would help: Cedar's words, without the name of the policy and of its
/// internals.
pub(super) fn described(
    diagnostic: &(impl Diagnostic + ?Sized),
) -> (Option<usize>, String, String) {
    let offset = diagnostic.labels().and_then(|mut labels| labels.next()).map(|l| l.offset());
    let help = diagnostic.help().map(|help| help.to_string()).unwrap_or_default();
    (offset, plain(&diagnostic.to_string()), plain(&help))
}

fn plain(text: &str) -> String {
    let text = match text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => rest,
        None => text,
    };
    if text.starts_with("entity literals cannot be dereferenced") {
        return "it asks what an entity is in that it names: only principal, agent, subject, \
                resource and action can be asked"
            .to_owned();
    }
    if text.starts_with("this policy requires level ") {
        return "it asks what the owner of a document is in, or has: only principal, agent, \
                subject, resource and action can be asked"
            .to_owned();
    }
    text.replace("__cedar::internal::AnyEntity", "Entity").replace("__cedar::", "")
}

/// The mistakes of a policy that speaks about arguments that no operation in its scope has.
pub(super) fn unknown_arguments(vocabulary: &Vocabulary, draft: &Draft) -> Vec<Mistake> {
    let Mentions::Names(names) = draft.speech.mentions() else { return Vec::new() };
    let actions = draft.actions(vocabulary).filter_map(|name| vocabulary.actions.get(name));
    let inputs: Vec<_> = actions.map(|action| &action.input.0).collect();
    let unknown = names.iter().filter(|name| {
        !inputs.is_empty() && !inputs.iter().any(|input| input.contains_key(&***name))
    });
    let hint = "policies see strings, integers, numbers, booleans, arrays of these and objects, as \
                the accepted schema declares them";
    unknown
        .map(|name| {
            let what = format!("no operation in its scope has an argument `{name}`");
            draft.mistake(None, what, hint)
        })
        .collect()
}

impl Draft {
    /// The operations that the action scope admits.
    pub(super) fn actions<'a>(
        &'a self,
        vocabulary: &'a Vocabulary,
    ) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self.policy.action_constraint() {
            ActionConstraint::Any => Box::new(vocabulary.actions.keys().map(String::as_str)),
            ActionConstraint::Eq(uid) => {
                let found = vocabulary.actions.get_key_value(uid.eid().as_ref() as &str);
                Box::new(found.map(|(name, _)| name.as_str()).into_iter())
            }
            ActionConstraint::In(uids) => {
                let members = uids.iter().flat_map(|uid| {
                    let name: &str = uid.eid().as_ref();
                    let own = vocabulary.actions.get_key_value(name).map(|(name, _)| name);
                    let group = vocabulary.groups.get(name).into_iter().flatten();
                    own.into_iter().chain(group).map(String::as_str)
                });
                Box::new(members.collect::<BTreeSet<_>>().into_iter())
            }
        }
    }

    /// Whether the action scope admits any operation.
    pub(super) fn has_actions(&self, vocabulary: &Vocabulary) -> bool {
        let admits = |name: &str| {
            vocabulary.actions.contains_key(name)
                || vocabulary.groups.get(name).is_some_and(|members| !members.is_empty())
        };
        match self.policy.action_constraint() {
            ActionConstraint::Any => !vocabulary.actions.is_empty(),
            ActionConstraint::Eq(uid) => {
                vocabulary.actions.contains_key(uid.eid().as_ref() as &str)
            }
            ActionConstraint::In(uids) => uids.iter().any(|uid| admits(uid.eid().as_ref())),
        }
    }

    /// Whether it forbids operations of which none but the gate's own is declared: there may be
    /// some one day.
    fn waits_for_operations(&self, vocabulary: &Vocabulary) -> bool {
        let is_forbid = self.policy.effect() == Effect::Forbid;
        let own = vocabulary.groups.get(&upstream_group(RESERVED));
        let is_own = |name: &str| own.is_some_and(|own| own.contains(name));
        is_forbid && self.actions(vocabulary).all(is_own)
    }

    /// The actions and groups it names, in its scope or its body.
    pub(super) fn named_actions(&self) -> BTreeSet<String> {
        let scope = self.policy.action_constraint().iter_euids();
        let body = self.speech.entities.iter().filter(|uid| uid.is_action());
        scope.chain(body).map(|uid| AsRef::<str>::as_ref(uid.eid()).to_owned()).collect()
    }
}
