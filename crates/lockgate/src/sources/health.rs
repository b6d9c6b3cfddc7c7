//! How sources do: a bar for what searches of each found, and what somebody should look at.

use crate::output::Output;
use lockgate_types::appearance::marked;
use lockgate_types::{Json, Object};

/// Cells of a bar.
const BAR: u64 = 20;
/// What to do about what is suspicious.
const PAGE: &str = "docs/respond-to-poisoned-source.md";

/// Prints how sources do.
pub(super) fn show(answer: &Json, output: &Output) {
    let sources = items(answer, "sources");
    if sources.is_empty() {
        output.line("nothing has been looked for since the gate began");
    }
    let mut is_suspicious = false;
    for source in sources {
        lines(source, output).iter().for_each(|line| output.line(line));
        is_suspicious |= !items(source, "suspicions").is_empty();
    }
    if is_suspicious {
        output.line(&output.faint(&format!("what to do: {PAGE}")));
    }
}

/// A source, as people see it.
fn lines(source: &Json, output: &Output) -> Vec<String> {
    let mut lines = vec![summary(text(source, "source"), source, output)];
    let tasks = source.get("tasks").and_then(Json::as_object).into_iter().flat_map(Object::iter);
    let tasks: Vec<_> = tasks.filter(|(task, _)| !task.is_empty()).collect();
    for (task, counts) in tasks {
        lines.push(summary(&format!("  for {task}"), counts, output));
    }
    let drifts = [("query_drift", "questions"), ("result_drift", "answers")];
    for (member, what) in drifts {
        if let Some(drift) = source.get(member).and_then(Json::as_i64) {
            lines.push(format!("  {what} differ by {} from before", percent(drift)));
        }
    }
    for found in items(source, "suspicions") {
        lines.push(format!("  {}", output.bad(&suspicion(found))));
    }
    for said in items(source, "feedback") {
        let counts = ["useful", "wrong", "suspicious"].map(|name| (number(said, name), name));
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, name)| format!("{count} {name}")).collect();
        let document = marked(text(said, "document"));
        lines.push(format!("  people say of `{document}`: {}", counts.join(", ")));
    }
    lines
}

fn summary(name: &str, counts: &Json, output: &Output) -> String {
    let (searches, hits) = (number(counts, "searches"), number(counts, "hits"));
    let withheld = number(counts, "withheld");
    let mut line = format!("{:<24} {}", marked(name), output.good(&bar(hits, searches)));
    line.push_str(&format!(" {hits} of {searches} searches found something"));
    if withheld > 0 {
        line.push_str(&format!(", {withheld} withheld"));
    }
    line
}

/// So much of so much, as a picture.
fn bar(part: i64, whole: i64) -> String {
    let (part, whole) = (part.unsigned_abs(), whole.unsigned_abs());
    let full = part.saturating_mul(BAR).checked_div(whole).unwrap_or(0).min(BAR);
    let cell = |at: u64| if at < full { '█' } else { '░' };
    (0..BAR).map(cell).collect()
}

fn suspicion(found: &Json) -> String {
    let (document, value) = (marked(text(found, "document")), number(found, "value"));
    match text(found, "kind") {
        "dominance" => format!(
            "`{document}` answers {} of different questions; before: {}",
            percent(value),
            percent(number(found, "before"))
        ),
        "orders" => format!("`{document}` gives orders to whoever reads it ({})", percent(value)),
        "contradiction" => format!(
            "`{document}` says otherwise than the documents beside it, of which {} agree",
            percent(value)
        ),
        "query_drift" => format!("questions were about other things: {}", percent(value)),
        "result_drift" => format!("other documents answered than before: {}", percent(value)),
        kind => format!("{kind} {}", percent(value)),
    }
}

fn percent(thousandths: i64) -> String {
    format!("{} %", thousandths / 10)
}

fn items<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).unwrap_or_default()
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn number(json: &Json, name: &str) -> i64 {
    json.get(name).and_then(Json::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn a_source_is_shown_with_what_is_suspicious_about_it() {
        let source = r#"{"source":"wiki","searches":40,"hits":30,"misses":10,"withheld":2,
            "tasks":{"":{"searches":10,"hits":10},"triage":{"searches":30,"hits":20}},
            "last":1,"result_drift":120,
            "suspicions":[{"at":1,"kind":"dominance","document":"a.md","value":900,"before":10},
                {"at":1,"kind":"orders","document":"b\u202e.md","value":800,"before":0},
                {"at":1,"kind":"contradiction","document":"c.md","value":666,"before":0}],
            "feedback":[{"document":"a.md","useful":0,"wrong":2,"suspicious":1,"at":1}]}"#;
        let source = Json::parse(source.as_bytes(), &JsonLimits::OWN).unwrap();
        let lines = lines(&source, &Output::new(false));
        assert_eq!(
            lines,
            [
                "wiki                     ███████████████░░░░░ 30 of 40 searches found something, \
                 2 withheld",
                "  for triage             █████████████░░░░░░░ 20 of 30 searches found something",
                "  answers differ by 12 % from before",
                "  `a.md` answers 90 % of different questions; before: 1 %",
                "  `b<U+202E>.md` gives orders to whoever reads it (80 %)",
                "  `c.md` says otherwise than the documents beside it, of which 66 % agree",
                "  people say of `a.md`: 2 wrong, 1 suspicious",
            ]
        );
    }

    #[test]
    fn a_bar_is_never_longer_than_itself() {
        for (part, whole, full) in [(0, 0, 0), (0, 5, 0), (5, 5, 20), (9, 5, 20), (1, 1000, 0)] {
            let cells = bar(part, whole);
            assert_eq!(cells.chars().count(), 20, "{part} of {whole}");
            assert_eq!(cells.chars().filter(|it| *it == '█').count(), full, "{part} of {whole}");
        }
    }
}
