//! The Cedar schema, generated from the declarations: never from a live upstream.
//!
//! Every operation is an action, in the groups of its effect, of its upstream, and `any`. Its
//! context is the same everywhere but for `input`, its typed arguments. Where there are sources,
//! documents are resources with attributes, and `retrieve` is the action of whoever sees one.

use super::PolicyInput;
use super::index::BUILT_IN;
use super::input::{Record, Shape};
use crate::Mistake;
use crate::bundle::search::RETRIEVE;
use cedar_policy_core::ast::InternalName;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{RawName, ValidatorSchema, json_schema::Fragment};
use lockgate_types::call::Effect;
use lockgate_types::flow::Role;
use lockgate_types::model::ModelApi;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The group that every operation is in.
pub(super) const ANY: &str = "any";

/// The group of an upstream's operations.
pub(super) fn upstream_group(upstream: &str) -> String {
    format!("upstream:{upstream}")
}

/// An operation, as the schema describes it.
#[derive(Clone, Debug)]
pub(super) struct ActionType {
    /// Effect, upstream, any; of documents, any.
    pub(super) groups: Vec<String>,
    pub(super) resource_type: String,
    pub(super) resource_argument: Option<String>,
    pub(super) input: Record,
    /// Whether its context has `model`.
    pub(super) asks_model: bool,
}

/// The types of documents and of what they lie in.
pub(super) const DOCUMENT: &str = "Document";
pub(super) const FOLDER: &str = "Folder";
pub(super) const SOURCE: &str = "Source";
pub(super) const OF_DOCUMENTS: [&str; 3] = [DOCUMENT, FOLDER, SOURCE];

/// What there is to speak about.
pub(super) struct Vocabulary {
    pub(super) actions: BTreeMap<String, ActionType>,
    /// Groups, empty ones included, with their members.
    pub(super) groups: BTreeMap<String, BTreeSet<String>>,
    /// Resource types that the bundle declares.
    pub(super) resource_types: BTreeSet<String>,
    /// Whether there are documents.
    pub(super) has_documents: bool,
}

impl Vocabulary {
    pub(super) fn of(input: &PolicyInput<'_>) -> Self {
        let mut groups: BTreeMap<String, BTreeSet<String>> = Effect::ALL
            .iter()
            .map(|effect| (effect.as_str().to_owned(), BTreeSet::new()))
            .chain([(ANY.to_owned(), BTreeSet::new())])
            .collect();
        let mut resource_types = BTreeSet::new();
        let mut actions = BTreeMap::new();
        for (name, operation) in input.operations {
            let upstream = operation.upstream.as_str();
            let mine = vec![
                operation.effect.as_str().to_owned(),
                upstream_group(upstream),
                ANY.to_owned(),
            ];
            for group in &mine {
                groups.entry(group.clone()).or_default().insert(name.as_str().to_owned());
            }
            let role = operation.resource.as_ref();
            resource_types.extend(role.map(|(kind, _)| kind.clone()));
            let action = ActionType {
                groups: mine,
                resource_type: role.map_or_else(|| "Upstream".to_owned(), |(kind, _)| kind.clone()),
                resource_argument: role.map(|(_, argument)| argument.clone()),
                input: Record::of_schema(operation.schema.as_ref()),
                asks_model: operation.model.is_some_and(ModelApi::asks_a_model),
            };
            actions.insert(name.as_str().to_owned(), action);
        }
        let has_documents = !input.sources.is_empty();
        if has_documents {
            let any = groups.entry(ANY.to_owned()).or_default();
            any.insert(RETRIEVE.to_owned());
            actions.insert(RETRIEVE.to_owned(), ActionType::of_documents());
        }
        Self { actions, groups, resource_types, has_documents }
    }

