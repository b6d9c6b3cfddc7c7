//! Whether a value conforms to an accepted JSON Schema (2020-12, and the parts of draft-07 that
//! mean the same).
//!
//! A schema is compiled once; checking is bounded in depth, in work and in what it reports, and
//! says where and which rule, never a value. What a schema asks for and this module cannot check
//! makes the schema unsupported: nothing is skipped silently. It knows nothing of operations,
//! policies or TOML.

mod compile;
mod decimal;
mod path;
mod pattern;
mod walk;

use decimal::Decimal;
use lockgate_types::fold::folds_equal;
use lockgate_types::{Json, Object};
use regex::Regex;
use std::collections::BTreeSet;
use std::fmt;

/// How many violations one check reports.
pub const VIOLATIONS_MAX: usize = 16;
/// Visits of a schema to a value in one check. A schema that branches without end is cut off, and
/// refuses.
pub const VISITS_MAX: usize = 200_000;
/// Levels of schemas within schemas in one check, references included.
pub const DEPTH_MAX: usize = 192;
/// Schemas within one schema.
pub const SCHEMAS_MAX: usize = 4096;

/// A compiled schema.
#[derive(Clone, Debug)]
pub struct Conformance {
    nodes: Vec<Node>,
    root: NodeId,
    declared: Declared,
}

/// Why a schema cannot be used: where, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema at `{pointer}`: {what}")]
pub struct Unsupported {
    /// JSON pointer into the schema.
    pub pointer: String,
    /// What is not supported: lower case, no final period.
    pub what: String,
}

/// A rule that a value breaks. Never carries the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer to the value.
    pub path: String,
    /// The keyword that it breaks; `undeclared` for an argument that the schema does not name,
    /// `ambiguous` for one whose name differs from a named one in case alone.
    pub rule: &'static str,
    /// What the schema asks for there, from the schema alone.
    pub what: String,
    /// The names or words that would do, where the schema lists them.
    pub expected: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "`{path}`: {}", self.what)
    }
}

/// The arguments that a schema names at its top level.
#[derive(Clone, Debug, Default)]
struct Declared {
    names: BTreeSet<String>,
    patterns: Vec<Regex>,
    is_open: bool,
}

impl Conformance {
    /// Compiles a schema.
    pub fn compile(schema: &Json) -> Result<Self, Unsupported> {
        let (nodes, root) = compile::compile(schema)?;
        let mut conformance = Self { nodes, root, declared: Declared::default() };
        let mut seen = BTreeSet::new();
        let mut declared = Declared::default();
        conformance.collect_declared(root, &mut seen, &mut declared);
        conformance.declared = declared;
        Ok(conformance)
    }

    /// Checks a value, as JSON Schema says.
    pub fn check(&self, value: &Json) -> Result<(), Vec<Violation>> {
        walk::check(&self.nodes, self.root, value)
    }

    /// Checks the arguments of a call: as JSON Schema says, and every argument must be one that the
    /// schema names.
    ///
    /// JSON Schema lets through what it does not mention, and policy would never see it. So a
    /// schema that is silent about `additionalProperties` refuses undeclared arguments; one that
    /// allows them says so (ADR 0006). Even then none may differ from a named one in case alone: an
    /// upstream that ignores case would read it in the other's place, unseen by policy.
    pub fn check_arguments(&self, arguments: &Object) -> Result<(), Vec<Violation>> {
        let strange: Vec<Violation> = arguments
            .iter()
            .filter_map(|(name, _)| self.strange(name))
            .take(VIOLATIONS_MAX)
            .collect();
        if !strange.is_empty() {
            return Err(strange);
        }
        walk::check_object(&self.nodes, self.root, arguments)
    }

    /// Whether an argument of that name may be sent.
    pub fn declares(&self, name: &str) -> bool {
        let declared = &self.declared;
        declared.is_open
            || declared.names.contains(name)
            || declared.patterns.iter().any(|pattern| pattern.is_match(name))
    }

    /// The arguments that the schema names, sorted.
    pub fn declared_names(&self) -> impl Iterator<Item = &str> {
        self.declared.names.iter().map(String::as_str)
    }

