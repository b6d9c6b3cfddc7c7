//! Obligations, met: redact, mask, cap.
//!
//! A result carries its content twice, as `structuredContent` and as text that usually is the same
//! JSON printed. Both are treated. What an obligation cannot be met on (prose where fields are to
//! be redacted, pictures, files) is withheld: fail closed, one block at a time, with a note in its
//! place.

use lockgate_detect::pii;
use lockgate_types::decision::Obligation;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::RpcError;

/// Stands where a text was removed.
const REDACTED: &str = "[redacted]";

/// Characters of a masked value that stay readable, if it has more than twice as many.
const MASK_SHOWS: usize = 4;

/// What meeting the obligations changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Values removed, masked or withheld.
    pub(crate) redactions: u32,
}

/// Obligations, taken apart for one pass over a value.
struct Plan<'a> {
    paths: Vec<Vec<&'a str>>,
    kinds: Vec<pii::Kind>,
    columns: Vec<&'a str>,
    cap: Option<usize>,
}

impl<'a> Plan<'a> {
    fn of(obligations: &'a [Obligation]) -> Self {
        let mut plan =
            Self { paths: Vec::new(), kinds: Vec::new(), columns: Vec::new(), cap: None };
        for obligation in obligations {
            match obligation {
                Obligation::Redact(targets) => {
                    targets.iter().for_each(|target| plan.redact(target))
                }
                Obligation::Mask(columns) => {
                    plan.columns.extend(columns.iter().map(String::as_str))
                }
                Obligation::Cap(max) => {
                    let max = usize::try_from(*max).unwrap_or(usize::MAX);
                    plan.cap = Some(plan.cap.map_or(max, |cap| cap.min(max)));
                }
                // Met by the database, or the call was denied.
                Obligation::Rows(_) | Obligation::LogMore | Obligation::Links => {}
            }
        }
        plan
    }

    fn redact(&mut self, target: &'a str) {
        match target.strip_prefix("pii:") {
            // Core checked the kinds when the bundle was loaded; one it knows and we do not redacts
            // every kind.
            Some(word) => match pii::Kind::from_word(word) {
                Some(kind) => self.kinds.push(kind),
                None => self.kinds.extend(pii::Kind::ALL),
            },
            None => self.paths.push(target.split('.').collect()),
        }
    }

    fn needs_structure(&self) -> bool {
        !self.paths.is_empty() || !self.columns.is_empty() || self.cap.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.needs_structure() && self.kinds.is_empty()
    }

    /// What is to be found in any text, and nothing that goes by names.
    fn kinds_only(&self) -> Self {
        Self { paths: Vec::new(), kinds: self.kinds.clone(), columns: Vec::new(), cap: None }
    }
}

/// What is left to be met on a database's answer: what is found in text, whatever it is called. The
/// database has met what is about rows and columns, and its answer has no members to find them by.
pub(crate) fn left_by_database(obligations: &[Obligation]) -> Vec<Obligation> {
    let left = obligations.iter().filter_map(|obligation| match obligation {
        Obligation::Redact(targets) => {
            let kinds = targets.iter().filter(|target| target.starts_with("pii:"));
            Some(Obligation::Redact(kinds.cloned().collect()))
        }
        Obligation::LogMore => Some(Obligation::LogMore),
        Obligation::Mask(_) | Obligation::Cap(_) | Obligation::Rows(_) | Obligation::Links => None,
    });
    left.collect()
}

/// Meets the obligations on the result of a call.
pub(crate) fn on_result(obligations: &[Obligation], result: &mut Json) -> Applied {
    let plan = Plan::of(obligations);
    let mut applied = Applied::default();
    if plan.is_empty() {
        return applied;
    }
    let Some(members) = result.as_object_mut() else {
        structured(&plan, result, &mut applied);
        return applied;
    };
    for (name, value) in members.iter_mut() {
        match (name, value) {
            ("content" | "contents" | "messages", value) => blocks(&plan, value, &mut applied),
            // The envelope, which the client has to give back or to understand as it is.
            ("isError", Json::Bool(_)) | ("resultType" | "requestState", Json::String(_)) => {}
            (_, value) => structured(&plan, value, &mut applied),
        }
    }
    applied
}

