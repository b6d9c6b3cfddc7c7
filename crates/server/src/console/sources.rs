//! How sources of documents stand and do, as whoever is signed in may see it: which snapshot
//! serves, what searches found, and what somebody should look at.

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
use std::collections::BTreeSet;

/// The page of all sources.
pub(super) async fn list(gate: &Gate, who: &SignedIn) -> Response<Body> {
    // Who may see one of the two is shown that one.
    let stands = ask::get(gate, &who.identity, "/v1/sources").await;
    let does = ask::get(gate, &who.identity, "/v1/retrieval").await;
    let (status, content) = match (&stands, &does) {
        (Err(not_done), Err(_)) => {
            let content = problem(&not_done.code, &not_done.reason, &not_done.remedy);
            (not_done.status, content)
        }
        (stands, does) => {
            let of = |answer| items(answer, "sources");
            let stands = stands.as_ref().map(of).unwrap_or_default();
            (StatusCode::OK, all(stands, does.as_ref().map(of).unwrap_or_default()))
        }
    };
    page(status, "Sources of documents", Some(&who.visitor()), &content)
}

/// How each source stands, and how it does.
fn all(stands: &[Json], does: &[Json]) -> Markup {
    let names: BTreeSet<&str> = stands.iter().chain(does).map(|it| text(it, "source")).collect();
    let named = |all: &'_ [Json], name: &str| all.iter().position(|it| text(it, "source") == name);
    html! {
        @if names.is_empty() { p { "There are no sources, or none was looked in." } }
        @for name in names {
            section {
                h2 { a href={ "/console/sources/" (name) } { bdi { (visible(name)) } } }
                @if let Some(source) = named(stands, name).and_then(|at| stands.get(at)) {
                    (standing(source))
                }
                @if let Some(source) = named(does, name).and_then(|at| does.get(at)) {
                    (health(source))
                }
            }
        }
    }
}

/// Which snapshot serves, since when, and what became of the last run.
fn standing(source: &Json) -> Markup {
    let last = source.at(&["standing", "last"]);
    html! {
        p {
            "Of " bdi { (visible(text(source, "owner"))) } ", "
            (text(source, "classification")) ". "
            @match source.get("serving") {
                Some(serving) => {
                    "Snapshot " (number(serving, "snapshot")) " serves, with "
                    (number(serving, "documents")) " documents, since "
                    (time(Micros(number(serving, "ended")))) "."
                }
                None => { "Nothing serves." }
            }
        }
        @if let Some(last) = last {
            p {
                "The last run, at " (time(Micros(number(last, "ended")))) ", was "
                (text(last, "verdict")) "."
            }
        }
    }
}

/// What searches found, and what somebody should look at.
fn health(source: &Json) -> Markup {
    let (searches, hits) = (number(source, "searches"), number(source, "hits"));
    let suspicions = items(source, "suspicions");
    html! {
        p {
            (hits) " of " (searches) " searches found something; "
            (number(source, "withheld")) " documents were withheld. Last at "
            (time(Micros(number(source, "last")))) "."
        }
        p {
            meter aria-label="searches that found something" min="0" max=(searches.max(1))
                value=(hits) { (hits) " of " (searches) }
        }
        @for (member, what) in [("query_drift", "Questions"), ("result_drift", "Answers")] {
            @if let Some(drift) = source.get(member).and_then(Json::as_i64) {
                p { (what) " differ by " (percent(drift)) " from before." }
            }
        }
        @if !suspicions.is_empty() {
            h3 { "To be looked at" }
            ul { @for found in suspicions { li { (suspicion(found)) } } }
        }
        @for said in items(source, "feedback") {
            p {
                "People say of " (name(said)) ": "
                (number(said, "useful")) " useful, " (number(said, "wrong")) " wrong, "
                (number(said, "suspicious")) " suspicious."
            }
        }
    }
}

fn suspicion(found: &Json) -> Markup {
    let value = percent(number(found, "value"));
    html! {
        (time(Micros(number(found, "at")))) ": "
        @match text(found, "kind") {
            "dominance" => {
                (name(found)) " answers " (value) " of different questions; before: "
                (percent(number(found, "before")))
            }
            "orders" => { (name(found)) " gives orders to whoever reads it (" (value) ")" }
            "contradiction" => {
                (name(found)) " says otherwise than the documents beside it, of which "
                (value) " agree"
            }
            "query_drift" => { "questions were about other things: " (value) }
            "result_drift" => { "other documents answered than before: " (value) }
            kind => { (kind) }
        }
    }
}

fn name(of: &Json) -> Markup {
    html! { bdi { (visible(text(of, "document"))) } }
}

fn percent(thousandths: i64) -> String {
    format!("{} %", thousandths / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn what_documents_are_called_is_shown_as_text() {
        let source = r#"{"source":"wiki","searches":4,"hits":3,"withheld":1,"last":0,
            "query_drift":120,"suspicions":[{"at":0,"kind":"orders","document":"<b>a</b>.md",
            "value":800,"before":0},{"at":0,"kind":"contradiction","document":"<c>.md",
            "value":750,"before":0}],"feedback":[{"document":"a.md","wrong":2}]}"#;
        let source = Json::parse(source.as_bytes(), &JsonLimits::OWN).unwrap();
        let stands = r#"{"source":"wiki","owner":"<i>it","classification":"internal",
            "serving":{"snapshot":41,"documents":7,"ended":0},
            "standing":{"last":{"verdict":"quarantined","ended":0}}}"#;
        let stands = Json::parse(stands.as_bytes(), &JsonLimits::OWN).unwrap();
        let page = all(&[stands], &[source]).into_string();
        for stands in [
            "&lt;i&gt;it",
            "Snapshot 41 serves, with 7 documents, since",
            "was quarantined.",
            "3 of 4 searches",
            "Questions differ by 12 % from before.",
            "&lt;b&gt;a&lt;/b&gt;.md",
            "gives orders",
            "&lt;c&gt;.md</bdi> says otherwise than the documents beside it, of which 75 % agree",
            "0 useful, 2 wrong, 0 suspicious",
        ] {
            assert!(page.contains(stands), "{stands}: {page}");
        }
        assert!(all(&[], &[]).into_string().contains("There are no sources"));
    }
}