    /// What is wrong with an argument of that name.
    fn strange(&self, name: &str) -> Option<Violation> {
        let names = &self.declared.names;
        if names.contains(name) {
            return None;
        }
        let like = names.iter().find(|declared| folds_equal(declared, name));
        let (rule, what, expected) = match like {
            Some(like) => (
                "ambiguous",
                "the name differs from a declared one in case alone",
                vec![like.clone()],
            ),
            None if self.declares(name) => return None,
            None => (
                "undeclared",
                "the accepted schema does not name this argument",
                names.iter().cloned().collect(),
            ),
        };
        let mut path = String::new();
        path::push_segment(&mut path, name);
        Some(Violation { path, rule, what: what.to_owned(), expected })
    }

    /// Gathers names through everything that speaks about the same object. Conditions and negations
    /// declare nothing.
    fn collect_declared(&self, at: NodeId, seen: &mut BTreeSet<NodeId>, out: &mut Declared) {
        let Some(Node::Rules(rules)) = self.nodes.get(at) else { return };
        if !seen.insert(at) {
            return;
        }
        for rule in rules {
            match rule {
                Rule::Properties { named, patterns, additional, .. } => {
                    out.names.extend(named.iter().map(|(name, _)| name.clone()));
                    out.patterns.extend(patterns.iter().map(|(pattern, _)| pattern.clone()));
                    let is_closed = |id: &NodeId| matches!(self.nodes.get(*id), Some(Node::Never));
                    out.is_open |= additional.as_ref().is_some_and(|id| !is_closed(id));
                }
                Rule::AllOf(ids) | Rule::AnyOf(ids, _) | Rule::OneOf(ids, _) => {
                    ids.iter().for_each(|id| self.collect_declared(*id, seen, out));
                }
                Rule::Ref(id) => self.collect_declared(*id, seen, out),
                Rule::If { then, otherwise, .. } => {
                    then.iter()
                        .chain(otherwise)
                        .for_each(|id| self.collect_declared(*id, seen, out));
                }
                Rule::DependentSchemas(pairs) => {
                    pairs.iter().for_each(|(_, id)| self.collect_declared(*id, seen, out));
                }
                _ => {}
            }
        }
    }
}

/// The index of a compiled schema.
type NodeId = usize;

#[derive(Clone, Debug)]
enum Node {
    /// `true`, `{}`.
    Always,
    /// `false`.
    Never,
    /// Every rule has to hold.
    Rules(Vec<Rule>),
}

#[derive(Clone, Debug)]
enum Rule {
    Type(Vec<Kind>),
    /// The values, and their words if all are strings.
    Enum(Vec<Json>),
    Const(Json),
    Properties {
        named: Vec<(String, NodeId)>,
        patterns: Vec<(Regex, NodeId)>,
        additional: Option<NodeId>,
    },
    PropertyNames(NodeId),
    Required(Vec<String>),
    MinProperties(usize),
    MaxProperties(usize),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, NodeId)>),
    Items {
        prefix: Vec<NodeId>,
        rest: Option<NodeId>,
    },
    Contains {
        id: NodeId,
        min: usize,
        max: Option<usize>,
    },
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
    MinLength(usize),
    MaxLength(usize),
    Pattern(Regex),
    Minimum(Decimal),
    Maximum(Decimal),
    ExclusiveMinimum(Decimal),
    ExclusiveMaximum(Decimal),
    MultipleOf(Decimal),
    AllOf(Vec<NodeId>),
    /// With the words of its branches, where all are constant strings.
    AnyOf(Vec<NodeId>, Vec<String>),
    OneOf(Vec<NodeId>, Vec<String>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    Ref(NodeId),
}

/// The types of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Kind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Null, "null"),
        (Self::Boolean, "boolean"),
        (Self::Object, "object"),
        (Self::Array, "array"),
        (Self::Number, "number"),
        (Self::Integer, "integer"),
        (Self::String, "string"),
    ];

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == word).map(|(kind, _)| kind)
    }

    fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}
