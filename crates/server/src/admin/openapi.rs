//! The description of the admin API, generated from the table that the router is built from.

use super::problem::Problem;
use super::table::{AnswerForm, Form, Method, Parameter, Place, ROUTES, Route};
use super::{Asked, Parts, Reading, answers};
use lockgate_core::flow::WORDS_BYTES_MAX;
use lockgate_kernel::TEXTS_MAX;
use lockgate_types::ID_BYTES_MAX;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The statuses of what is not done, and what they mean here.
const PROBLEMS: &[(&str, &str)] = &[
    ("400", "The request is not well formed."),
    ("401", "There is no token, or none that this gate accepts."),
    ("403", "The identity may not do this. The refusal is recorded."),
    ("404", "There is no such thing."),
    ("405", "The address is not asked with this method."),
    ("409", "What it is about does not stand so any more."),
    ("410", "The payload was erased on purpose."),
    ("413", "The body is too large."),
    ("422", "The bundle has mistakes, or a key was used for something else."),
    ("429", "Too many are under way."),
    ("500", "The gate made a mistake."),
    ("503", "What is needed is not available now: the record, a bundle."),
];

/// The OpenAPI 3.1 description of the admin API.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
            Method::Delete => "delete",
        };
        let item = paths.entry(described_path(route.path)).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method.to_owned(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Reads and changes a running gate. Every operation is decided by the \
                gate's own policies as `lockgate/<operation>` and recorded like any other call.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "schemas": { "Error": answers::error() },
            "responses": responses(),
        },
    })
}

pub(super) async fn describe(_parts: Arc<Parts>, _asked: Asked) -> Result<Reading, Problem> {
    Reading::typed(&openapi())
}

/// The rest of a path is one parameter here: OpenAPI has no other word for it.
fn described_path(path: &str) -> String {
    path.replace("{*", "{")
}

fn operation(route: &Route) -> Value {
    let (media, description, schema) = match route.answer {
        AnswerForm::Json(schema) => ("application/json", "The answer.", schema()),
        AnswerForm::Text(description) => ("text/plain", description, json!({ "type": "string" })),
        AnswerForm::Octets(description) => ("application/octet-stream", description, json!({})),
        AnswerForm::Events(description) => {
            ("text/event-stream", description, json!({ "type": "string" }))
        }
        AnswerForm::Created(schema) | AnswerForm::CreatedOnce(schema) => {
            ("application/json", "What was made.", schema())
        }
    };
    let mut answered = Map::new();
    let content = json!({ media: { "schema": schema } });
    let status = match route.answer {
        AnswerForm::Created(_) | AnswerForm::CreatedOnce(_) => "201",
        AnswerForm::Json(_)
        | AnswerForm::Text(_)
        | AnswerForm::Octets(_)
        | AnswerForm::Events(_) => "200",
    };
    if matches!(route.answer, AnswerForm::CreatedOnce(_)) {
        let known = json!({ "description": "What was made before.", "content": content });
        answered.insert("200".to_owned(), known);
    }
    let made = json!({ "description": description, "content": content });
    answered.insert(status.to_owned(), made);
    for (status, _) in PROBLEMS {
        let reference = json!({ "$ref": format!("#/components/responses/{status}") });
        answered.insert((*status).to_owned(), reference);
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": outside_body(route).map(parameter).collect::<Vec<_>>(),
        "responses": answered,
    });
    if let (Some(decided_as), Some(members)) = (route.operation, operation.as_object_mut()) {
        members.insert("x-lockgate-operation".to_owned(), json!(format!("lockgate/{decided_as}")));
    }
    if let (Method::Post, Some(members)) = (route.method, operation.as_object_mut()) {
        members.insert("requestBody".to_owned(), body(route));
    }
    operation
}

fn outside_body(route: &Route) -> impl Iterator<Item = &Parameter> {
    route.parameters.iter().filter(|parameter| !parameter.is_in_body())
}

