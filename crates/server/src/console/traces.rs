//! One call, as its record tells it: what was decided and why, where the pieces that it found come
//! from, what it cited, and every entry of it. The record is read as whoever is signed in.

use super::SignedIn;
use super::ask;
use super::evidence::{items, number, shown, text};
use super::page::{page, problem, time};
use super::visible::visible;
use crate::http::Body;
use crate::route::Gate;
use http::{Response, StatusCode};
use lockgate_types::{CallId, Code, Json, Micros};
use maud::{Markup, html};

/// Bytes of payloads that one page shows; the command line shows all.
const SHOWN_BYTES_MAX: usize = 256 * 1024;

/// What the record says of a piece, beside its name and its words: as people call it.
const TOLD: [(&str, &str); 13] = [
    ("title", "Title"),
    ("kind", "Kind"),
    ("classification", "Classification"),
    ("curation", "Curation"),
    ("owner", "Owner"),
    ("author", "Author"),
    ("made", "Made"),
    ("changed", "Changed"),
    ("confirmed", "Last seen at its source"),
    ("ingested", "Brought in"),
    ("hash", "Hash of the piece"),
    ("sealed", "Seal of the piece, in place of its hash"),
    ("permissions", "Permissions, as a fingerprint"),
];

/// Where a call is asked for by its id; `is_misspelt`: what was asked for is none.
pub(super) fn find(who: &SignedIn, is_misspelt: bool) -> Response<Body> {
    let (code, hint) = (Code::AdminBadRequest, "copy it from an answer, a refusal or the log");
    let content = html! {
        @if is_misspelt { (problem(code.as_str(), "this is not the id of a call", hint)) }
        p { "Every answer and every refusal carries the id of its call." }
        form method="get" action="/console/traces" {
            label for="call" { "The call" }
            input #call type="text" name="call" required autocomplete="off" spellcheck="false";
            div.buttons { button type="submit" { "Show its record" } }
        }
    };
    let status = if is_misspelt { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page(status, "What became of a call", Some(&who.visitor()), &content)
}

/// The page of one call.
pub(super) async fn show(gate: &Gate, who: &SignedIn, call: &CallId) -> Response<Body> {
    let visitor = Some(who.visitor());
    match ask::get(gate, &who.identity, &format!("/v1/traces/{call}")).await {
        Ok(trace) => {
            let operation = entries(&trace).iter().find_map(|it| it.at(&["leaf", "operation"]));
            let operation = operation.and_then(Json::as_str).unwrap_or("something");
            let title = format!("A call of {operation}");
            page(StatusCode::OK, &title, visitor.as_ref(), &content(&trace))
        }
        Err(not) => {
            let content = problem(&not.code, &not.reason, &not.remedy);
            page(not.status, "This call cannot be shown", visitor.as_ref(), &content)
        }
    }
}

fn content(trace: &Json) -> Markup {
    let mut room = SHOWN_BYTES_MAX;
    html! {
        @for entry in entries(trace) {
            @if let Some(decision) = entry.at(&["payload", "decision"]) {
                (decided(entry, decision))
            }
            @if let Some(cited) = entry.at(&["payload", "moment", "cited"]) {
                h2 { "What it cited" }
                (shown(cited))
            }
            @if let Some(found) = entry.at(&["payload", "result", "structuredContent"]) {
                (pieces(found))
            }
        }
        h2 { "The record" }
        @for entry in entries(trace) { (recorded(entry, &mut room)) }
        @if trace.get("is_cut").is_some() || room == 0 {
            p.warning {
                "Not all of it is on this page: "
                code { "lockgate trace " (text(trace, "call")) } " shows more."
            }
        }
    }
}

/// Who asked for what, and what was decided.
fn decided(entry: &Json, decision: &Json) -> Markup {
    let said = |path: &[&str]| entry.at(path).and_then(Json::as_str).unwrap_or_default();
    let operation = match said(&["payload", "call", "operation"]) {
        "" => said(&["leaf", "operation"]),
        operation => operation,
    };
    html! {
        h2 { bdi { (visible(operation)) } ": " (visible(text(decision, "verdict"))) }
        dl {
            dt { "For" } dd { bdi { (visible(said(&["payload", "identity", "subject"]))) } }
            dt { "Through the agent" }
            dd { bdi { (visible(said(&["payload", "identity", "agent"]))) } }
            @for (path, name) in [("tenant", "Tenant"), ("environment", "Environment"),
                ("task", "Task")] {
                @if let Some(value) = entry.at(&["payload", "identity", path]) {
                    dt { (name) } dd { (shown(value)) }
                }
            }
            @for (list, name) in [("policies", "By the policies"),
                ("obligations", "With the obligations")] {
                @if !items(decision, list).is_empty() {
                    dt { (name) } dd { (shown(decision.get(list).unwrap_or(&Json::Null))) }
                }
            }
            @if let Some(within) = entry.at(&["leaf", "within"]).and_then(Json::as_str) {
                dt { "Made within" }
                dd { a href={ "/console/traces/" (within) } { (within) } }
            }
        }
        @if let Some(denial) = decision.get("denial") {
            (problem(text(denial, "code"), text(denial, "reason"), text(denial, "remedy")))
        }
    }
}

/// Where the pieces of an answer come from: of a search here, or of a retriever of others.
fn pieces(found: &Json) -> Markup {
    let own = items(found, "found");
    let others = items(found, "documents");
    html! {
        @if !own.is_empty() || !others.is_empty() { h2 { "Where its pieces come from" } }
        @for piece in own.iter().chain(others) {
            @if piece.get("document").is_some() { (provenance(piece)) }
        }
    }
}

/// Where one piece comes from, and what it says.
fn provenance(piece: &Json) -> Markup {
    let joined = piece.get("field_of").into_iter().chain(items(piece, "fields"));
    html! {
        section.piece {
            h3 {
                @match web(text(piece, "link")) {
                    Some(link) => a href=(link) rel="noreferrer" {
                        bdi { (visible(text(piece, "document"))) }
                    },
                    None => bdi { (visible(text(piece, "document"))) },
                }
            }
            @if let Some(old) = piece.get("old").and_then(Json::as_str) {
                p.warning { (visible(old)) }
            }
            dl {
                @for (member, name) in TOLD {
                    @if let Some(value) = piece.get(member) { dt { (name) } dd { (shown(value)) } }
                }
                @if let Some(snapshot) = piece.get("snapshot").and_then(Json::as_i64) {
                    dt { "Snapshot" } dd { (snapshot) }
                }
                @if let [from, to] = items(piece, "span") {
                    dt { "Bytes of the document" } dd { (from.to_string()) " to " (to.to_string()) }
                }
                @for joined in joined {
                    dt { "Together with" } dd { bdi { (visible(text(joined, "document"))) } }
                }
                @if piece.get("shown").is_some() {
                    dt { "Changed" } dd { "Something in it was withheld before it was read." }
                }
            }
            @if piece.get("text").is_some() {
                details {
                    summary { "What it says" }
                    pre.raw tabindex="0" role="group"
                        aria-label={ "What " (text(piece, "document")) " says" } {
                        @for (at, line) in text(piece, "text").split('\n').enumerate() {
                            @if at > 0 { "\n" }
                            (visible(line))
                        }
                    }
                }
            }
        }
    }
}

/// An address that a browser may be sent to: a source says where its documents are.
fn web(link: &str) -> Option<&str> {
    let is_web = ["https://", "http://"].iter().any(|scheme| {
        link.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    (is_web && !link.chars().any(char::is_control)).then_some(link)
}

/// One entry of the log, and what it carried, for as long as there is room.
fn recorded(entry: &Json, room: &mut usize) -> Markup {
    let leaf = entry.get("leaf").unwrap_or(&Json::Null);
    let carried = entry.get("payload").filter(|payload| {
        let size = payload.to_string().len();
        let has_room = size <= *room;
        *room = if has_room { *room - size } else { 0 };
        has_room
    });
    html! {
        details {
            summary {
                (number(entry, "index")) ", " (time(Micros(number(leaf, "t")))) ": "
                (visible(text(leaf, "k"))) " " (visible(text(leaf, "operation")))
            }
            (shown(leaf))
            @if entry.get("erased").is_some() { p { "What it carried was erased." } }
            @if let Some(payload) = carried {
                h3 { "What it carried" }
                (shown(payload))
            }
        }
    }
}

fn entries(trace: &Json) -> &[Json] {
    items(trace, "entries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn page_of(trace: &str) -> String {
        content(&Json::parse(trace.as_bytes(), &JsonLimits::OWN).unwrap()).into_string()
    }

    #[test]
    fn where_pieces_come_from_is_shown_as_text() {
        let page = page_of(
            r#"{"call":"1","entries":[{"index":7,"leaf":{"k":"outcome","t":0},"payload":{"result":
            {"structuredContent":{"found":[{"document":"wiki/<b>a</b>.md","owner":"desk",
            "classification":"internal","snapshot":41,"span":[5,90],"hash":"sha256:ab",
            "link":"https://wiki.example/a","old":"it is old","shown":"sha256:cd",
            "text":"<i>words</i>","fields":[{"document":"crm/1#mail"}]},
            {"document":"wiki/b.md","sealed":"hmac-sha256:ef",
            "link":"javascript:alert(1)"}]}}}}]}"#,
        );
        for stands in [
            "wiki/&lt;b&gt;a&lt;/b&gt;.md",
            "href=\"https://wiki.example/a\"",
            "it is old",
            "<dd>41</dd>",
            "5 to 90",
            "sha256:ab",
            "hmac-sha256:ef",
            "withheld before it was read",
            "&lt;i&gt;words&lt;/i&gt;",
            "crm/1#mail",
        ] {
            assert!(page.contains(stands), "{stands}: {page}");
        }
        assert!(!page.contains("href=\"javascript"), "{page}");
    }

    #[test]
    fn a_decision_is_said_with_what_would_help() {
        let page = page_of(
            r#"{"call":"1","entries":[{"index":7,"leaf":{"k":"refused","t":0,"within":"2"},
            "payload":{"identity":{"subject":"alice","agent":"bot","task":"help"},
            "call":{"operation":"a/b"},"moment":{"cited":{"all":[]}},"decision":{"verdict":"deny",
            "policies":["p"],"obligations":[],"denial":{"code":"LG-D003","reason":"no policy",
            "remedy":"ask"}}}}]}"#,
        );
        for stands in ["a/b", "deny", "alice", "bot", "help", "LG-D003", "no policy", "ask"] {
            assert!(page.contains(stands), "{stands}: {page}");
        }
        assert!(page.contains("href=\"/console/traces/2\"") && page.contains("What it cited"));
    }

    #[test]
    fn what_does_not_fit_is_said_not_to_be_there() {
        let long = "x".repeat(SHOWN_BYTES_MAX);
        let page = page_of(&format!(
            r#"{{"call":"1","entries":[{{"index":7,"leaf":{{"k":"outcome","t":0}},
            "payload":{{"result":"{long}"}}}}]}}"#
        ));
        assert!(!page.contains(&long) && page.contains("lockgate trace 1"), "{}", page.len());
    }
}
