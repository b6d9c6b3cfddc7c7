//! The form in which a request wants its answer: as each API says it.

use super::Api;
use lockgate_types::Json;

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
    pub fn of(api: Api, body: &'a Json) -> Self {
        let format = match api {
            Api::Chat => body.get("response_format"),
            Api::Responses => body.at(&["text", "format"]),
            Api::Messages => {
                body.at(&["output_config", "format"]).or_else(|| body.get("output_format"))
            }
            Api::CountTokens | Api::Embeddings | Api::Models => None,
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
            (Api::Chat, "{}", "text"),
            (Api::Chat, r#"{"response_format":{"type":"json_object"}}"#, "object"),
            (
                Api::Chat,
                r#"{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (Api::Responses, r#"{"text":{"format":{"type":"text"}}}"#, "text"),
            (
                Api::Responses,
                r#"{"text":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (
                Api::Messages,
                r#"{"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#,
                "schema",
            ),
            (Api::Embeddings, r#"{"response_format":{"type":"json_object"}}"#, "text"),
        ] {
            assert_eq!(of(api, text), expected, "{text}");
        }
    }
}
