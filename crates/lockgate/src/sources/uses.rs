//! What documents have fed, as people read it: the sessions that were shown something, and below
//! each what it did next.

use super::show::{items, number, text, time};
use crate::output::Output;
use lockgate_types::Json;
use lockgate_types::appearance::marked;

/// Prints what a document, or all of a source, has fed.
pub(super) fn show(answer: &Json, output: &Output) {
    lines(answer, output).iter().for_each(|line| output.line(line));
}

fn lines(answer: &Json, output: &Output) -> Vec<String> {
    let sessions = items(answer, "sessions").collect::<Vec<_>>();
    let uses: usize = sessions.iter().map(|it| items(it, "uses").count()).sum();
    if uses == 0 {
        return vec!["no answer of the last 90 days has shown it".to_owned()];
    }
    let with = |is: &dyn Fn(&Json) -> bool| sessions.iter().filter(|it| is(it)).count();
    let tasks = answer.get("tasks").and_then(Json::as_object).into_iter();
    let tasks: Vec<String> = tasks
        .flat_map(|tasks| tasks.iter().map(|(task, count)| format!("{task} ({count})")))
        .collect();
    let mut lines = vec![format!(
        "{}, to {}: of these {} changed something afterwards, {} had something refused, {} \
         tightened now",
        plural(uses, "answer that has shown it", "answers that have shown it"),
        plural(sessions.len(), "session", "sessions"),
        with(&|it| number(it, "changes") > 0),
        with(&|it| number(it, "refused") > 0),
        with(&|it| text(it, "mode") != "normal"),
    )];
    if !tasks.is_empty() {
        lines.push(format!("for the tasks {}", tasks.join(", ")));
    }
    for session in &sessions {
        lines.extend(of_session(session, output));
    }
    match text(answer, "next") {
        "" => lines.push(output.faint("one of them whole: lockgate trace <call>")),
        next => lines.push(output.faint(&format!("more: --before {next}"))),
    }
    lines
}

fn of_session(session: &Json, output: &Output) -> Vec<String> {
    let mode = match text(session, "mode") {
        "normal" => String::new(),
        mode => format!(", {}", output.bad(mode)),
    };
    let mut lines = vec![format!(
        "{} {} for {}{mode}: since then {}, {}, {} refused",
        text(session, "session"),
        text(session, "agent"),
        text(session, "subject"),
        counted(session, "reads", "read"),
        counted(session, "changes", "change"),
        number(session, "refused"),
    )];
    for shown in items(session, "uses") {
        let documents = match shown.get("documents") {
            None => output.faint("erased, or not kept"),
            Some(_) => {
                let names = items(shown, "documents").filter_map(Json::as_str);
                names.map(marked).collect::<Vec<_>>().join(", ")
            }
        };
        let task = match text(shown, "task") {
            "" => String::new(),
            task => format!(" for {task}"),
        };
        lines.push(format!(
            "  {} shown{task} {documents}  {}",
            time(shown, "at"),
            text(shown, "call")
        ));
    }
    for after in items(session, "followed") {
        let cites = if after.get("cites").is_some() { ", cites it" } else { "" };
        lines.push(format!(
            "  {} {} {}{cites}  {}",
            time(after, "at"),
            marked(text(after, "operation")),
            said(after, output),
            text(after, "call")
        ));
    }
    if session.get("is_cut").is_some() {
        lines.push(output.faint("  there were more of them than are shown, or counted"));
    }
    lines
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn counted(session: &Json, name: &str, one: &str) -> String {
    let count = usize::try_from(number(session, name)).unwrap_or(0);
    plural(count, one, &format!("{one}s"))
}

/// What became of a call.
fn said(after: &Json, output: &Output) -> String {
    let code = text(after, "code");
    match (text(after, "verdict"), text(after, "state")) {
        ("allow", "") => "is under way".to_owned(),
        ("allow", "succeeded") => output.good("succeeded"),
        ("allow", state) => output.bad(format!("{} {code}", state.replace('_', " ")).trim_end()),
        ("require_approval", _) => format!("waits for somebody {code}").trim_end().to_owned(),
        _ => format!("refused {code}").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn shown(json: &str) -> Vec<String> {
        lines(&Json::parse(json.as_bytes(), &JsonLimits::OWN).unwrap(), &Output::new(false))
    }

    #[test]
    fn a_document_is_shown_with_what_followed() {
        let lines = shown(
            r#"{"source":"wiki","document":"a.md","tasks":{"triage":1},"sessions":[
            {"session":"s_1","agent":"bot","subject":"p_1","mode":"read_only","reads":9,
            "changes":1,"refused":1,"is_cut":true,
            "uses":[{"call":"1a","at":0,"operation":"retrieval/search","task":"triage",
            "documents":["wiki/a\u202e.md"]},{"call":"1b","at":0}],
            "followed":[{"call":"2a","at":0,"operation":"desk/restart","effect":"write",
            "verdict":"allow","state":"in_doubt","code":"LG-T001","cites":true},
            {"call":"2b","at":0,"operation":"desk/close","effect":"write","verdict":"deny",
            "code":"LG-D001"},{"call":"2c","at":0,"operation":"desk/pay","effect":"write",
            "verdict":"require_approval"},{"call":"2d","at":0,"operation":"desk/save",
            "effect":"write","verdict":"allow","state":"succeeded"}]}],"next":"1b"}"#,
        );
        assert_eq!(
            lines,
            [
                "2 answers that have shown it, to 1 session: of these 1 changed something afterwards, \
                 1 had something refused, 1 tightened now",
                "for the tasks triage (1)",
                "s_1 bot for p_1, read_only: since then 9 reads, 1 change, 1 refused",
                "  1970-01-01T00:00:00Z shown for triage wiki/a<U+202E>.md  1a",
                "  1970-01-01T00:00:00Z shown erased, or not kept  1b",
                "  1970-01-01T00:00:00Z desk/restart in doubt LG-T001, cites it  2a",
                "  1970-01-01T00:00:00Z desk/close refused LG-D001  2b",
                "  1970-01-01T00:00:00Z desk/pay waits for somebody  2c",
                "  1970-01-01T00:00:00Z desk/save succeeded  2d",
                "  there were more of them than are shown, or counted",
                "more: --before 1b",
            ]
        );
        assert_eq!(shown(r#"{"sessions":[]}"#), ["no answer of the last 90 days has shown it"]);
    }
}