    /// The mistakes that make a schema impossible.
    pub(super) fn mistakes(&self, input: &PolicyInput<'_>) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (name, operation) in input.operations {
            let file = format!("operations/{}.toml", operation.upstream);
            if self.groups.contains_key(name.as_str()) {
                mistakes.push(Mistake {
                    file: file.clone(),
                    line: None,
                    what: format!("the operation `{name}` has the name of an action group"),
                    hint: "rename the upstream".to_owned(),
                });
            }
            let kind = operation.resource.as_ref().map(|(kind, _)| kind.as_str());
            let is_documents = |kind: &str| self.has_documents && OF_DOCUMENTS.contains(&kind);
            if let Some(kind) = kind.filter(|kind| !is_resource_type(kind) || is_documents(kind)) {
                mistakes.push(Mistake {
                    file,
                    line: None,
                    what: format!("`{kind}` of `{name}` cannot be a resource type"),
                    hint: "use a name such as `Customer`, and none of Lockgate's own types"
                        .to_owned(),
                });
            }
        }
        mistakes
    }

    /// The schema with these actions, each with the input it is given; names in `bare` are there
    /// but apply to nothing.
    pub(super) fn schema<'a>(
        &self,
        actions: impl Iterator<Item = (&'a str, Value)>,
        bare: impl Iterator<Item = &'a str>,
    ) -> Value {
        let mut table = Map::new();
        for name in bare {
            table.insert(name.to_owned(), json!({}));
        }
        for (name, input) in actions {
            let Some(action) = self.actions.get(name) else { continue };
            for group in &action.groups {
                table.entry(group.clone()).or_insert_with(|| json!({}));
            }
            let groups: Vec<Value> =
                action.groups.iter().map(|group| json!({ "id": group })).collect();
            table.insert(
                name.to_owned(),
                json!({
                    "memberOf": groups,
                    "appliesTo": {
                        "principalTypes": ["Agent", "User"],
                        "resourceTypes": [action.resource_type],
                        "context": context(input, action, name == RETRIEVE),
                    },
                }),
            );
        }
        json!({ "": { "entityTypes": self.entity_types(), "actions": table } })
    }

    fn entity_types(&self) -> Value {
        let mut types = Map::new();
        for name in BUILT_IN {
            types.insert(name.to_owned(), json!({}));
        }
        types.insert("Agent".to_owned(), json!({ "memberOfTypes": ["Group", "Tenant"] }));
        types.insert("Group".to_owned(), json!({ "memberOfTypes": ["Group"] }));
        types.insert("User".to_owned(), json!({ "memberOfTypes": ["Group", "Role", "Tenant"] }));
        for name in &self.resource_types {
            types.insert(name.clone(), json!({ "memberOfTypes": ["Upstream"] }));
        }
        if self.has_documents {
            types.insert(SOURCE.to_owned(), json!({ "memberOfTypes": ["Tenant"] }));
            types.insert(FOLDER.to_owned(), json!({ "memberOfTypes": [FOLDER, SOURCE] }));
            types.insert(
                DOCUMENT.to_owned(),
                json!({ "memberOfTypes": [FOLDER, SOURCE, "Tenant"], "shape": document() }),
            );
        }
        Value::Object(types)
    }
}

impl ActionType {
    /// Seeing a document. Whoever may read whatever upstreams have is not thereby shown every
    /// document, so it is in no group of operations.
    fn of_documents() -> Self {
        Self {
            groups: vec![ANY.to_owned()],
            resource_type: DOCUMENT.to_owned(),
            resource_argument: None,
            input: Record::default(),
            asks_model: false,
        }
    }
}

/// The generated schema in Cedar's own notation, for people.
pub fn schema_text(input: &PolicyInput<'_>) -> Result<String, Vec<Mistake>> {
    let vocabulary = Vocabulary::of(input);
    let mistakes = vocabulary.mistakes(input);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let actions = vocabulary.actions.iter();
    let actions = actions.map(|(name, action)| (name.as_str(), input_type(&action.input)));
    let schema = vocabulary.schema(actions, vocabulary.groups.keys().map(String::as_str));
    let text = Fragment::<RawName>::from_json_value(schema)
        .map_err(|error| error.to_string())
        .and_then(|fragment| fragment.to_cedarschema().map_err(|error| error.to_string()));
    // No type of the bundle has the name of one of Cedar's (`is_resource_type`), so the prefix
    // tells nothing.
    text.map(|text| text.replace("__cedar::", "")).map_err(|error| vec![impossible(error)])
}

/// Compiles a schema.
pub(super) fn compile(schema: Value) -> Result<ValidatorSchema, Mistake> {
    ValidatorSchema::from_json_value(schema, Extensions::all_available())
        .map_err(|error| impossible(error.to_string()))
}

fn impossible(error: String) -> Mistake {
    Mistake {
        file: "operations".to_owned(),
        line: None,
        what: format!("no policy schema can be made of the declarations: {error}"),
        hint: "look at the names of resource types and arguments".to_owned(),
    }
}

/// Cedar's own types.
const CEDAR: [&str; 13] = [
    "Action",
    "Bool",
    "Boolean",
    "Entity",
    "Extension",
    "Long",
    "Record",
    "Set",
    "String",
    "datetime",
    "decimal",
    "duration",
    "ipaddr",
];

fn is_resource_type(name: &str) -> bool {
    let is_name = name.parse::<InternalName>().is_ok_and(|parsed| !parsed.is_reserved());
    is_name && !name.contains("::") && !CEDAR.contains(&name) && !BUILT_IN.contains(&name)
}

/// The type of `context.input` as a record of the schema.
pub(super) fn input_type(record: &Record) -> Value {
    let members = record.0.iter().map(|(name, member)| {
        let mut kind = shape_type(&member.shape);
        if let Value::Object(kind) = &mut kind {
            kind.insert("required".to_owned(), member.is_required.into());
        }
        (name.clone(), kind)
    });
    json!({ "type": "Record", "attributes": members.collect::<Map<_, _>>() })
}

