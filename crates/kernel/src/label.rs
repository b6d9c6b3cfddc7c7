//! What comes back, labelled: whose words it is and who may see it, as its operation declares, and
//! the personal data that is found in it.
//!
//! Whatever reaches a session goes through here: results, errors, what is said on the way,
//! questions to the client. Looked at is what the caller gets: what was redacted does not count.

use lockgate_core::{World, exposure};
use lockgate_detect::pii::{self, Kind};
use lockgate_effects::model::STATUS;
use lockgate_types::label::Label;
use lockgate_types::{Json, Micros, Object, OperationName};
use lockgate_wire::RpcError;

/// What a call is labelled by: its operation, as the bundle that rules now has it.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub(crate) world: Option<&'a World>,
    pub(crate) operation: &'a OperationName,
}

impl Labels<'_> {
    /// Of a result.
    pub(crate) fn result(&self, result: &Json, at: Micros) -> Label {
        let returned = |world| exposure::returned(world, self.operation);
        let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
        let label = match self.world {
            Some(world) if !is_error => returned(world),
            _ => self.words(),
        };
        self.with_pii(label, &[result], at)
    }

    /// Of what a model has answered: its own words, and all that it was told and could be told.
    pub(crate) fn answer(&self, result: &Json, made_of: &Label, at: Micros) -> Label {
        let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or(0);
        let own = match self.world {
            Some(world) if (200..300).contains(&status) => {
                exposure::returned(world, self.operation)
            }
            _ => self.words(),
        };
        self.with_pii(own, &[result], at).join(made_of)
    }

    /// Of an upstream's error.
    pub(crate) fn error(&self, error: &RpcError, at: Micros) -> Label {
        self.with_pii(self.words(), &[&error.to_json()], at)
    }

    /// Of what an upstream says beside its result.
    pub(crate) fn said(&self, params: &Object, at: Micros) -> Label {
        let mut label = Label { oldest: Some(at), ..self.words() };
        self.find(&mut label, |found| found.object(params));
        label
    }

    /// Of what came back and is not known.
    pub(crate) fn unknown(&self, at: Micros) -> Label {
        Label { oldest: Some(at), ..self.words() }
    }

    /// Of a question to the client and its answer: who asks may have learned from either.
    pub(crate) fn asked(&self, texts: &[&Json], at: Micros) -> Label {
        self.with_pii(self.words(), texts, at)
    }

    fn words(&self) -> Label {
        self.world.map_or_else(exposure::anyones, |world| exposure::said(world, self.operation))
    }

    fn with_pii(&self, label: Label, values: &[&Json], at: Micros) -> Label {
        let mut label = Label { oldest: Some(at), ..label };
        self.find(&mut label, |found| values.iter().for_each(|value| found.value(value)));
        label
    }

    /// Only where somebody asks for it: looking takes time.
    fn find(&self, label: &mut Label, look: impl FnOnce(&mut Found)) {
        if self.world.is_some_and(exposure::asks_pii) {
            let mut found = Found { missing: Kind::ALL.to_vec() };
            look(&mut found);
            let kinds = Kind::ALL.iter().filter(|kind| !found.missing.contains(kind));
            label.pii.extend(kinds.map(|kind| kind.as_str().to_owned()));
        }
    }
}

/// The categories of personal data that are found in texts.
pub(crate) fn personal<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found = Found { missing: Kind::ALL.to_vec() };
    texts.for_each(|text| found.text(text));
    let kinds = Kind::ALL.iter().filter(|kind| !found.missing.contains(kind));
    kinds.map(|kind| kind.as_str().to_owned()).collect()
}

/// What has been found of personal data: the kinds that are still looked for.
struct Found {
    missing: Vec<Kind>,
}

impl Found {
    fn value(&mut self, value: &Json) {
        match value {
            Json::String(text) => self.text(text),
            Json::Number(number) => self.text(number.text()),
            Json::Array(items) => items.iter().for_each(|item| self.value(item)),
            Json::Object(object) => self.object(object),
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// Names of members are text too: a table by e-mail address has the addresses there.
    fn object(&mut self, object: &Object) {
        for (name, member) in object.iter() {
            self.text(name);
            self.value(member);
        }
    }

    fn text(&mut self, text: &str) {
        // Nothing that is shorter is personal data: most names and numbers are.
        if self.missing.is_empty() || text.len() < SHORTEST {
            return;
        }
        let spans = pii::find(text, &self.missing);
        self.missing.retain(|kind| !spans.iter().any(|span| span.kind == *kind));
    }
}

/// Bytes of the shortest text that can be personal data: `a@b.cd`.
const SHORTEST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn kinds(text: &str) -> Vec<&'static str> {
        let value = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        let mut found = Found { missing: Kind::ALL.to_vec() };
        found.value(&value);
        let found = Kind::ALL.iter().filter(|kind| !found.missing.contains(kind));
        found.map(|kind| kind.as_str()).collect()
    }

    #[test]
    fn personal_data_is_found_wherever_it_stands() {
        assert_eq!(kinds(r#"{"a":[{"b":"write to ada@mail.example"}]}"#), ["email"]);
        assert_eq!(kinds(r#"{"ada@mail.example":1}"#), ["email"]);
        assert_eq!(kinds(r#"{"iban":"DE89370400440532013000"}"#), ["iban"]);
        assert_eq!(kinds(r#"{"card":4111111111111111}"#), ["card"]);
        assert_eq!(kinds(r#"{"a":"nobody","b":12}"#), Vec::<&str>::new());
        let both = r#"["ada@mail.example","DE89 3704 0044 0532 0130 00","bob@mail.example"]"#;
        assert_eq!(kinds(both), ["email", "iban"]);
    }

    #[test]
    fn a_label_has_room_for_every_kind() {
        assert!(Kind::ALL.len() <= lockgate_types::label::PII_MAX);
    }
}
