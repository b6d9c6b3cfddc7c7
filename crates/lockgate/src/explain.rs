//! `lockgate explain`: one decision in words, with what had been met before and what led to it.

use crate::output::Output;
use crate::place::Place;
use crate::records::{self, TraceArguments};
use anyhow::{Result, bail};
use lockgate_types::Json;
use std::process::ExitCode;

/// Runs `lockgate explain`.
pub(crate) fn explain(
    arguments: &TraceArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let trace = records::ask(&arguments.gate, place, &format!("/v1/traces/{}", arguments.call))?;
    output.json(&trace);
    let entries = trace.get("entries").and_then(Json::as_array).unwrap_or_default();
    let decided = entries.iter().find_map(|entry| {
        let payload = entry.get("payload")?;
        // A refused call that was too long is not in there. The log knows which operation it was,
        // if that was declared.
        let call = payload.get("call").or_else(|| entry.get("leaf"))?;
        let known = (payload.get("decision")?, payload.get("identity")?, call);
        Some((known, payload.get("moment")))
    });
    let Some(((decision, identity, call), moment)) = decided else {
        bail!("the record of this call holds no decision any more: its payload was erased");
    };
    let text = |json: &Json, path: &[&str]| {
        json.at(path).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    output.line(&format!(
        "{} through {} asked for {}: {}",
        text(identity, &["subject"]),
        text(identity, &["agent"]),
        text(call, &["operation"]),
        text(decision, &["verdict"])
    ));
    let list = |name: &str| {
        let items = decision.get(name).and_then(Json::as_array).unwrap_or_default();
        items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", ")
    };
    for (label, value) in [("policies", list("policies")), ("obligations", list("obligations"))] {
        if !value.is_empty() {
            output.line(&format!("  {label}: {value}"));
        }
    }
    if decision.get("denial").is_some() {
        for name in ["code", "question", "reason", "remedy"] {
            output.line(&format!("  {name}: {}", text(decision, &["denial", name])));
        }
    }
    for step in decision.at(&["denial", "path"]).and_then(Json::as_array).unwrap_or_default() {
        let at = step.get("at").and_then(Json::as_i64).map(records::time).unwrap_or_default();
        let (tag, call) = (text(step, &["tag"]), text(step, &["call"]));
        output.line(&format!("  after: {at}  {tag} by the call {call}"));
    }
    if let Some(exposure) = moment.and_then(|moment| moment.get("exposure")) {
        output.line(&format!("  had met: {}", label(exposure)));
    }
    for met in entries.iter().filter_map(|entry| entry.at(&["leaf", "label"])) {
        output.line(&format!("  met: {}", label(met)));
    }
    output.line(&format!("  bundle: {}", text(decision, &["bundle"])));
    Ok(ExitCode::SUCCESS)
}

/// A label in words: how far it can be relied upon, whose words, for whom.
pub(crate) fn label(label: &Json) -> String {
    let word = |name: &str| label.get(name).and_then(Json::as_str).unwrap_or("unknown");
    let mut words = vec![word("integrity").to_owned(), word("confidentiality").to_owned()];
    for (name, what) in
        [("origins", "words of"), ("pii", "personal data"), ("readers", "for readers")]
    {
        let Some(all) = label.get(name).and_then(Json::as_array) else { continue };
        let all: Vec<&str> = all.iter().filter_map(Json::as_str).collect();
        words.push(format!("{what}: {}", all.join(", ")));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::label;
    use lockgate_types::flow::Author;
    use lockgate_types::label::{Confidentiality, Label};

    #[test]
    fn a_label_is_said_in_words() {
        let mut met = Label::of(Author::Anyone, Confidentiality::Internal);
        met.pii.insert("iban".to_owned());
        let said = label(&met.to_json());
        assert_eq!(said, "untrusted; internal; words of: anyone; personal data: iban");
    }
}
