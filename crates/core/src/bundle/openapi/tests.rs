use super::*;
use crate::conform::Conformance;

fn described(version: &str, paths: &str, components: &str) -> Described {
    let text = format!(
        r#"{{"openapi": "{version}", "info": {{}}, "servers": [{{"url": "https://evil.example"}}],
             "paths": {paths}, "components": {components}}}"#
    );
    read(text.as_bytes()).unwrap()
}

fn only(version: &str, paths: &str, components: &str) -> Endpoint {
    let mut described = described(version, paths, components);
    assert_eq!(described.left_out, BTreeMap::new());
    let (_, endpoint) = described.endpoints.pop_first().unwrap();
    assert!(described.endpoints.is_empty());
    endpoint
}

/// Whether arguments conform to the schema that was made.
fn accepts(endpoint: &Endpoint, arguments: &str) -> bool {
    let arguments = Json::parse(arguments.as_bytes(), &JsonLimits::OWN).unwrap();
    let conformance = Conformance::compile(&endpoint.schema).unwrap();
    conformance.check_arguments(arguments.as_object().unwrap()).is_ok()
}

fn places(endpoint: &Endpoint) -> Vec<(&str, Spot, bool)> {
    let fields = endpoint.fields.iter();
    fields.map(|(name, field)| (name.as_str(), field.place, field.is_required)).collect()
}

const TICKETS: &str = r##"{
  "/projects/{project}/tickets/{id}": {
    "summary": "x",
    "parameters": [
      {"$ref": "#/components/parameters/Project"},
      {"name": "verbose", "in": "query", "schema": {"type": "string"}}
    ],
    "put": {
      "operationId": "updateTicket",
      "summary": "Changes a ticket.",
      "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}},
        {"name": "verbose", "in": "query", "schema": {"type": "boolean"}, "description": "more"},
        {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
        {"name": "ids", "in": "query", "explode": false,
         "schema": {"type": "array", "items": {"type": "integer"}}},
        {"name": "X-Reason", "in": "header", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "required": true, "schema": {"type": "string"}},
        {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
        {"name": "session", "in": "cookie", "schema": {"type": "string"}}
      ],
      "requestBody": {"$ref": "#/components/requestBodies/Ticket"}
    }
  }
}"##;

const COMPONENTS: &str = r##"{
  "parameters": {
    "Project": {"name": "project", "in": "path", "required": true,
                "schema": {"$ref": "#/components/schemas/Name"}}
  },
  "requestBodies": {
    "Ticket": {"required": true, "content": {
      "application/xml": {},
      "application/json; charset=utf-8": {"schema": {"$ref": "#/components/schemas/Ticket"}}}}
  },
  "schemas": {
    "Name": {"type": "string", "enum": ["web", "api"], "example": "web"},
    "Titled": {"type": "object", "required": ["title"], "properties": {
      "title": {"type": "string", "maxLength": 5, "nullable": true, "x-y": 1}}},
    "Ticket": {"description": "a ticket", "allOf": [
      {"$ref": "#/components/schemas/Titled"},
      {"type": "object", "required": ["created", "level"], "properties": {
        "level": {"type": "integer", "minimum": 0, "exclusiveMinimum": true},
        "created": {"type": "string", "readOnly": true}}}]}
  }
}"##;

#[test]
fn parameters_bodies_and_references_become_arguments() {
    let endpoint = only("3.0.3", TICKETS, COMPONENTS);
    assert_eq!(
        places(&endpoint),
        [
            ("X-Reason", Spot::Header, false),
            ("id", Spot::Path, true),
            ("ids", Spot::QueryList, false),
            ("level", Spot::Member, true),
            ("project", Spot::Path, true),
            ("tag", Spot::Query, false),
            ("title", Spot::Member, true),
            ("verbose", Spot::Query, false),
        ]
    );
    assert_eq!(endpoint.target(), "PUT /projects/{project}/tickets/{id}");
    assert!(endpoint.needs_body);
    assert_eq!(endpoint.description, "Changes a ticket.\n\nPUT /projects/{project}/tickets/{id}");
    let sound = r#"{"project": "web", "id": 1, "title": null, "level": 1, "verbose": true}"#;
    assert!(accepts(&endpoint, sound));
    for wrong in [
        r#"{"project": "other", "id": 1, "title": "a", "level": 1}"#,
        r#"{"project": "web", "id": "1", "title": "a", "level": 1}"#,
        r#"{"project": "web", "id": 1, "title": "longer", "level": 1}"#,
        r#"{"project": "web", "id": 1, "title": "a", "level": 0}"#,
        r#"{"project": "web", "id": 1, "title": "a"}"#,
        r#"{"project": "web", "id": 1, "title": "a", "level": 1, "created": "x"}"#,
        r#"{"project": "web", "id": 1, "title": "a", "level": 1, "verbose": "yes"}"#,
        r#"{"project": "web", "id": 1, "title": "a", "level": 1, "filter": {}}"#,
    ] {
        assert!(!accepts(&endpoint, wrong), "{wrong}");
    }
}