/// Meets the obligations on an upstream's error: its text and its data.
pub(crate) fn on_error(obligations: &[Obligation], error: &mut RpcError) -> Applied {
    let plan = Plan::of(obligations);
    let mut applied = Applied::default();
    if plan.is_empty() {
        return applied;
    }
    text(&plan, &mut error.message, &mut applied);
    if let Some(data) = &mut error.data {
        spoken(&plan, data, &mut applied);
    }
    applied
}

/// Meets the obligations on what an upstream says to the client while the call runs: the params of
/// a notification or of a request.
pub(crate) fn on_aside(obligations: &[Obligation], params: Object) -> (Object, Applied) {
    let plan = Plan::of(obligations);
    let mut applied = Applied::default();
    if plan.is_empty() {
        return (params, applied);
    }
    let mut whole = Json::Object(params);
    for path in &plan.paths {
        redact_path(&mut whole, path, &mut applied);
    }
    let Json::Object(mut params) = whole else { return (Object::new(), applied) };
    for (name, value) in params.iter_mut() {
        match name {
            "messages" => blocks(&plan, value, &mut applied),
            "data" | "message" | "systemPrompt" => spoken(&plan, value, &mut applied),
            // What a form asks for is no data: its fields have the names that data would have.
            "requestedSchema" => walk(&plan.kinds_only(), value, &mut applied),
            _ => structured(&plan, value, &mut applied),
        }
    }
    (params, applied)
}

/// Meets the obligations on a client's answer to an upstream.
pub(crate) fn on_answer(obligations: &[Obligation], answer: &mut Json) -> Applied {
    let plan = Plan::of(obligations);
    let mut applied = Applied::default();
    if !plan.is_empty() {
        structured(&plan, answer, &mut applied);
    }
    applied
}

/// The blocks of a tool result, a resource or a prompt.
fn blocks(plan: &Plan<'_>, value: &mut Json, applied: &mut Applied) {
    let Json::Array(items) = value else {
        return block(plan, value, applied);
    };
    cap(plan, items, applied);
    items.iter_mut().for_each(|item| block(plan, item, applied));
}

fn block(plan: &Plan<'_>, value: &mut Json, applied: &mut Applied) {
    let Some(object) = value.as_object_mut() else {
        return structured(plan, value, applied);
    };
    for (name, member) in object.iter_mut() {
        match (name, member) {
            ("text", Json::String(body)) => text(plan, body, applied),
            // Base64 of a picture, a sound or a file: nothing in it can be found or removed.
            ("data" | "blob", member @ Json::String(_)) => {
                *member = Json::from("");
                applied.redactions += 1;
            }
            ("resource" | "content", member) => blocks(plan, member, applied),
            ("type" | "mimeType" | "role", Json::String(_)) => {}
            ("uri" | "name", Json::String(label)) => prose(plan, label, applied),
            (_, member) => structured(plan, member, applied),
        }
    }
}

/// What an upstream says beside its result: text, or data.
fn spoken(plan: &Plan<'_>, value: &mut Json, applied: &mut Applied) {
    match value {
        Json::String(body) => text(plan, body, applied),
        value => structured(plan, value, applied),
    }
}

/// A text: JSON printed, or prose.
fn text(plan: &Plan<'_>, body: &mut String, applied: &mut Applied) {
    if printed(plan, body, applied) {
        return;
    }
    if plan.needs_structure() {
        let code = Code::ResultWithheld;
        *body = format!("[withheld: {} ({code})]", code.title());
        applied.redactions += 1;
        return;
    }
    prose(plan, body, applied);
}