fn body(route: &Route) -> Value {
    let members = || route.parameters.iter().filter(|it| it.is_in_body());
    let described = members().map(|it| {
        let mut schema = schema(it);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(it.about));
        }
        (it.name.to_owned(), schema)
    });
    let mut object = json!({ "type": "object", "additionalProperties": false });
    let required = members().filter(|it| it.place == Place::Body);
    let required: Vec<&str> = required.map(|it| it.name).collect();
    let is_required = !required.is_empty();
    if let (Some(object), true) = (object.as_object_mut(), members().next().is_some()) {
        object.insert("properties".to_owned(), Value::Object(described.collect()));
        if is_required {
            object.insert("required".to_owned(), json!(required));
        }
    }
    let content = json!({ "application/json": { "schema": object } });
    json!({ "required": is_required, "content": content })
}

/// `get_traces_call`: the method and the words of the path.
fn operation_id(route: &Route) -> String {
    let method = match route.method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Delete => "delete",
    };
    let path = route.path.trim_start_matches("/v1/");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn schema(parameter: &Parameter) -> Value {
    match parameter.form {
        Form::Agent | Form::Call => {
            json!({ "type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX })
        }
        Form::Digest => json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }),
        Form::TilePath { bytes_max } => json!({ "type": "string", "maxLength": bytes_max }),
        Form::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Form::Word(words) => json!({ "enum": words }),
        Form::Text { bytes_max } => json!({ "type": "string", "maxLength": bytes_max }),
        Form::Prose { bytes_max } => {
            json!({ "type": "string", "minLength": 1, "maxLength": bytes_max })
        }
        Form::Words => json!({ "oneOf": [
            { "type": "string", "maxLength": WORDS_BYTES_MAX },
            { "type": "array", "maxItems": TEXTS_MAX, "items": { "type": "string" } },
        ] }),
        Form::Names { max } => json!({
            "type": "array",
            "maxItems": max,
            "items": { "type": "string", "maxLength": ID_BYTES_MAX },
        }),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
        // Described with the body.
        Place::Body | Place::BodyIfAny => "body",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.place == Place::Path,
        "description": parameter.about,
        "schema": schema(parameter),
    })
}

fn responses() -> Value {
    let content = json!({
        "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
    });
    let responses = PROBLEMS.iter().map(|(status, description)| {
        ((*status).to_owned(), json!({ "description": description, "content": content }))
    });
    Value::Object(responses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::bundle::admin::ADMIN_OPERATIONS;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_with_its_parameters() {
        let description = openapi();
        let paths = description["paths"].as_object().unwrap();
        let described: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
        assert_eq!(described, ROUTES.len());
        let mut ids = BTreeSet::new();
        for route in ROUTES {
            let method = match route.method {
                Method::Get => "get",
                Method::Post => "post",
                Method::Delete => "delete",
            };
            let operation = &description["paths"][described_path(route.path)][method];
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{}", route.path);
            let in_path: Vec<&str> = route
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .map(|name| name.trim_start_matches('*'))
                .collect();
            let parameters = operation["parameters"].as_array().unwrap();
            let is_required = |it: &&Value| it["required"] == true;
            let required: Vec<&str> = parameters
                .iter()
                .filter(is_required)
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(required, in_path, "{}", route.path);
            assert_eq!(parameters.len(), outside_body(route).count());
            assert!(!route.summary.contains("  "), "{}", route.path);
        }
    }

    /// What is not decided as an operation that policies can name would be a way around them (I12).
    #[test]
    fn routes_and_operations_cover_each_other() {
        let declared: BTreeSet<&str> = ADMIN_OPERATIONS.iter().map(|(name, _)| *name).collect();
        let mut used: BTreeSet<&str> = ROUTES.iter().filter_map(|route| route.operation).collect();
        // The description of this API, and the search, which is a call of its own.
        let undecided = ROUTES.iter().filter(|route| route.operation.is_none());
        let undecided: Vec<&str> = undecided.map(|route| route.path).collect();
        assert_eq!(undecided, ["/v1/retrieve", "/v1/openapi.json"]);
        // Part of `/v1/status`.
        used.insert("upstreams_read");
        // Runs alone ask for it.
        used.insert("run_approve");
        // The gate itself alone asks for it.
        used.insert("model_stand_in");
        assert_eq!(declared, used);
    }
}
