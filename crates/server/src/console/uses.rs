//! What documents of a source have fed, for whoever has to find out after one turned out to be
//! wrong: which sessions were shown it, and what they did next.

use super::SignedIn;
use super::ask;
use super::evidence::{items, number, text};
use super::page::{page, problem, time};
use super::visible::visible;
use crate::http::Body;
use crate::route::Gate;
use http::{Response, StatusCode};
use lockgate_types::{Json, Micros};
use maud::{Markup, html};

/// The page of one source, or of a document of it: `query` is that of the admin API.
pub(super) async fn show(gate: &Gate, who: &SignedIn, source: &str, query: &str) -> Response<Body> {
    // A form sends its field although nothing stands in it.
    let query = if query == "document=" { "" } else { query };
    let title = format!("What {source} has fed");
    let path = format!("/v1/sources/{source}/uses?{query}");
    let (status, content) = match ask::get(gate, &who.identity, &path).await {
        Ok(answer) => (StatusCode::OK, content(source, query, &answer)),
        Err(not) => (not.status, problem(&not.code, &not.reason, &not.remedy)),
    };
    page(status, &title, Some(&who.visitor()), &content)
}

fn content(source: &str, query: &str, answer: &Json) -> Markup {
    let sessions = items(answer, "sessions");
    let tasks = answer.get("tasks").and_then(Json::as_object);
    html! {
        form method="get" action={ "/console/sources/" (source) } {
            label for="document" { "A document" }
            input #document type="text" name="document" autocomplete="off" spellcheck="false"
                value=(text(answer, "document"));
            div.buttons { button type="submit" { "Show what it has fed" } }
        }
        @if sessions.is_empty() { p { "No answer of the last 90 days has shown it." } }
        @for (task, count) in tasks.into_iter().flat_map(|tasks| tasks.iter()) {
            p { "For the task " bdi { (visible(task)) } ": " (count.to_string()) "." }
        }
        @for session in sessions { (fed(session)) }
        @if let Some(next) = answer.get("next").and_then(Json::as_str) {
            p { a href={ "/console/sources/" (source) "?" (further(query, next)) } { "Earlier" } }
        }
    }
}

/// The query of the next page.
fn further(query: &str, next: &str) -> String {
    let kept = query.split('&').filter(|it| !it.is_empty() && !it.starts_with("before="));
    kept.chain([format!("before={next}").as_str()]).collect::<Vec<_>>().join("&")
}

/// A session that was shown something.
fn fed(session: &Json) -> Markup {
    let mode = text(session, "mode");
    html! {
        section {
            h2 {
                bdi { (visible(text(session, "agent"))) } " for "
                bdi { (visible(text(session, "subject"))) }
            }
            @if mode != "normal" { p.warning { "It is tightened: " (mode.replace('_', " ")) "." } }
            p {
                "Since: " (number(session, "reads")) " reads, " (number(session, "changes"))
                " changes, " (number(session, "refused")) " refused."
            }
            h3 { "Shown" }
            ul { @for it in items(session, "uses") { li { (use_of(it)) } } }
            @if !items(session, "followed").is_empty() {
                h3 { "Changes and refusals since" }
                ul { @for it in items(session, "followed") { li { (after(it)) } } }
            }
            @if session.get("is_cut").is_some() { p { "There were more of them." } }
        }
    }
}

fn use_of(it: &Json) -> Markup {
    html! {
        (time(Micros(number(it, "at")))) ": " (call(it))
        @if let Some(task) = it.get("task").and_then(Json::as_str) {
            " for " bdi { (visible(task)) }
        }
        @if it.get("documents").is_none() { ", erased or not kept" }
        @for document in items(it, "documents").iter().filter_map(Json::as_str) {
            " " bdi { (visible(document)) }
        }
    }
}

fn after(it: &Json) -> Markup {
    html! {
        (time(Micros(number(it, "at")))) ": " (call(it)) " "
        @match (text(it, "verdict"), text(it, "state")) {
            ("allow", "") => { "is under way" }
            ("allow", state) => { (state.replace('_', " ")) }
            ("require_approval", _) => { "waits for somebody" }
            _ => { "refused" }
        }
        @if let Some(code) = it.get("code").and_then(Json::as_str) { " " (code) }
        @if it.get("cites").is_some() { ", cites it" }
    }
}

/// A call, and where its record is.
fn call(it: &Json) -> Markup {
    html! {
        a href={ "/console/traces/" (text(it, "call")) } {
            bdi { (visible(text(it, "operation"))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn what_a_document_has_fed_is_shown_as_text() {
        let answer = r#"{"document":"<b>.md","tasks":{"triage":2},"sessions":[{"agent":"<i>bot",
            "subject":"p_1","mode":"read_only","reads":9,"changes":1,"refused":2,"is_cut":true,
            "uses":[{"call":"1a","at":0,"operation":"retrieval/search","task":"triage",
            "documents":["wiki/<b>.md"]},{"call":"1b","at":0,"operation":"retrieval/search"}],
            "followed":[{"call":"2a","at":0,"operation":"desk/restart","verdict":"allow",
            "state":"in_doubt","code":"LG-T001","cites":true},{"call":"2b","at":0,
            "operation":"desk/close","verdict":"deny","code":"LG-D001"},{"call":"2c","at":0,
            "operation":"desk/pay","verdict":"require_approval"}]}],"next":"1b"}"#;
        let answer = Json::parse(answer.as_bytes(), &JsonLimits::OWN).unwrap();
        let page = content("wiki", "document=%3Cb%3E.md&before=1c", &answer).into_string();
        for stands in [
            "wiki/&lt;b&gt;.md",
            "&lt;i&gt;bot",
            "value=\"&lt;b&gt;.md\"",
            "It is tightened: read only.",
            "Since: 9 reads, 1 changes, 2 refused.",
            "erased or not kept",
            "in doubt LG-T001, cites it",
            "refused LG-D001",
            "waits for somebody",
            "There were more of them.",
            "href=\"/console/traces/2a\"",
            "href=\"/console/sources/wiki?document=%3Cb%3E.md&amp;before=1b\"",
        ] {
            assert!(page.contains(stands), "{stands}: {page}");
        }
        let nothing = Json::parse(br#"{"sessions":[]}"#, &JsonLimits::OWN).unwrap();
        assert!(content("wiki", "", &nothing).into_string().contains("No answer"));
    }
}