#[test]
fn the_words_of_3_1_are_read_too() {
    let paths = r##"{"/a": {"post": {"requestBody": {"content": {"application/merge-patch+json": {
        "schema": {"$ref": "#/components/schemas/A"}}}}}}}"##;
    let components = r##"{"schemas": {
        "A": {"type": "object", "properties": {
            "n": {"type": ["integer", "null"], "exclusiveMinimum": 3},
            "b": {"$ref": "#/components/schemas/B", "maxLength": 2, "description": "two"},
            "c": {"const": "x"}, "any": true}},
        "B": {"type": "string", "minLength": 1}}}"##;
    let endpoint = only("3.1.0", paths, components);
    assert_eq!(endpoint.content_type, "application/merge-patch+json");
    assert!(!endpoint.needs_body);
    assert!(accepts(&endpoint, r#"{"n": null, "b": "ab", "c": "x", "any": [1]}"#));
    for wrong in [r#"{"n": 3}"#, r#"{"b": "abc"}"#, r#"{"b": ""}"#, r#"{"c": "y"}"#] {
        assert!(!accepts(&endpoint, wrong), "{wrong}");
    }
}

#[test]
fn a_body_that_is_no_plain_object_is_one_argument() {
    let body = |schema: &str| {
        let paths = format!(
            r#"{{"/a/{{id}}": {{"post": {{
              "parameters": [{{"name": "id", "in": "path", "schema": {{"type": "string"}}}}],
              "requestBody": {{"required": true,
                "content": {{"application/json": {{"schema": {schema}}}}}}}}}}}}}"#
        );
        only("3.0.0", &paths, "{}")
    };
    for schema in [
        r#"{"type": "array", "items": {"type": "string"}}"#,
        r#"{"type": "object", "additionalProperties": {"type": "string"}}"#,
        r#"{"type": "object", "properties": {"id": {"type": "string"}}}"#,
        r#"{"oneOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]}"#,
        "{}",
    ] {
        let endpoint = body(schema);
        let expected = [("body", Spot::Body, true), ("id", Spot::Path, true)];
        assert_eq!(places(&endpoint), expected, "{schema}");
    }
}

#[test]
fn what_cannot_be_sent_is_left_out_with_its_reason() {
    let op = |members: &str| format!(r#"{{"/a": {{"get": {{"operationId": "a", {members}}}}}}}"#);
    let required = |place: &str, schema: &str| {
        op(&format!(
            r#""parameters": [{{"name": "p", "in": "{place}", "required": true,
                "schema": {schema}}}]"#
        ))
    };
    let components = r##"{"schemas": {
        "Loop": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Loop"}}},
        "Round": {"$ref": "#/components/schemas/Round"}}}"##;
    for (paths, why) in [
        (required("cookie", r#"{"type": "string"}"#), "no place"),
        (required("query", r#"{"type": "object"}"#), "neither text"),
        (required("query", "{}"), "neither text"),
        (required("header", r#"{"type": "array", "items": {"type": "string"}}"#), "neither text"),
        (required("path", r#"{"type": "string"}"#), "does not say"),
        (required("query", r##"{"$ref": "#/components/schemas/Loop"}"##), "go round"),
        (required("query", r##"{"$ref": "#/components/schemas/Round"}"##), "go round"),
        (required("query", r##"{"$ref": "other.json#/a"}"##), "outside"),
        (required("query", r##"{"$ref": "https://evil.example/a"}"##), "outside"),
        (required("query", r##"{"$ref": "#/components/schemas/No"}"##), "not there"),
        (
            required("header", r#"{"type": "string"}"#).replace(r#""p""#, r#""X-Forwarded-Host""#),
            "fills",
        ),
        (op(r#""parameters": {}"#), "no list"),
        (
            op(r#""requestBody": {"required": true, "content": {"multipart/form-data": {}}}"#),
            "no JSON",
        ),
        (op(r#""requestBody": {"content": {"application/json": {}}}"#), "method has none"),
        (r#"{"/a/{b}": {"get": {"operationId": "a"}}}"#.to_owned(), "nothing fills"),
        (r#"{"/a/../b": {"get": {"operationId": "a"}}}"#.to_owned(), "dots"),
        (r##"{"/a": {"$ref": "#/x", "get": {"operationId": "a"}}}"##.to_owned(), "elsewhere"),
    ] {
        let described = described("3.0.0", &paths, components);
        assert!(described.endpoints.is_empty(), "{paths}");
        assert!(described.left_out["a"].contains(why), "{paths}: {}", described.left_out["a"]);
    }
}

#[test]
fn names_are_those_of_operations_or_made() {
    let described = described(
        "3.0.0",
        r#"{"/a/b": {"get": {}, "post": {"operationId": "do it!"}, "options": {}},
            "/c": {"get": {"operationId": "twice"}, "put": {"operationId": "twice"}}}"#,
        "{}",
    );
    let names: Vec<&String> = described.endpoints.keys().collect();
    assert_eq!(names, ["do_it", "get_a_b"]);
    assert_eq!(described.left_out["twice"], "several operations have this name");
    assert!(read(b"openapi: 3.0.0").is_err());
    assert!(read(br#"{"swagger": "2.0"}"#).is_err() && read(br#"{"openapi": "4.0.0"}"#).is_err());
}

#[test]
fn a_pattern_that_cannot_be_checked_is_left_to_the_api() {
    let paths = r#"{"/a": {"get": {"parameters": [{"name": "p", "in": "query",
        "schema": {"type": "string", "pattern": "^(?=a)", "maxLength": 2}}]}}}"#;
    let endpoint = only("3.0.0", paths, "{}");
    assert!(accepts(&endpoint, r#"{"p": "b"}"#) && !accepts(&endpoint, r#"{"p": "abc"}"#));
}
