//! From a schema to rules: every keyword is compiled, known to carry no rule, or refused.

use super::{Kind, Node, NodeId, Rule, SCHEMAS_MAX, Unsupported, decimal::Decimal, path, pattern};
use lockgate_types::{Json, Object};
use std::collections::BTreeMap;

/// Keywords that hold one schema, an array of schemas, or a map of schemas: where anchors are
/// looked for.
const ONE: [&str; 10] = [
    "additionalProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "items",
    "additionalItems",
    "contentSchema",
];
const MANY: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const MAP: [&str; 5] =
    ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Keywords whose meaning depends on what else was evaluated, or on who refers to the schema.
const REFUSED: [&str; 7] = [
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
];

pub(super) fn compile(schema: &Json) -> Result<(Vec<Node>, NodeId), Unsupported> {
    let mut compiler = Compiler {
        root: schema,
        root_id: "",
        is_2020: true,
        anchors: BTreeMap::new(),
        compiled: BTreeMap::new(),
        nodes: Vec::new(),
    };
    compiler.dialect()?;
    compiler.find_anchors(schema, String::new())?;
    let root = compiler.schema(schema, String::new())?;
    Ok((compiler.nodes, root))
}

struct Compiler<'a> {
    root: &'a Json,
    /// The `$id` of the whole, without a fragment.
    root_id: &'a str,
    /// Whether `$ref` stands beside other keywords; before 2019-09 it silenced them.
    is_2020: bool,
    /// Anchor to pointer.
    anchors: BTreeMap<String, String>,
    /// Pointer to node: what makes recursive schemas finite.
    compiled: BTreeMap<String, NodeId>,
    nodes: Vec<Node>,
}

impl<'a> Compiler<'a> {
    fn dialect(&mut self) -> Result<(), Unsupported> {
        let Some(root) = self.root.as_object() else { return Ok(()) };
        if let Some(id) = root.get("$id").and_then(Json::as_str) {
            self.root_id = id.split('#').next().unwrap_or_default();
        }
        let Some(dialect) = root.get("$schema") else { return Ok(()) };
        let dialect = dialect.as_str().unwrap_or_default();
        let name = dialect.trim_end_matches('#');
        let name = name.strip_prefix("https").or_else(|| name.strip_prefix("http"));
        match name {
            Some(
                "://json-schema.org/draft/2020-12/schema"
                | "://json-schema.org/draft/2019-09/schema",
            ) => {}
            Some("://json-schema.org/draft-07/schema" | "://json-schema.org/draft-06/schema") => {
                self.is_2020 = false;
            }
            _ => {
                return Err(unsupported(
                    "/$schema",
                    "this version of JSON Schema is not supported",
                ));
            }
        }
        Ok(())
    }

