//! The frame of every page, and the headers under which it is sent.

use super::session::Session;
use crate::http::{Body, full, set};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use lockgate_kernel::Refusal;
use lockgate_types::identity::Identity;
use lockgate_types::{Json, Micros};
use maud::{DOCTYPE, Markup, html};

/// The one stylesheet.
const STYLE: &str = include_str!("style.css");
/// The icon: browsers ask for one, and the policy allows none from elsewhere.
const ICON: &str = concat!(
    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">"##,
    r##"<path fill="#2557a7" d="M2 2h3v12H2zM11 2h3v12h-3zM6 7h4v2H6z"/></svg>"##
);

/// Nothing but this site's own stylesheet and icon is loaded, nothing is run, no other site may
/// frame it, and forms go nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Who looks at a page.
pub(super) struct Visitor<'a> {
    pub(super) identity: &'a Identity,
    pub(super) session: &'a Session,
}

/// A page.
pub(super) fn page(
    status: StatusCode,
    title: &str,
    visitor: Option<&Visitor<'_>>,
    content: &Markup,
) -> Response<Body> {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Lockgate" }
                link rel="stylesheet" href="/console/style.css";
                link rel="icon" type="image/svg+xml" href="/console/icon.svg";
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    a.name href="/console/approvals" { "Lockgate" }
                    @if let Some(visitor) = visitor {
                        nav aria-label="Pages" {
                            a href="/console/approvals" { "Approvals" }
                            a href="/console/sources" { "Sources" }
                            a href="/console/traces" { "Traces" }
                        }
                        (signed_in(visitor))
                    }
                }
                main #content tabindex="-1" {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    respond(status, "text/html; charset=utf-8", document.into_string())
}

fn signed_in(visitor: &Visitor<'_>) -> Markup {
    html! {
        form.who method="post" action="/console/sign-out" {
            input type="hidden" name="form" value=(visitor.session.form.expose());
            span {
                "Signed in as " b { bdi { (visitor.identity.subject.as_str()) } }
                " until " (time(visitor.session.until))
            }
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// A page that says why something was not done.
pub(super) fn refused(status: StatusCode, refusal: &Refusal) -> Response<Body> {
    let content = html! {
        (problem(refusal.code.as_str(), &refusal.reason, &refusal.remedy))
        p { a href="/console/approvals" { "What waits for somebody" } }
    };
    page(status, "Not done", None, &content)
}

/// What went wrong, and what would help.
pub(super) fn problem(code: &str, reason: &str, remedy: &str) -> Markup {
    html! {
        div.problem role="alert" {
            p { b { (code) } ": " (super::visible::visible(reason)) }
            p { "What would help: " (super::visible::visible(remedy)) }
        }
    }
}

/// Files that the pages refer to.
pub(super) fn file(name: &str) -> Option<Response<Body>> {
    match name {
        "style.css" => Some(respond(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned())),
        "icon.svg" => Some(respond(StatusCode::OK, "image/svg+xml", ICON.to_owned())),
        _ => None,
    }
}

/// An answer in JSON, for the command line.
pub(super) fn json(status: StatusCode, json: &Json) -> Response<Body> {
    let text = String::from_utf8_lossy(&json.to_bytes()).into_owned();
    respond(status, "application/json", text)
}

/// On to another page.
pub(super) fn go_to(path: &str) -> Response<Body> {
    let mut response = respond(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", String::new());
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// The same response, which sets a cookie.
pub(super) fn with_cookie(mut response: Response<Body>, cookie: &str) -> Response<Body> {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, kind);
    set(&mut response, CACHE_CONTROL, "no-store");
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
        // `no-referrer` would have forms of this site come without their origin.
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        set(&mut response, HeaderName::from_static(name), value);
    }
    response
}

/// A time as people read it.
pub(super) fn time(at: Micros) -> Markup {
    let text = jiff::Timestamp::from_microsecond(at.0).map(|at| at.to_string());
    let text = text.unwrap_or_default();
    // Seconds are enough: `2026-07-28T10:00:00Z`.
    let exact = text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"));
    let shown = exact.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(exact) { (shown) } }
}
