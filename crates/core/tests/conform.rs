//! Argument schemas: a table of keywords, and agreement with an independent validator on generated
//! schemas.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use lockgate_core::conform::{Conformance, VIOLATIONS_MAX};
use lockgate_types::{Json, JsonLimits};
use proptest::prelude::*;
use serde_json::{Value, json};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn compile(schema: &str) -> Conformance {
    Conformance::compile(&json(schema)).unwrap_or_else(|e| panic!("{schema}: {e}"))
}

/// Schema, what conforms, what does not.
const KEYWORDS: &[(&str, &[&str], &[&str])] = &[
    ("true", &["1", "null"], &[]),
    ("false", &[], &["1", "null"]),
    ("{}", &["1"], &[]),
    (r#"{"type":"integer"}"#, &["1", "1.0", "1e2", "-0"], &["1.5", "\"1\"", "true", "1e-1"]),
    (r#"{"type":["string","null"]}"#, &["null", "\"\""], &["0", "[]"]),
    (r#"{"enum":[1,"a",{"x":[1.0]}]}"#, &["1.0", "\"a\"", r#"{"x":[1]}"#], &["2", "\"b\"", "{}"]),
    (r#"{"const":{"a":1,"b":2}}"#, &[r#"{"b":2.0,"a":1}"#], &[r#"{"a":1}"#, "null"]),
    (r#"{"properties":{"a":{"type":"string"}}}"#, &["{}", "[]", r#"{"b":1}"#], &[r#"{"a":1}"#]),
    (r#"{"required":["a"]}"#, &[r#"{"a":null}"#, "1"], &["{}"]),
    (
        r#"{"properties":{"a":true},"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}"#,
        &[r#"{"a":1,"x1":2}"#],
        &[r#"{"x1":"2"}"#, r#"{"b":1}"#],
    ),
    (r#"{"additionalProperties":{"type":"integer"}}"#, &[r#"{"a":1}"#], &[r#"{"a":"1"}"#]),
    (r#"{"propertyNames":{"maxLength":1}}"#, &[r#"{"a":1}"#], &[r#"{"ab":1}"#]),
    (
        r#"{"minProperties":1,"maxProperties":2}"#,
        &[r#"{"a":1}"#],
        &["{}", r#"{"a":1,"b":1,"c":1}"#],
    ),
    (r#"{"dependentRequired":{"a":["b"]}}"#, &["{}", r#"{"a":1,"b":1}"#], &[r#"{"a":1}"#]),
    (r#"{"dependentSchemas":{"a":{"maxProperties":1}}}"#, &[r#"{"a":1}"#], &[r#"{"a":1,"b":1}"#]),
    (r#"{"items":{"type":"integer"}}"#, &["[]", "[1,2]"], &["[1,\"2\"]"]),
    (
        r#"{"prefixItems":[{"type":"integer"}],"items":false}"#,
        &["[]", "[1]"],
        &["[1,2]", "[\"1\"]"],
    ),
    (r#"{"items":[{"type":"integer"}],"additionalItems":false}"#, &["[1]"], &["[1,2]", "[null]"]),
    (r#"{"contains":{"const":1}}"#, &["[2,1]"], &["[]", "[2]"]),
    (
        r#"{"contains":{"const":1},"minContains":2,"maxContains":3}"#,
        &["[1,1]"],
        &["[1]", "[1,1,1,1]"],
    ),
    (r#"{"contains":{"const":1},"minContains":0}"#, &["[]", "[2]"], &[]),
    (r#"{"minItems":1,"maxItems":2}"#, &["[1]"], &["[]", "[1,2,3]"]),
    (
        r#"{"uniqueItems":true}"#,
        &["[1,\"1\",true]"],
        &["[1,1.0]", r#"[{"a":1,"b":2},{"b":2,"a":1}]"#],
    ),
    (r#"{"minLength":2,"maxLength":3}"#, &["\"éé\"", "\"😀😀😀\""], &["\"é\"", "\"abcd\""]),
    (r#"{"pattern":"^a+$"}"#, &["\"aa\"", "1"], &["\"b\"", "\"\""]),
    (r#"{"minimum":0.1,"exclusiveMaximum":1e2}"#, &["0.1", "99.99"], &["0.09", "100", "1e3"]),
    (r#"{"maximum":-1,"exclusiveMinimum":-3}"#, &["-1", "-2.999"], &["-3.0", "0"]),
    // Beyond 64 bits, and beyond what floats can tell apart.
    (r#"{"maximum":9007199254740993}"#, &["9007199254740993"], &["9007199254740994", "1e400"]),
    (r#"{"multipleOf":0.01}"#, &["19.99", "0"], &["19.999"]),
    (r#"{"allOf":[{"minimum":1},{"maximum":2}]}"#, &["1"], &["0", "3"]),
    (r#"{"anyOf":[{"type":"string"},{"minimum":2}]}"#, &["\"\"", "2", "null"], &["1"]),
    (r#"{"oneOf":[{"type":"integer"},{"minimum":2}]}"#, &["1", "2.5"], &["3", "1.5"]),
    (r#"{"not":{"type":"string"}}"#, &["1"], &["\"\""]),
    (
        r#"{"if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["a"]},"else":{"required":["b"]}}"#,
        &[r#"{"k":1,"a":1}"#, r#"{"k":2,"b":1}"#],
        &[r#"{"k":1,"b":1}"#, r#"{"a":1}"#],
    ),
    (
        r##"{"$defs":{"t":{"type":"object","properties":{"next":{"$ref":"#/$defs/t"}},"required":["v"]}},"$ref":"#/$defs/t"}"##,
        &[r#"{"v":1,"next":{"v":2}}"#],
        &[r#"{"v":1,"next":{}}"#],
    ),
    (r##"{"definitions":{"a":{"$anchor":"here","minimum":1}},"$ref":"#here"}"##, &["1"], &["0"]),
    (
        r##"{"$id":"https://x.example/s","$defs":{"a/b":{"minimum":1}},"$ref":"https://x.example/s#/$defs/a~1b"}"##,
        &["1"],
        &["0"],
    ),
    (
        r##"{"$defs":{"a b":{"minimum":1}},"$ref":"#/$defs/a%20b","maximum":5}"##,
        &["1"],
        &["0", "6"],
    ),
    (
        r#"{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"c":{"maxProperties":1}}}"#,
        &[r#"{"a":1,"b":1}"#, r#"{"c":1}"#],
        &[r#"{"a":1}"#, r#"{"c":1,"d":1}"#],
    ),
    (
        r#"{"format":"email","title":"t","x-mcp-header":"Region","default":1}"#,
        &["\"no email\""],
        &[],
    ),
];

#[test]
fn every_keyword_means_what_the_specification_says() {
    for (schema, conforming, violating) in KEYWORDS {
        let conformance = compile(schema);
        for value in *conforming {
            assert_eq!(conformance.check(&json(value)), Ok(()), "{schema} on {value}");
        }
        for value in *violating {
            assert!(conformance.check(&json(value)).is_err(), "{schema} on {value}");
        }
    }
}

#[test]
fn what_cannot_be_checked_is_not_accepted() {
    for schema in [
        r#"{"unevaluatedProperties":false}"#,
        r#"{"properties":{"a":{"unevaluatedItems":false}}}"#,
        r##"{"$dynamicRef":"#x"}"##,
        r#"{"$ref":"https://elsewhere.example/s"}"#,
        r#"{"$ref":"other.json"}"#,
        r##"{"$ref":"#/$defs/missing"}"##,
        r##"{"$ref":"#missing"}"##,
        r##"{"$ref":"#%zz"}"##,
        r#"{"$schema":"http://json-schema.org/draft-04/schema#"}"#,
        r##"{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/a","minimum":1,"definitions":{"a":true}}"##,
        r#"{"properties":{"a":{"$id":"https://embedded.example"}}}"#,
        r#"{"dependencies":{"a":["b"]}}"#,
        r#"{"items":[true],"prefixItems":[true]}"#,
        r#"{"type":"text"}"#,
        r#"{"type":1}"#,
        r#"{"minimum":"1"}"#,
        r#"{"exclusiveMinimum":true}"#,
        r#"{"multipleOf":0}"#,
        r#"{"multipleOf":-1}"#,
        r#"{"minLength":-1}"#,
        r#"{"required":true}"#,
        r#"{"required":[1]}"#,
        r#"{"allOf":[]}"#,
        r#"{"properties":[]}"#,
        r#"{"pattern":"(?=a)"}"#,
        r#"{"patternProperties":{"[":true}}"#,
        r#"{"not":1}"#,
        "1",
        "null",
    ] {
        assert!(Conformance::compile(&json(schema)).is_err(), "{schema}");
    }
    let many = format!(r#"{{"allOf":[{}]}}"#, vec!["true"; 5000].join(","));
    assert!(Conformance::compile(&json(&many)).is_err());
}

#[test]
fn a_check_is_bounded_and_an_unfinished_one_refuses() {
    let endless = compile(r##"{"$ref":"#"}"##);
    assert_eq!(endless.check(&json("1")).unwrap_err()[0].rule, "bounds");
    // A negation must not turn giving up into a pass.
    let negated = compile(r##"{"$defs":{"a":{"$ref":"#/$defs/a"}},"not":{"$ref":"#/$defs/a"}}"##);
    assert!(negated.check(&json("1")).is_err());
    let branching = compile(
        r##"{"$defs":{"t":{"type":"array","items":{"anyOf":[{"allOf":[{"$ref":"#/$defs/t"},{"maxItems":0},false]},{"$ref":"#/$defs/t"}]}}},"$ref":"#/$defs/t"}"##,
    );
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    assert_eq!(branching.check(&json(&deep)).unwrap_err()[0].rule, "bounds");
    let not_number = compile(r#"{"not":{"minimum":1}}"#);
    assert!(not_number.check(&json("1e99999999999999999999")).is_err());
    let many = compile(r#"{"additionalProperties":false}"#);
    let object: Vec<String> = (0..100).map(|n| format!("\"m{n}\":1")).collect();
    let violations = many.check(&json(&format!("{{{}}}", object.join(",")))).unwrap_err();
    assert_eq!(violations.len(), VIOLATIONS_MAX);
}

#[test]
fn violations_name_the_place_and_never_the_value() {
    let conformance = compile(
        r#"{"type":"object","required":["id"],"properties":{"a/b":{"items":{"type":"object","properties":{"n":{"maximum":3}}}},
            "e":{"enum":["x","y"]},"s":{"pattern":"^a$","maxLength":2}},"additionalProperties":false}"#,
    );
    let value =
        json(r#"{"a/b":[{"n":1},{"n":424242}],"e":"sesame","s":"opensesame","extra":"sesame"}"#);
    let violations = conformance.check(&value).unwrap_err();
    let found: Vec<(&str, &str)> = violations.iter().map(|v| (v.path.as_str(), v.rule)).collect();
    for expected in [
        ("/a~1b/1/n", "maximum"),
        ("/e", "enum"),
        ("/s", "pattern"),
        ("/s", "maxLength"),
        ("/extra", "additionalProperties"),
        ("", "required"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
    let text: String =
        violations.iter().map(|violation| format!("{violation:?} {violation}")).collect();
    assert!(!text.contains("sesame") && !text.contains("424242"), "{text}");
}

#[test]
fn undeclared_arguments_are_refused_unless_the_schema_says_otherwise() {
    for (schema, arguments, is_accepted) in [
        (r#"{"type":"object","properties":{"a":{}}}"#, r#"{"a":1}"#, true),
        (r#"{"type":"object","properties":{"a":{}}}"#, r#"{"a":1,"b":2}"#, false),
        (
            r#"{"type":"object","properties":{"a":{}},"additionalProperties":true}"#,
            r#"{"b":2}"#,
            true,
        ),
        (
            r#"{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}"#,
            r#"{"b":2}"#,
            true,
        ),
        (
            r#"{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}"#,
            r#"{"b":""}"#,
            false,
        ),
        (r#"{"properties":{"a":{}},"additionalProperties":false}"#, r#"{"b":2}"#, false),
        (r#"{"patternProperties":{"^x-":{}}}"#, r#"{"x-b":2}"#, true),
        (r#"{"patternProperties":{"^x-":{}}}"#, r#"{"y":2}"#, false),
        ("true", r#"{"a":1}"#, false),
        ("{}", "{}", true),
        ("{}", r#"{"a":1}"#, false),
        // Only the top level is stricter than JSON Schema.
        (r#"{"properties":{"a":{"properties":{"b":{}}}}}"#, r#"{"a":{"c":1}}"#, true),
        (r##"{"$defs":{"x":{"properties":{"a":{}}}},"$ref":"#/$defs/x"}"##, r#"{"a":1}"#, true),
        (r##"{"$defs":{"x":{"properties":{"a":{}}}},"$ref":"#/$defs/x"}"##, r#"{"b":1}"#, false),
        (r#"{"anyOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}"#, r#"{"b":1}"#, true),
        (r#"{"if":{"required":["a"]},"then":{"properties":{"a":{}}}}"#, r#"{"a":1}"#, true),
        // Where others are allowed, none may pass for a declared one to a reader that ignores case.
        (r#"{"properties":{"amount":{}},"additionalProperties":true}"#, r#"{"Amount":1}"#, false),
        (
            r#"{"properties":{"amount":{}},"additionalProperties":true}"#,
            r#"{"amount":1,"AMOUNT":2}"#,
            false,
        ),
        (
            r#"{"properties":{"is":{},"IS":{}},"additionalProperties":true}"#,
            r#"{"is":1,"IS":2}"#,
            true,
        ),
        (r#"{"properties":{"is":{}},"patternProperties":{"^i":{}}}"#, "{\"i\u{17f}\":1}", false),
        // A condition or a negation declares nothing.
        (r#"{"not":{"properties":{"b":{"type":"string"}},"required":["b"]}}"#, r#"{"b":1}"#, false),
        (r#"{"if":{"properties":{"b":{}},"additionalProperties":true}}"#, r#"{"b":1}"#, false),
    ] {
        let arguments = json(arguments);
        let result = compile(schema).check_arguments(arguments.as_object().unwrap());
        assert_eq!(result.is_ok(), is_accepted, "{schema} on {arguments}");
    }
}

/// A small deterministic generator: schemas and values over the same few names, so that they often
/// meet.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len() as u64) as usize]
    }

    fn number(&mut self) -> Value {
        // Quarters: the oracle calculates with floats, and these it can hold.
        let numbers = [
            json!(0),
            json!(1),
            json!(2),
            json!(3),
            json!(-1),
            json!(0.5),
            json!(1.0),
            json!(2.25),
            json!(-2),
        ];
        self.pick(&numbers).clone()
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.roll(if depth == 0 { 4 } else { 7 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => self.number(),
            3 => json!(*self.pick(&["", "a", "ab", "abc", "é", "b"])),
            4 | 5 => {
                let count = self.roll(4);
                (0..count)
                    .map(|_| (self.pick(&["a", "b", "c", "d"]).to_string(), self.value(depth - 1)))
                    .collect()
            }
            _ => {
                let count = self.roll(4);
                (0..count).map(|_| self.value(depth - 1)).collect()
            }
        }
    }

    fn list(&mut self, depth: u64) -> Value {
        let count = 1 + self.roll(3);
        (0..count).map(|_| self.schema(depth)).collect()
    }

    fn map(&mut self, depth: u64) -> Value {
        let count = self.roll(4);
        (0..count).map(|_| (self.pick(&["a", "b", "c"]).to_string(), self.schema(depth))).collect()
    }

    fn schema(&mut self, depth: u64) -> Value {
        if depth == 0 {
            return [
                json!(true),
                json!(false),
                json!({}),
                json!({"type":"string"}),
                json!({"type":["integer","null"]}),
            ][self.roll(5) as usize]
                .clone();
        }
        let mut schema = serde_json::Map::new();
        for _ in 0..=self.roll(3) {
            let inner = depth - 1;
            let (name, value) = match self.roll(34) {
                0 | 1 => (
                    "type",
                    json!(*self.pick(&[
                        "null", "boolean", "object", "array", "number", "integer", "string"
                    ])),
                ),
                2 => ("enum", json!([self.value(1), self.value(1)])),
                3 => ("const", self.value(1)),
                4..=6 => ("properties", self.map(inner)),
                7 => ("required", json!([*self.pick(&["a", "b", "c"])])),
                8 => ("additionalProperties", self.schema(inner)),
                9 => (
                    "patternProperties",
                    json!({ *self.pick(&["^a", "b$", "^[a-c]$", "\\d"]): self.schema(inner) }),
                ),
                10 => ("propertyNames", self.schema(inner)),
                11 => ("minProperties", json!(self.roll(3))),
                12 => ("maxProperties", json!(self.roll(3))),
                13 => (
                    "dependentRequired",
                    json!({ *self.pick(&["a", "b"]): [*self.pick(&["a", "b"])] }),
                ),
                14 => ("dependentSchemas", json!({ *self.pick(&["a", "b"]): self.schema(inner) })),
                15 => ("items", self.schema(inner)),
                16 => ("prefixItems", self.list(inner)),
                17 => ("contains", self.schema(inner)),
                18 => ("minContains", json!(self.roll(3))),
                19 => ("maxContains", json!(self.roll(3))),
                20 => ("minItems", json!(self.roll(3))),
                21 => ("maxItems", json!(self.roll(3))),
                22 => ("uniqueItems", json!(true)),
                23 => ("minLength", json!(self.roll(3))),
                24 => ("maxLength", json!(self.roll(3))),
                25 => ("pattern", json!(*self.pick(&["^a", "b$", "^\\w+$", "a{2,}", "[^a-b]"]))),
                26 => (
                    *self.pick(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
                    self.number(),
                ),
                27 => (
                    "multipleOf",
                    self.pick(&[json!(1), json!(2), json!(0.25), json!(0.5)]).clone(),
                ),
                28 => ("allOf", self.list(inner)),
                29 => ("anyOf", self.list(inner)),
                30 => ("oneOf", self.list(inner)),
                31 => ("not", self.schema(inner)),
                32 => (*self.pick(&["if", "then", "else"]), self.schema(inner)),
                _ => ("$ref", json!(*self.pick(&["#/$defs/x", "#/$defs/y", "#anchor"]))),
            };
            schema.insert(name.to_owned(), value);
        }
        schema.into()
    }

    fn root(&mut self) -> Value {
        let mut root = self.schema(3);
        let mut y = self.schema(0);
        if let Some(y) = y.as_object_mut() {
            y.insert("$anchor".to_owned(), json!("anchor"));
        } else {
            y = json!({"$anchor": "anchor", "maxItems": 1});
        }
        root["$defs"] = json!({ "x": {"type": ["object", "array", "integer"], "properties": {"a": {"$ref": "#/$defs/x"}}, "items": {"$ref": "#/$defs/y"}}, "y": y });
        root
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn agrees_with_an_independent_validator(seed in 1u64..) {
        let mut dice = Dice(seed);
        let schema = dice.root();
        let oracle = jsonschema::draft202012::new(&schema).unwrap();
        let ours = Conformance::compile(&json(&schema.to_string()));
        let ours = ours.unwrap_or_else(|e| panic!("{schema}: {e}"));
        for _ in 0..12 {
            let value = dice.value(3);
            let verdict = ours.check(&json(&value.to_string()));
            prop_assert_eq!(verdict.is_ok(), oracle.is_valid(&value), "{} on {}: {:?}", schema, value, verdict);
        }
    }

    #[test]
    fn no_schema_and_no_value_panics(seed in 1u64.., noise in "[\\[\\]{}^$\\\\a-z()?*+.|0-9,-]{0,24}") {
        let mut dice = Dice(seed);
        let mut schema = dice.root();
        schema["pattern"] = json!(noise);
        // Values where schemas are expected.
        schema[*dice.pick(&["properties", "items", "$ref", "enum", "type", "not", "required"])] = dice.value(2);
        if let Ok(conformance) = Conformance::compile(&json(&schema.to_string())) {
            let _ = conformance.check(&json(&dice.value(4).to_string()));
        }
    }

    #[test]
    fn patterns_agree_with_an_ecma_translation(pattern in "\\^?(\\[\\^?[a-c&~-]{1,3}\\]|\\\\d|\\\\w|\\\\s|\\\\D|\\\\W|[a-c.é]|\\(a\\|b\\)){1,4}[*+?]?\\$?", text in "[a-c0-9 \n\u{660}é&~_-]{0,5}") {
        let schema = json!({"pattern": pattern});
        let Ok(ours) = Conformance::compile(&json(&schema.to_string())) else { return Ok(()) };
        let Ok(oracle) = jsonschema::draft202012::new(&schema) else { return Ok(()) };
        let verdict = ours.check(&json(&json!(text).to_string())).is_ok();
        prop_assert_eq!(verdict, oracle.is_valid(&json!(text)), "{} on {:?}", pattern, text);
    }
}