    fn find_anchors(&mut self, schema: &'a Json, pointer: String) -> Result<(), Unsupported> {
        let Some(object) = schema.as_object() else { return Ok(()) };
        let id = object.get("$id").and_then(Json::as_str).unwrap_or_default();
        if !pointer.is_empty() && !id.is_empty() && !id.starts_with('#') {
            return Err(unsupported(&pointer, "an embedded `$id` is not supported"));
        }
        let anchor = object.get("$anchor").and_then(Json::as_str);
        for anchor in anchor.into_iter().chain(id.strip_prefix('#')).filter(|name| !name.is_empty())
        {
            if self.anchors.insert(anchor.to_owned(), pointer.clone()).is_some() {
                return Err(unsupported(&pointer, "an anchor of that name exists twice"));
            }
        }
        for (name, value) in object.iter() {
            let pointer = step(&pointer, name);
            match value {
                Json::Object(_) if ONE.contains(&name) => self.find_anchors(value, pointer)?,
                Json::Array(items) if MANY.contains(&name) => {
                    for (at, item) in items.iter().enumerate() {
                        self.find_anchors(item, step(&pointer, &at.to_string()))?;
                    }
                }
                Json::Object(map) if MAP.contains(&name) => {
                    for (name, item) in map.iter() {
                        self.find_anchors(item, step(&pointer, name))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn schema(&mut self, schema: &'a Json, pointer: String) -> Result<NodeId, Unsupported> {
        if let Some(id) = self.compiled.get(&pointer) {
            return Ok(*id);
        }
        if self.nodes.len() >= SCHEMAS_MAX {
            return Err(unsupported(&pointer, "the schema has more than 4096 parts"));
        }
        let id = self.nodes.len();
        self.nodes.push(Node::Never);
        self.compiled.insert(pointer.clone(), id);
        let node = match schema {
            Json::Bool(true) => Node::Always,
            Json::Bool(false) => Node::Never,
            Json::Object(object) => {
                let rules = self.rules(object, &pointer)?;
                if rules.is_empty() { Node::Always } else { Node::Rules(rules) }
            }
            _ => return Err(unsupported(&pointer, "a schema is an object or a boolean")),
        };
        if let Some(slot) = self.nodes.get_mut(id) {
            *slot = node;
        }
        Ok(id)
    }

    fn rules(&mut self, object: &'a Object, at: &str) -> Result<Vec<Rule>, Unsupported> {
        if let Some(name) = REFUSED.into_iter().find(|name| object.contains(name)) {
            return Err(unsupported(at, &format!("`{name}` is not supported")));
        }
        if !self.is_2020 && object.contains("$ref") && object.iter().any(|(name, _)| has_rule(name))
        {
            return Err(unsupported(at, "before 2019-09, `$ref` silences the keywords beside it"));
        }
        let mut rules = Vec::new();
        self.properties(object, at, &mut rules)?;
        self.items(object, at, &mut rules)?;
        self.conditions(object, at, &mut rules)?;
        for (name, value) in object.iter() {
            let here = step(at, name);
            let rule = match name {
                "$ref" => Rule::Ref(self.reference(value, &here)?),
                "propertyNames" => Rule::PropertyNames(self.schema(value, here)?),
                "not" => Rule::Not(self.schema(value, here)?),
                "allOf" => Rule::AllOf(self.list(value, &here)?),
                "anyOf" => Rule::AnyOf(self.list(value, &here)?, words(value)),
                "oneOf" => Rule::OneOf(self.list(value, &here)?, words(value)),
                "dependentSchemas" => Rule::DependentSchemas(self.map(value, &here)?),
                "dependencies" => {
                    self.dependencies(value, &here, &mut rules)?;
                    continue;
                }
                _ => match plain_rule(name, value, &here)? {
                    Some(rule) => rule,
                    None => continue,
                },
            };
            rules.push(rule);
        }
        // The cheap and telling ones first: a type before what presumes it.
        rules.sort_by_key(|rule| !matches!(rule, Rule::Type(_)));
        Ok(rules)
    }

    fn properties(&mut self, object: &'a Object, at: &str, rules: &mut Vec<Rule>) -> Done {
        const NAMES: [&str; 3] = ["properties", "patternProperties", "additionalProperties"];
        if !NAMES.iter().any(|name| object.contains(name)) {
            return Ok(());
        }
        let mut named = Vec::new();
        if let Some(value) = object.get("properties") {
            named = self.map(value, &step(at, "properties"))?;
            named.sort();
        }
        let mut patterns = Vec::new();
        if let Some(value) = object.get("patternProperties") {
            let here = step(at, "patternProperties");
            for (name, id) in self.map(value, &here)? {
                patterns
                    .push((pattern::compile(&name).map_err(|what| unsupported(&here, what))?, id));
            }
        }
        let additional = match object.get("additionalProperties") {
            Some(value) => Some(self.schema(value, step(at, "additionalProperties"))?),
            None => None,
        };
        rules.push(Rule::Properties { named, patterns, additional });
        Ok(())
    }

    /// `items` as an array is the draft-07 spelling of `prefixItems`.
    fn items(&mut self, object: &'a Object, at: &str, rules: &mut Vec<Rule>) -> Done {
        let (prefix, rest) = match object.get("items") {
            Some(Json::Array(_)) if object.contains("prefixItems") => {
                return Err(unsupported(at, "`items` is an array beside `prefixItems`"));
            }
            Some(Json::Array(_)) => ("items", "additionalItems"),
            _ => ("prefixItems", "items"),
        };
        if object.contains(prefix) || object.contains(rest) {
            let prefix = match object.get(prefix) {
                Some(value) => self.list(value, &step(at, prefix))?,
                None => Vec::new(),
            };
            let rest = match object.get(rest) {
                Some(value) => Some(self.schema(value, step(at, rest))?),
                None => None,
            };
            rules.push(Rule::Items { prefix, rest });
        }
        if let Some(value) = object.get("contains") {
            let count = |name: &str| match object.get(name) {
                Some(value) => count(value, &step(at, name)).map(Some),
                None => Ok(None),
            };
            let (min, max) = (count("minContains")?.unwrap_or(1), count("maxContains")?);
            rules.push(Rule::Contains { id: self.schema(value, step(at, "contains"))?, min, max });
        }
        Ok(())
    }

    fn conditions(&mut self, object: &'a Object, at: &str, rules: &mut Vec<Rule>) -> Done {
        let Some(condition) = object.get("if") else { return Ok(()) };
        let condition = self.schema(condition, step(at, "if"))?;
        let mut branch = |name: &str| match object.get(name) {
            Some(value) => self.schema(value, step(at, name)).map(Some),
            None => Ok(None),
        };
        let (then, otherwise) = (branch("then")?, branch("else")?);
        rules.push(Rule::If { condition, then, otherwise });
        Ok(())
    }

    /// The draft-07 spelling of `dependentRequired` and `dependentSchemas`.
    fn dependencies(&mut self, value: &'a Json, at: &str, rules: &mut Vec<Rule>) -> Done {
        if self.is_2020 {
            let what = "`dependencies` has no meaning in this version: use `dependentRequired`";
            return Err(unsupported(at, what));
        }
        let object = value.as_object().ok_or_else(|| unsupported(at, "it is not an object"))?;
        let (mut required, mut schemas) = (Vec::new(), Vec::new());
        for (name, value) in object.iter() {
            let here = step(at, name);
            if matches!(value, Json::Array(_)) {
                required.push((name.to_owned(), strings(value, &here)?));
            } else {
                schemas.push((name.to_owned(), self.schema(value, here)?));
            }
        }
        rules.push(Rule::DependentRequired(required));
        rules.push(Rule::DependentSchemas(schemas));
        Ok(())
    }

    fn list(&mut self, value: &'a Json, at: &str) -> Result<Vec<NodeId>, Unsupported> {
        let items = value.as_array().ok_or_else(|| unsupported(at, "it is not an array"))?;
        if items.is_empty() {
            return Err(unsupported(at, "it is empty"));
        }
        let items = items.iter().enumerate();
        items.map(|(index, item)| self.schema(item, step(at, &index.to_string()))).collect()
    }

    fn map(&mut self, value: &'a Json, at: &str) -> Result<Vec<(String, NodeId)>, Unsupported> {
        let object = value.as_object().ok_or_else(|| unsupported(at, "it is not an object"))?;
        object
            .iter()
            .map(|(name, value)| Ok((name.to_owned(), self.schema(value, step(at, name))?)))
            .collect()
    }

    /// Only references within the schema: nothing is ever fetched.
    fn reference(&mut self, value: &Json, at: &str) -> Result<NodeId, Unsupported> {
        let text = value.as_str().ok_or_else(|| unsupported(at, "it is not a string"))?;
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        if !address.is_empty() && address != self.root_id {
            return Err(unsupported(at, "it refers to another document, and nothing is fetched"));
        }
        let fragment = percent_decoded(fragment)
            .ok_or_else(|| unsupported(at, "it is not a valid reference"))?;
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            fragment
        } else {
            let anchor = self.anchors.get(&fragment);
            anchor.ok_or_else(|| unsupported(at, "there is no such anchor"))?.clone()
        };
        let target = resolve(self.root, &pointer)
            .ok_or_else(|| unsupported(at, "it refers to nothing in the schema"))?;
        self.schema(target, pointer)
    }
}

type Done = Result<(), Unsupported>;

/// Rules that hold no schema of their own. `None`: an annotation, or part of another rule.
fn plain_rule(name: &str, value: &Json, at: &str) -> Result<Option<Rule>, Unsupported> {
    Ok(Some(match name {
        "type" => Rule::Type(kinds(value, at)?),
        "enum" => {
            let values = value.as_array().ok_or_else(|| unsupported(at, "it is not an array"))?;
            Rule::Enum(values.to_vec())
        }
        "const" => Rule::Const(value.clone()),
        "required" => match value {
            Json::Bool(_) => return Err(unsupported(at, "a boolean here is draft-03")),
            _ => Rule::Required(strings(value, at)?),
        },
        "minProperties" => Rule::MinProperties(count(value, at)?),
        "maxProperties" => Rule::MaxProperties(count(value, at)?),
        "dependentRequired" => {
            let object = value.as_object().ok_or_else(|| unsupported(at, "it is not an object"))?;
            let pairs = object
                .iter()
                .map(|(name, names)| Ok((name.to_owned(), strings(names, &step(at, name))?)));
            Rule::DependentRequired(pairs.collect::<Result<_, Unsupported>>()?)
        }
        "minItems" => Rule::MinItems(count(value, at)?),
        "maxItems" => Rule::MaxItems(count(value, at)?),
        "uniqueItems" => match value {
            Json::Bool(true) => Rule::UniqueItems,
            Json::Bool(false) => return Ok(None),
            _ => return Err(unsupported(at, "it is not a boolean")),
        },
        "minLength" => Rule::MinLength(count(value, at)?),
        "maxLength" => Rule::MaxLength(count(value, at)?),
        "pattern" => {
            let text = value.as_str().ok_or_else(|| unsupported(at, "it is not a string"))?;
            Rule::Pattern(pattern::compile(text).map_err(|what| unsupported(at, what))?)
        }
        "minimum" => Rule::Minimum(decimal(value, at)?),
        "maximum" => Rule::Maximum(decimal(value, at)?),
        "exclusiveMinimum" => Rule::ExclusiveMinimum(decimal(value, at)?),
        "exclusiveMaximum" => Rule::ExclusiveMaximum(decimal(value, at)?),
        "multipleOf" => {
            let divisor = decimal(value, at)?;
            if !divisor.is_divisor() {
                return Err(unsupported(at, "it is not above zero, or has more than 18 digits"));
            }
            Rule::MultipleOf(divisor)
        }
        _ => return Ok(None),
    }))
}

/// Whether a keyword carries a rule: those beside a draft-07 `$ref` would have been silenced.
fn has_rule(name: &str) -> bool {
    const OTHERS: [&str; 15] = [
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "not",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "items",
        "additionalItems",
        "contains",
        "dependencies",
        "prefixItems",
        "dependentSchemas",
    ];
    const PLAIN: [&str; 18] = [
        "type",
        "enum",
        "const",
        "required",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ];
    OTHERS.contains(&name) || PLAIN.contains(&name)
}

fn unsupported(pointer: &str, what: &str) -> Unsupported {
    let pointer = if pointer.is_empty() { "/" } else { pointer };
    Unsupported { pointer: pointer.to_owned(), what: what.to_owned() }
}

fn step(pointer: &str, segment: &str) -> String {
    let mut pointer = pointer.to_owned();
    path::push_segment(&mut pointer, segment);
    pointer
}

fn kinds(value: &Json, at: &str) -> Result<Vec<Kind>, Unsupported> {
    let kind = |value: &Json| {
        let kind = value.as_str().and_then(Kind::from_word);
        kind.ok_or_else(|| unsupported(at, "it is not a type of JSON Schema"))
    };
    match value {
        Json::Array(items) => items.iter().map(kind).collect(),
        _ => Ok(vec![kind(value)?]),
    }
}

fn strings(value: &Json, at: &str) -> Result<Vec<String>, Unsupported> {
    let items = value.as_array().ok_or_else(|| unsupported(at, "it is not an array"))?;
    let text = |item: &Json| item.as_str().map(str::to_owned);
    let texts: Option<Vec<String>> = items.iter().map(text).collect();
    texts.ok_or_else(|| unsupported(at, "it holds something that is not a string"))
}

fn count(value: &Json, at: &str) -> Result<usize, Unsupported> {
    // `1.0` is a valid count in JSON Schema; nobody writes it, and refusing it is safe.
    let count = value.as_i64().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| unsupported(at, "it is not a count"))
}

fn decimal(value: &Json, at: &str) -> Result<Decimal, Unsupported> {
    let decimal = match value {
        Json::Number(number) => Decimal::read(number.text()),
        _ => None,
    };
    decimal.ok_or_else(|| unsupported(at, "it is not a number that can be compared"))
}

/// The constants of branches, if every branch is one constant string: how generated schemas spell
/// an enumeration.
fn words(value: &Json) -> Vec<String> {
    let branches = value.as_array().unwrap_or_default().iter();
    let word = |branch: &Json| match branch.get("enum").and_then(Json::as_array) {
        Some([only]) => only.as_str().map(str::to_owned),
        _ => branch.get("const")?.as_str().map(str::to_owned),
    };
    branches.map(word).collect::<Option<Vec<String>>>().unwrap_or_default()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

fn resolve<'a>(root: &'a Json, pointer: &str) -> Option<&'a Json> {
    pointer.split('/').skip(1).try_fold(root, |value, segment| {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match value {
            Json::Object(object) => object.get(&segment),
            Json::Array(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    })
}
