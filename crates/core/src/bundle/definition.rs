//! The digest of a tool's definition: what an operator accepted, and what a live upstream is
//! compared with.

use lockgate_types::{Digest, Json, Object};

/// The members of a definition that change what a model does with a tool, or what the tool accepts.
const MEMBERS: [&str; 6] =
    ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// The digest of a tool definition as `tools/list` gives it: of the canonical object of those
/// members that are there. Icons, `_meta` and what later revisions add are left out.
pub fn definition_digest(definition: &Json) -> Digest {
    let mut canonical = Object::new();
    for name in MEMBERS {
        if let Some(value) = definition.get(name) {
            canonical.set(name, value.clone());
        }
    }
    Json::from(canonical).digest()
}

/// The digest of what a server tells models about itself; of `null` if it tells nothing.
pub fn instructions_digest(instructions: Option<&str>) -> Digest {
    instructions.map_or(Json::Null, Json::from).digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn digest(text: &str) -> Digest {
        definition_digest(&Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap())
    }

    #[test]
    fn depends_on_meaning_and_not_on_order() {
        let plain =
            digest(r#"{"name":"a","description":"d","inputSchema":{"type":"object","x":1}}"#);
        let turned = digest(
            r#"{"inputSchema":{"x":1,"type":"object"},"_meta":{"k":1},"description":"d","name":"a"}"#,
        );
        let poisoned =
            digest(r#"{"name":"a","description":"d2","inputSchema":{"type":"object","x":1}}"#);
        assert_eq!(plain, turned);
        assert_ne!(plain, poisoned);
    }
}