fn shape_type(shape: &Shape) -> Value {
    match shape {
        Shape::String => json!({ "type": "String" }),
        Shape::Long => json!({ "type": "Long" }),
        Shape::Decimal => json!({ "type": "Extension", "name": "decimal" }),
        Shape::Bool => json!({ "type": "Boolean" }),
        Shape::Set(item) => json!({ "type": "Set", "element": shape_type(item) }),
        Shape::Record(record) => input_type(record),
    }
}

/// Where values came from: of each role, the ways in which its values are established.
fn flow() -> Value {
    let texts = || json!({ "type": "Set", "element": { "type": "String" } });
    let roles = Role::ALL.iter().map(|role| (role.as_str().to_owned(), texts()));
    let others = [
        ("has_words".to_owned(), json!({ "type": "Boolean" })),
        ("is_asked".to_owned(), json!({ "type": "Boolean" })),
        ("is_tied".to_owned(), json!({ "type": "Boolean" })),
        ("links".to_owned(), texts()),
        ("unroled".to_owned(), texts()),
    ];
    let attributes: Map<String, Value> = roles.chain(others).collect();
    json!({ "type": "Record", "attributes": attributes })
}

/// What is asked of a model, and what the bundle says of it.
fn model() -> Value {
    let text = || json!({ "type": "String" });
    let texts = || json!({ "type": "Set", "element": { "type": "String" } });
    json!({ "type": "Record", "attributes": {
        "asked": text(),
        "ceiling": text(),
        "confidentiality": text(),
        "hedge": { "type": "Boolean" },
        "hosted_tools": texts(),
        "id": text(),
        "input_tokens": { "type": "Long" },
        "integrity": text(),
        "max_tokens": { "type": "Long", "required": false },
        "name": text(),
        "origins": texts(),
        "pii": texts(),
        "region": { "type": "String", "required": false },
        "risk_tier": text(),
        "stream": { "type": "Boolean" },
        "tools": texts(),
        "upstream": text(),
        "version": text(),
    } })
}

/// A document: what source and people have said about it. `readers` is not there where it is not
/// known for certain to whom it is shared.
fn document() -> Value {
    let text = || json!({ "type": "String" });
    let long = || json!({ "type": "Long" });
    let entities =
        |name: &str| json!({ "type": "Set", "element": { "type": "Entity", "name": name } });
    let people = |is_required: bool| {
        json!({ "type": "Record", "required": is_required, "attributes": {
            "everyone": { "type": "Boolean" },
            "groups": entities("Group"),
            "users": entities("User"),
        } })
    };
    json!({ "type": "Record", "attributes": {
        "changed": long(),
        "classification": text(),
        "confirmed": long(),
        "curation": text(),
        "denied": people(true),
        "id": text(),
        "kind": text(),
        "level": long(),
        "owner": { "type": "Entity", "name": "User", "required": false },
        "readers": people(false),
        "source": text(),
        "tags": { "type": "Set", "element": text() },
        "tenant": text(),
    } })
}

fn context(input: Value, action: &ActionType, is_of_documents: bool) -> Value {
    let mut context = common(input);
    let Some(Value::Object(attributes)) = context.get_mut("attributes") else { return context };
    if action.asks_model {
        attributes.insert("model".to_owned(), model());
    }
    if is_of_documents {
        // How far the agent is cleared, to be held against `resource.level`.
        attributes.insert("clearance".to_owned(), json!({ "type": "Long" }));
    }
    context
}

fn common(input: Value) -> Value {
    let text = json!({ "type": "String" });
    json!({ "type": "Record", "attributes": {
        "agent": { "type": "Entity", "name": "Agent" },
        "answer": { "type": "Record", "required": false, "attributes": {
            "findings": { "type": "Set", "element": text },
        } },
        "approvals": { "type": "Set", "element": text },
        "authentication": { "type": "Record", "attributes": {
            "acr": { "type": "String", "required": false },
            "age_s": { "type": "Long", "required": false },
            "amr": { "type": "Set", "element": text, "required": false },
        } },
        "columns": { "type": "Set", "element": text },
        "direction": text,
        "environment": text,
        "exposure": { "type": "Record", "attributes": {
            "confidentiality": text,
            "integrity": text,
            "oldest": { "type": "Long", "required": false },
            "origins": { "type": "Set", "element": text },
            "pii": { "type": "Set", "element": text },
            "readers": { "type": "Set", "element": text, "required": false },
        } },
        "flow": flow(),
        "history": { "type": "Set", "element": text },
        "input": input,
        "mode": text,
        "now": { "type": "Long" },
        "risk": { "type": "Record", "attributes": {
            "classes": { "type": "Set", "element": text },
            "score": { "type": "Long" },
            "session_mode": text,
            "tenant_mode": text,
            "tenant_score": { "type": "Long" },
        } },
        "session_history": { "type": "Set", "element": text },
        "subject": { "type": "Entity", "name": "User" },
        "tables": { "type": "Set", "element": text },
        "task": { "type": "String", "required": false },
        "tenant": text,
        "writes": { "type": "Long" },
    } })
}