/// Treats a text that is JSON printed, and says whether it was.
fn printed(plan: &Plan<'_>, body: &mut String, applied: &mut Applied) -> bool {
    if !body.trim_start().starts_with(['{', '[']) {
        return false;
    }
    let read = Json::parse(body.as_bytes(), &JsonLimits::PRINTED);
    let Ok(mut value @ (Json::Object(_) | Json::Array(_))) = read else { return false };
    let before = applied.redactions;
    structured(plan, &mut value, applied);
    if applied.redactions > before {
        *body = value.to_string();
    }
    true
}

fn prose(plan: &Plan<'_>, body: &mut String, applied: &mut Applied) {
    let spans = pii::find(body, &plan.kinds);
    for span in spans.into_iter().rev() {
        body.replace_range(span.bytes, REDACTED);
        applied.redactions += 1;
    }
}

/// A value whose members have names.
fn structured(plan: &Plan<'_>, value: &mut Json, applied: &mut Applied) {
    for path in &plan.paths {
        redact_anywhere(value, path, applied);
    }
    walk(plan, value, applied);
}

/// Removes what a path reaches from wherever it begins: servers wrap results (`{"result": […]}`),
/// and a field that is to be hidden is not meant to show one level deeper.
fn redact_anywhere(value: &mut Json, path: &[&str], applied: &mut Applied) {
    redact_path(value, path, applied);
    match value {
        Json::Object(object) => {
            object.iter_mut().for_each(|(_, member)| redact_anywhere(member, path, applied));
        }
        Json::Array(items) => {
            items.iter_mut().for_each(|item| redact_anywhere(item, path, applied));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Removes what a path reaches: `*` is any member or item, and arrays on the way are entered.
fn redact_path(value: &mut Json, path: &[&str], applied: &mut Applied) {
    let Some((first, rest)) = path.split_first() else {
        if *value != Json::from(REDACTED) && *value != Json::Null {
            *value = if value.as_str().is_some() { Json::from(REDACTED) } else { Json::Null };
            applied.redactions += 1;
        }
        return;
    };
    match value {
        Json::Object(object) => {
            let members = object.iter_mut().filter(|(name, _)| *first == "*" || name == first);
            members.for_each(|(_, member)| redact_path(member, rest, applied));
        }
        Json::Array(items) => {
            let deeper = if *first == "*" { rest } else { path };
            items.iter_mut().for_each(|item| redact_path(item, deeper, applied));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn walk(plan: &Plan<'_>, value: &mut Json, applied: &mut Applied) {
    match value {
        Json::String(body) => {
            if !printed(plan, body, applied) {
                prose(plan, body, applied);
            }
        }
        Json::Array(items) => {
            cap(plan, items, applied);
            items.iter_mut().for_each(|item| walk(plan, item, applied));
        }
        Json::Object(object) => {
            names(plan, object, applied);
            for (name, member) in object.iter_mut() {
                if plan.columns.contains(&name) {
                    mask(member, applied);
                } else {
                    walk(plan, member, applied);
                }
            }
        }
        Json::Number(number) => {
            // Payment cards begin with 2 to 6; times in microseconds do not until 2033.
            let may_be_card = matches!(number.text().bytes().next(), Some(b'2'..=b'6'));
            if may_be_card && !pii::find(number.text(), &plan.kinds).is_empty() {
                *value = Json::Null;
                applied.redactions += 1;
            }
        }
        Json::Null | Json::Bool(_) => {}
    }
}

fn cap(plan: &Plan<'_>, items: &mut Vec<Json>, applied: &mut Applied) {
    if let Some(cap) = plan.cap.filter(|cap| items.len() > *cap) {
        items.truncate(cap);
        applied.redactions += 1;
    }
}

/// Names of members are text too: a table by e-mail address has the addresses there.
fn names(plan: &Plan<'_>, object: &mut Object, applied: &mut Applied) {
    if object.iter().all(|(name, _)| pii::find(name, &plan.kinds).is_empty()) {
        return;
    }
    let members = std::mem::take(object).into_iter();
    *object = members
        .map(|(mut name, member)| {
            prose(plan, &mut name, applied);
            (name, member)
        })
        .collect();
}

/// Leaves the last characters of a long value readable, and nothing of a short one.
fn mask(value: &mut Json, applied: &mut Applied) {
    let plain = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.text().to_owned(),
        Json::Null => return,
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => String::new(),
    };
    let length = plain.chars().count();
    let shown = if length > 2 * MASK_SHOWS { MASK_SHOWS } else { 0 };
    let tail: String = plain.chars().skip(length - shown).collect();
    *value = Json::from(format!("****{tail}"));
    applied.redactions += 1;
}

#[cfg(test)]
mod tests {
    use super::{Applied, on_result};
    use lockgate_types::decision::Obligation;
    use lockgate_types::{Json, JsonLimits};

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
    }

    fn check(obligations: &[Obligation], before: &str, after: &str, redactions: u32) {
        let mut value = json(before);
        let applied = on_result(obligations, &mut value);
        assert_eq!(value.to_string(), json(after).to_string());
        assert_eq!(applied, Applied { redactions });
    }

    fn redact(paths: &[&str]) -> Obligation {
        Obligation::Redact(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn fields_are_redacted_in_structure_and_in_printed_json() {
        check(
            &[redact(&["customer.email", "*.tax_id"])],
            r#"{"content":[{"type":"text","text":"{\"customer\":{\"email\":\"a@b.example\",\"id\":1}}"}],
                "structuredContent":{"customer":{"email":"a@b.example","tax_id":7}}}"#,
            r#"{"content":[{"type":"text","text":"{\"customer\":{\"email\":\"[redacted]\",\"id\":1}}"}],
                "structuredContent":{"customer":{"email":"[redacted]","tax_id":null}}}"#,
            3,
        );
    }

    #[test]
    fn prose_is_withheld_where_fields_are_to_be_redacted() {
        check(
            &[redact(&["email"])],
            r#"{"content":[{"type":"text","text":"mail ada"},{"type":"image","data":"AAAA","mimeType":"image/png"}]}"#,
            r#"{"content":[{"type":"text","text":"[withheld: the result could not be made to meet an obligation, so it is withheld (LG-D017)]"},
                {"type":"image","data":"","mimeType":"image/png"}]}"#,
            2,
        );
    }

    #[test]
    fn personal_data_is_found_in_prose_and_nested_strings() {
        check(
            &[redact(&["pii:email"])],
            r#"{"content":[{"type":"text","text":"write to ada@mail.example today"}],"structuredContent":[{"note":["ada@mail.example"]}]}"#,
            r#"{"content":[{"type":"text","text":"write to [redacted] today"}],"structuredContent":[{"note":["[redacted]"]}]}"#,
            2,
        );
    }

    #[test]
    fn a_field_is_redacted_wherever_the_server_wraps_it() {
        check(
            &[redact(&["email"])],
            r#"{"structuredContent":{"result":[{"email":"a@b.example","more":"{\"email\":\"a@b.example\"}"}]}}"#,
            r#"{"structuredContent":{"result":[{"email":"[redacted]","more":"{\"email\":\"[redacted]\"}"}]}}"#,
            2,
        );
    }

    #[test]
    fn columns_are_masked_and_rows_capped() {
        check(
            &[Obligation::Mask(vec!["iban".to_owned(), "pin".to_owned()]), Obligation::Cap(1)],
            r#"{"structuredContent":{"rows":[{"iban":"DE89370400440532013000","pin":1234},{"iban":"x"}]}}"#,
            r#"{"structuredContent":{"rows":[{"iban":"****3000","pin":"****"}]}}"#,
            3,
        );
    }
}
