//! What a lookup says about an effect in doubt.

use lockgate_effects::{FILTERED_META, HTTP_META};
use lockgate_types::Json;

/// Whether a lookup found something. `None`: it did not say.
pub(crate) fn presence(
    result: &Json,
    path: &[String],
    missing_status: Option<u16>,
) -> Option<bool> {
    let status = result.at(&["_meta", HTTP_META, "status"]).and_then(Json::as_i64);
    if missing_status.is_some() && status == missing_status.map(i64::from) {
        return Some(false);
    }
    if result.get("isError").and_then(Json::as_bool) == Some(true) {
        return None;
    }
    let mut at = result.get("structuredContent")?;
    // Who does not see all rows does not see that one is missing.
    let absent = result.at(&["_meta", FILTERED_META]).is_none().then_some(false);
    for name in path {
        match at.get(name) {
            Some(next) => at = next,
            None => return absent,
        }
    }
    let is_there = match at {
        Json::Null | Json::Bool(false) => false,
        Json::Array(items) => !items.is_empty(),
        Json::Bool(true) | Json::Number(_) | Json::String(_) | Json::Object(_) => true,
    };
    if is_there { Some(true) } else { absent }
}

#[cfg(test)]
mod tests {
    use super::presence;
    use lockgate_types::{Json, JsonLimits};

    #[test]
    fn nothing_is_missing_where_rows_are_filtered() {
        let found = |text: &str| {
            let result = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            presence(&result, &["rows".to_owned()], None)
        };
        let meta = r#""_meta":{"dev.lockgate/filtered":["orders"]}"#;
        assert_eq!(found(r#"{"structuredContent":{"rows":[]}}"#), Some(false));
        assert_eq!(found(r#"{"structuredContent":{"rows":[[1]]}}"#), Some(true));
        assert_eq!(found(&format!(r#"{{"structuredContent":{{"rows":[]}},{meta}}}"#)), None);
        assert_eq!(found(&format!(r#"{{"structuredContent":{{}},{meta}}}"#)), None);
        assert_eq!(
            found(&format!(r#"{{"structuredContent":{{"rows":[[1]]}},{meta}}}"#)),
            Some(true)
        );
    }

    #[test]
    fn an_api_says_by_its_status_that_nothing_is_there_if_the_bundle_says_so() {
        let found = |status: u16, missing: Option<u16>| {
            let text = format!(
                r#"{{"isError":true,"_meta":{{"dev.lockgate/http":{{"status":{status}}}}}}}"#
            );
            let result = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            presence(&result, &["id".to_owned()], missing)
        };
        assert_eq!(found(404, Some(404)), Some(false));
        assert_eq!(found(404, None), None);
        assert_eq!(found(403, Some(404)), None);
    }
}
