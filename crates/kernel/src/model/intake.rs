//! What of a prompt may leave: secrets and personal data are taken out before it is decided about,
//! so that what policy saw is what is sent (I2).

use crate::port::Refusal;
use lockgate_core::declare::{FoundWord, PromptGuard};
use lockgate_detect::pii;
use lockgate_detect::redactable::{self, Redactable};
use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::model::{Asked, Path, rewrite};

/// Stands where a secret was.
const SECRET_REMOVED: &str = "[redacted]";
/// Different values of personal data that one prompt has placeholders for. More are taken out
/// without one of their own.
const PLACEHOLDERS_MAX: usize = 1024;

/// What was taken out of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Placeholders, each with what it stands for.
    pub(crate) placeholders: Vec<(String, String)>,
    /// How much was taken out.
    pub(crate) redactions: u32,
    /// The tools of the provider's that were left out, because nobody has declared them.
    pub(crate) left_out: Vec<String>,
}

/// Takes out of a prompt what may not leave.
pub(crate) fn take_in(
    guard: &PromptGuard,
    api: ModelApi,
    body: Object,
) -> Result<(Object, Taken), Refusal> {
    let kinds = kinds(&guard.personal);
    let mut desk = Desk { guard, kinds, taken: Taken::default(), has_secret: false };
    let mut body = Json::Object(body);
    let found: Vec<Path> = {
        let read = Asked::read(api, &body);
        let read = read
            .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })?;
        let segments = read.segments.iter().filter(|segment| desk.finds(&segment.text));
        segments.map(|segment| segment.path.clone()).collect()
    };
    for path in &found {
        rewrite::each_text(&mut body, path, &mut |text| desk.changed(text));
    }
    if desk.has_secret && guard.secrets == FoundWord::Refuse {
        return Err(Refusal::of(Code::PromptWithheld));
    }
    let Json::Object(body) = body else { return Err(Refusal::of(Code::InvariantBroken)) };
    Ok((body, desk.taken))
}

/// The kinds of personal data that words name.
pub(super) fn kinds(words: &[String]) -> Vec<pii::Kind> {
    let all = pii::Kind::ALL.into_iter();
    all.filter(|kind| words.iter().any(|word| word == "*" || word == kind.as_str())).collect()
}

struct Desk<'a> {
    guard: &'a PromptGuard,
    kinds: Vec<pii::Kind>,
    taken: Taken,
    has_secret: bool,
}

impl Desk<'_> {
    fn hides_secrets(&self) -> bool {
        self.guard.secrets != FoundWord::Pass
    }

    fn finds(&self, text: &str) -> bool {
        let has_secret =
            self.hides_secrets() && !redactable::find(text, &[Redactable::Secret]).is_empty();
        has_secret || !self.kinds.is_empty() && !pii::find(text, &self.kinds).is_empty()
    }

    /// The text without what may not leave, if there is any.
    fn changed(&mut self, text: &str) -> Option<String> {
        let mut changed = text.to_owned();
        if self.hides_secrets() {
            for bytes in redactable::find(text, &[Redactable::Secret]).into_iter().rev() {
                changed.replace_range(bytes, SECRET_REMOVED);
                self.has_secret = true;
                self.taken.redactions = self.taken.redactions.saturating_add(1);
            }
        }
        // Of the text as it is now: a span of before may have moved.
        let found = pii::find(&changed, &self.kinds);
        for span in found.into_iter().rev() {
            let value = changed.get(span.bytes.clone()).unwrap_or_default().to_owned();
            let placeholder = self.placeholder(span.kind, value);
            changed.replace_range(span.bytes, &placeholder);
            self.taken.redactions = self.taken.redactions.saturating_add(1);
        }
        (changed != text).then_some(changed)
    }

    /// What stands for a value: the same wherever it stands.
    fn placeholder(&mut self, kind: pii::Kind, value: String) -> String {
        let known = self.taken.placeholders.iter().find(|(_, known)| *known == value);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let word = kind.as_str().to_ascii_uppercase();
        if self.taken.placeholders.len() >= PLACEHOLDERS_MAX {
            return format!("[{word}]");
        }
        let number = self.taken.placeholders.len() + 1;
        let placeholder = format!("[{word}_{number}]");
        self.taken.placeholders.push((placeholder.clone(), value));
        placeholder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn body(text: &str) -> Object {
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        json.as_object().unwrap().clone()
    }

    fn guard(secrets: FoundWord, personal: &[&str]) -> PromptGuard {
        let personal = personal.iter().map(|word| (*word).to_owned()).collect();
        PromptGuard { secrets, personal, restore: true }
    }

    const ASKED: &str = r#"{"model":"m","x":1.50,"messages":[
        {"role":"system","content":"key AKIAIOSFODNN7EXAMPLE"},
        {"role":"user","content":[{"type":"text","text":"write to ada@mail.example and ada@mail.example"}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"to\":\"bob@mail.example\"}"}}]},
        {"role":"tool","tool_call_id":"c","content":"bob@mail.example"}]}"#;

    #[test]
    fn secrets_and_personal_data_are_taken_out_wherever_they_stand() {
        let guard = guard(FoundWord::Redact, &["email"]);
        let (left, taken) = take_in(&guard, ModelApi::ChatCompletions, body(ASKED)).unwrap();
        let text = Json::from(left).to_string();
        assert!(!text.contains("AKIA") && !text.contains("mail.example"), "{text}");
        assert!(text.contains("1.50"), "numbers keep their text");
        assert!(text.contains("write to [EMAIL_1] and [EMAIL_1]"), "{text}");
        assert_eq!(taken.redactions, 5);
        let values: Vec<&str> = taken.placeholders.iter().map(|(_, it)| it.as_str()).collect();
        assert_eq!(values, ["ada@mail.example", "bob@mail.example"]);
    }

    #[test]
    fn a_secret_refuses_the_prompt_where_it_is_to() {
        let refused =
            take_in(&guard(FoundWord::Refuse, &[]), ModelApi::ChatCompletions, body(ASKED));
        assert_eq!(refused.unwrap_err().code, Code::PromptWithheld);
        let (left, taken) =
            take_in(&guard(FoundWord::Pass, &[]), ModelApi::ChatCompletions, body(ASKED)).unwrap();
        assert_eq!((Json::from(left), taken), (Json::from(body(ASKED)), Taken::default()));
    }
}
