//! The form in which a request wants its answer: as each API says it.

use lockgate_types::Json;
use lockgate_types::model::ModelApi;

/// The form that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Any text.
    Text,
    /// Any object of JSON.
    Object,
    /// What this JSON Schema describes.
    Schema(&'a Json),
}

impl<'a> Wanted<'a> {
    /// Reads the body of a request.
    pub fn of(api: ModelApi, body: &'a Json) -> Self {
        let format = match api {
            ModelApi::ChatCompletions => body.get("response_format"),
            ModelApi::Responses => body.at(&["text", "format"]),
            ModelApi::Messages => {
                body.at(&["output_config", "format"]).or_else(|| body.get("output_format"))
            }
            ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => None,
        };
        let Some(format) = format else { return Self::Text };
        let schema = format.at(&["json_schema", "schema"]).or_else(|| format.get("schema"));
        match format.get("type").and_then(Json::as_str) {
            Some("json_schema") => schema.map_or(Self::Object, Self::Schema),
            Some("json_object") => Self::Object,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn every_api_says_which_form_it_wants() {
        let schema = Json::parse(b"{\"type\":\"object\"}", &JsonLimits::OWN).unwrap();
        let of = |api, text: &str| {
            let body = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            match Wanted::of(api, &body) {
                Wanted::Text => "text",
                Wanted::Object => "object",
                Wanted::Schema(it) if *it == schema => "schema",
                Wanted::Schema(_) => "another",
            }
        };
        for (api, text, expected) in [
            (ModelApi::ChatCompletions, "{}", "text"),
            (ModelApi::ChatCompletions, r#"{"response_format":{"type":"json_object"}}"#, "object"),
            (
                ModelApi::ChatCompletions,
                r#"{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (ModelApi::Responses, r#"{"text":{"format":{"type":"text"}}}"#, "text"),
            (
                ModelApi::Responses,
                r#"{"text":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (
                ModelApi::Messages,
                r#"{"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (ModelApi::Embeddings, r#"{"response_format":{"type":"json_object"}}"#, "text"),
        ] {
            assert_eq!(of(api, text), expected, "{text}");
        }
    }
}
