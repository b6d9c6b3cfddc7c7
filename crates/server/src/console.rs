//! The console: pages for people, at every listener that reads tokens.
//!
//! It is a client of the admin API like any other (I12): a page asks it in the name of who is
//! signed in, with their own token, and shows what it answers. There is no right that comes with
//! the console, and nothing here decides. Pages are made here, need no script, and load nothing
//! that is not this gate's own.

mod approvals;
mod ask;
mod evidence;
mod form;
mod page;
mod session;
mod sources;
mod traces;
mod uses;
mod visible;

use crate::http::{self as reply, Body, collect};
use crate::identity::expires_of;
use crate::route::{Gate, ListenerContext, note_turned_away};
use approvals::Answer;
use form::{Form, cookie, is_from_elsewhere, is_own_page};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lockgate_kernel::Refusal;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Micros, Object, Redacted};
use maud::html;
use page::Visitor;
use session::{Session, Sessions, SignIn};
use std::sync::Arc;
use std::time::Duration;

/// The agents that are a person's own tools. Whoever holds a token of another agent's acts for a
/// person, and is not one.
const OWN_TOOLS: [&str; 2] = ["lockgate-console", "lockgate-cli"];
/// Bytes of a form: a token fits.
const FORM_BYTES_MAX: usize = 32 * 1024;
/// How long a form may take to arrive.
const FORM_WITHIN: Duration = Duration::from_secs(15);

/// The console of one gate: who is signed in to it.
#[derive(Default)]
pub struct Console {
    sessions: Sessions,
}

impl Console {
    /// Forgets sessions and links that are over. Called every now and then: nobody may come by.
    pub fn forget_ended(&self, now: Micros) {
        self.sessions.forget_ended(now);
    }
}

/// A request to the console.
struct Visit {
    gate: Arc<Gate>,
    site: Site,
    headers: HeaderMap,
}

/// Where the browser is, as it knows it.
struct Site {
    /// The origins of the console's own pages.
    own: Vec<String>,
    /// Whether everything between browser and gate is encrypted.
    is_tls: bool,
}

/// Who asks for a page.
struct SignedIn {
    identity: Arc<Identity>,
    session: Session,
}

impl SignedIn {
    fn visitor(&self) -> Visitor<'_> {
        Visitor { identity: &self.identity, session: &self.session }
    }
}

/// What the console has, by its address.
enum Address {
    Start,
    SignIn,
    SignOut,
    /// A link, and opening it.
    Link(String),
    OpenLink,
    /// Where the command line asks for one.
    Links,
    Approvals,
    Approval(CallId),
    Give(CallId),
    Deny(CallId),
    Sources,
    /// What one of them has fed.
    Source(String),
    /// Where a call is asked for, and the record of one.
    Traces,
    Trace(CallId),
}

/// Answers one request below `/console`.
pub(crate) async fn handle(
    gate: &Arc<Gate>,
    listener: &ListenerContext,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix("/console").unwrap_or_default();
    let (method, path) = (parts.method, path.trim_matches('/').to_owned());
    if let (&Method::GET, Some(file)) = (&method, page::file(&path)) {
        return file;
    }
    let query = parts.uri.query().unwrap_or_default();
    let answered = match (Address::of(&path), Site::of(gate, listener, &parts.headers)) {
        (_, Err(refusal)) => Err(refusal),
        (None, Ok(_)) => Err(Refusal::of(Code::AdminNotFound)),
        (Some(address), Ok(site)) => {
            let visit = Visit { gate: Arc::clone(gate), site, headers: parts.headers };
            visit.answer(&method, address, query, body).await
        }
    };
    match answered {
        Ok(response) => response,
        Err(refusal) => {
            // Whoever looks for what is not there is no news.
            if refusal.code != Code::AdminNotFound {
                note_turned_away(gate, listener, refusal.code).await;
            }
            let status = status_of(refusal.code);
            match path.as_str() {
                "links" => {
                    page::json(status, &Object::new().with("error", refusal.to_json()).into())
                }
                _ => page::refused(status, &refusal),
            }
        }
    }
}

impl Site {
    /// People sign in where nobody can listen, and where tokens are read.
    fn of(gate: &Gate, listener: &ListenerContext, headers: &HeaderMap) -> Result<Self, Refusal> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let world = gate.kernel.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let public = world.gate.console.url.as_ref().and_then(|_| world.gate.console_url());
        let proxied = public.as_deref().and_then(|url| url.strip_prefix("https://"));
        let is_tls = listener.is_tls() || proxied.is_some_and(|at| at.eq_ignore_ascii_case(host));
        if listener.is_fixed() || !(is_tls || listener.is_loopback(host)) {
            return Err(Refusal::of(Code::ConsoleNotHere));
        }
        let own = [Some(listener.base(headers)), public].into_iter().flatten().collect();
        Ok(Self { own, is_tls })
    }

    /// The name binds the cookie to this very host, where browsers hold to that.
    fn cookie_name(&self) -> &'static str {
        if self.is_tls { "__Host-lockgate" } else { "lockgate-console" }
    }

    fn cookie(&self, value: &str, lasts_s: i64) -> String {
        let (name, secure) = (self.cookie_name(), if self.is_tls { "; Secure" } else { "" });
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}")
    }
}

impl Address {
    fn of(path: &str) -> Option<Self> {
        let steps: Vec<&str> = path.split('/').collect();
        let call = |text: &str| CallId::new(text).ok();
        Some(match steps.as_slice() {
            [""] => Self::Start,
            ["sign-in"] => Self::SignIn,
            ["sign-out"] => Self::SignOut,
            ["link"] => Self::OpenLink,
            ["link", secret] => Self::Link((*secret).to_owned()),
            ["links"] => Self::Links,
            ["approvals"] => Self::Approvals,
            ["sources"] => Self::Sources,
            ["sources", it] if is_plain(it) => Self::Source((*it).to_owned()),
            ["traces"] => Self::Traces,
            ["traces", it] => Self::Trace(call(it)?),
            ["approvals", it] => Self::Approval(call(it)?),
            ["approvals", it, "give"] => Self::Give(call(it)?),
            ["approvals", it, "deny"] => Self::Deny(call(it)?),
            _ => return None,
        })
    }

    /// Whether it shows something to whoever is signed in.
    const fn is_page(&self) -> bool {
        let is_list = matches!(self, Self::Approvals | Self::Sources | Self::Traces);
        is_list || matches!(self, Self::Approval(_) | Self::Trace(_) | Self::Source(_))
    }

    /// Of a page: where it is. Of others: where somebody begins.
    fn path(&self) -> String {
        match self {
            Self::Approval(call) => format!("/console/approvals/{call}"),
            Self::Trace(call) => format!("/console/traces/{call}"),
            Self::Sources => "/console/sources".to_owned(),
            Self::Source(name) => format!("/console/sources/{name}"),
            Self::Traces => "/console/traces".to_owned(),
            _ => "/console/approvals".to_owned(),
        }
    }
}

/// Whether it may be the name of a source.
fn is_plain(name: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    !name.is_empty() && name.chars().all(is_plain)
}

impl Visit {
    async fn answer(
        &self,
        method: &Method,
        address: Address,
        query: &str,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        if method == Method::GET {
            return self.show(address, query).await;
        }
        if method != Method::POST {
            return Err(Refusal::of(Code::BadHttp));
        }
        let body = collect(body, FORM_BYTES_MAX, FORM_WITHIN).await;
        self.act(address, &body.map_err(|_| Refusal::of(Code::BadHttp))?).await
    }

    async fn show(&self, address: Address, query: &str) -> Result<Response<Body>, Refusal> {
        match address {
            Address::Start => return Ok(page::go_to("/console/approvals")),
            Address::SignIn => return Ok(sign_in_page(query.strip_prefix("next="))),
            Address::Link(secret) => {
                let subject = self.gate.console.sessions.link_is_for(&secret, self.now());
                let subject = subject.ok_or_else(|| Refusal::of(Code::ConsoleLinkOver))?;
                return Ok(link_page(&secret, &subject));
            }
            _ if address.is_page() => {}
            _ => return Err(Refusal::of(Code::AdminNotFound)),
        }
        let Some(who) = self.signed_in().await? else {
            return Ok(self.sign_in_first(&address));
        };
        let (gate, who) = (&self.gate, &who);
        Ok(match address {
            Address::Approval(call) => approvals::show(gate, who, &call, None).await,
            Address::Sources => sources::list(gate, who).await,
            Address::Source(name) => uses::show(gate, who, &name, query).await,
            Address::Trace(call) => traces::show(gate, who, &call).await,
            Address::Traces => match query.strip_prefix("call=") {
                None => traces::find(who, false),
                Some(asked) => match CallId::new(asked.trim_matches('+')) {
                    Ok(call) => page::go_to(&Address::Trace(call).path()),
                    Err(_) => traces::find(who, true),
                },
            },
            _ => approvals::list(gate, who).await,
        })
    }

    async fn act(&self, address: Address, body: &[u8]) -> Result<Response<Body>, Refusal> {
        // The command line asks with its token, and no browser sends that by itself.
        if matches!(address, Address::Links) {
            return self.make_link().await;
        }
        if !is_own_page(&self.headers, &self.site.own) {
            return Err(Refusal::of(Code::FormRefused));
        }
        match address {
            Address::SignIn => self.sign_in(&Form::read(body, &["token", "next"])?).await,
            Address::OpenLink => {
                let (form, now) = (Form::read(body, &["link"])?, self.now());
                let token = self.gate.console.sessions.take_link(form.get("link"), now);
                let token = token.ok_or_else(|| Refusal::of(Code::ConsoleLinkOver))?;
                self.open_session(token, &Address::Start).await
            }
            Address::SignOut => self.sign_out(&Form::read(body, &["form"])?).await,
            Address::Give(call) => {
                let form = Form::read(body, &["form", "requirement", "reason"])?;
                let (who, answer) = (self.own_form(&form).await?, Answer::Give);
                Ok(approvals::answer(&self.gate, &who, &call, answer, &form).await)
            }
            Address::Deny(call) => {
                let form = Form::read(body, &["form", "reason"])?;
                let (who, answer) = (self.own_form(&form).await?, Answer::Deny);
                Ok(approvals::answer(&self.gate, &who, &call, answer, &form).await)
            }
            _ => Err(Refusal::of(Code::AdminNotFound)),
        }
    }

    async fn sign_out(&self, form: &Form) -> Result<Response<Body>, Refusal> {
        self.own_form(form).await?;
        if let Some(cookie) = cookie(&self.headers, self.site.cookie_name()) {
            self.gate.console.sessions.end(cookie);
        }
        Ok(page::with_cookie(page::go_to("/console/sign-in"), &self.site.cookie("", 0)))
    }

    fn now(&self) -> Micros {
        self.gate.kernel.clock().now()
    }

    /// Who is signed in, by what their token proves now: an issuer that is gone, a key that was
    /// withdrawn, a person who is not declared any more is nobody.
    async fn signed_in(&self) -> Result<Option<SignedIn>, Refusal> {
        let Some(cookie) = cookie(&self.headers, self.site.cookie_name()) else {
            return Ok(None);
        };
        let Some(session) = self.gate.console.sessions.find(cookie, self.now()) else {
            return Ok(None);
        };
        match self.verified(session.token.expose()).await {
            Ok((identity, _)) => Ok(Some(SignedIn { identity, session })),
            // It cannot be told now, which says nothing about the person.
            Err(refusal) if matches!(refusal.code, Code::IssuerUnreachable | Code::NoBundle) => {
                Err(refusal)
            }
            Err(refusal) => {
                tracing::info!(code = %refusal.code, "a session of the console has ended");
                self.gate.console.sessions.end(cookie);
                Ok(None)
            }
        }
    }

    /// Who sent a form that carries what only their own pages do.
    async fn own_form(&self, form: &Form) -> Result<SignedIn, Refusal> {
        let who = self.signed_in().await?.ok_or_else(|| Refusal::of(Code::ConsoleLinkOver))?;
        let (wanted, sent) = (who.session.form.expose().as_bytes(), form.get("form").as_bytes());
        let is_own = aws_lc_rs::constant_time::verify_slices_are_equal(wanted, sent).is_ok();
        if is_own { Ok(who) } else { Err(Refusal::of(Code::FormRefused)) }
    }

    /// What a token proves, if it is of a person's own tool.
    async fn verified(&self, token: &str) -> Result<(Arc<Identity>, Micros), Refusal> {
        let authorization = format!("Bearer {token}");
        let authenticator = self.gate.authenticator.load();
        let identity = authenticator.identify(&self.gate.kernel, Some(&authorization)).await?;
        if !OWN_TOOLS.contains(&identity.agent.as_str()) {
            return Err(Refusal::of(Code::NotAPersonsToken));
        }
        let expires = expires_of(token).ok_or_else(|| Refusal::of(Code::TokenMalformed))?;
        Ok((identity, expires))
    }

    async fn sign_in(&self, form: &Form) -> Result<Response<Body>, Refusal> {
        // A page of the console's, and never another site's.
        let next = Address::of(form.get("next")).unwrap_or(Address::Start);
        let token = Redacted::new(form.get("token").trim().to_owned());
        self.open_session(token, &next).await
    }

    async fn open_session(
        &self,
        token: Redacted<String>,
        next: &Address,
    ) -> Result<Response<Body>, Refusal> {
        let (sign_in, now) = (self.to_sign_in(token).await?, self.now());
        let opened = self.gate.console.sessions.open(sign_in, now);
        let (cookie, until) = opened.map_err(Refusal::of)?;
        let lasts_s = until.0.saturating_sub(now.0) / 1_000_000;
        Ok(page::with_cookie(page::go_to(&next.path()), &self.site.cookie(&cookie, lasts_s)))
    }

    async fn to_sign_in(&self, token: Redacted<String>) -> Result<SignIn, Refusal> {
        let (identity, expires) = self.verified(token.expose()).await?;
        let person = (identity.issuer.clone(), identity.subject.as_str().to_owned());
        Ok(SignIn { token, expires, person })
    }

    /// A link that signs in whoever asks for it, once.
    async fn make_link(&self) -> Result<Response<Body>, Refusal> {
        let header = reply::single(&self.headers, AUTHORIZATION.as_str());
        let header = header.map_err(|_| Refusal::of(Code::TokenMalformed))?;
        let token = header.and_then(|it| it.split_once(' ')).map(|(_, token)| token.trim());
        let token = token.ok_or_else(|| Refusal::of(Code::NoToken))?;
        let sign_in = self.to_sign_in(Redacted::new(token.to_owned())).await?;
        let made = self.gate.console.sessions.link(&sign_in, self.now());
        let (secret, until) = made.map_err(Refusal::of)?;
        // Where the command line has reached this gate, a browser beside it does too.
        let base = self.site.own.first().cloned().unwrap_or_default();
        let link = Object::new()
            .with("url", format!("{base}/console/link/{secret}"))
            .with("expires_at", until.0);
        Ok(page::json(StatusCode::OK, &link.into()))
    }

    /// Somebody whom nobody knows is asked to sign in; somebody who follows a link of another site
    /// may be signed in all the same, which their browser tells with the next request.
    fn sign_in_first(&self, wanted: &Address) -> Response<Body> {
        let path = wanted.path();
        if is_from_elsewhere(&self.headers) {
            let content = html! {
                meta http-equiv="refresh" content=(format!("0;url={path}"));
                p { a href=(path) { "Go on to this gate" } }
            };
            return page::page(StatusCode::OK, "One moment", None, &content);
        }
        let next = match wanted {
            Address::Approvals => String::new(),
            _ => format!("?next={}", path.trim_start_matches("/console/")),
        };
        page::go_to(&format!("/console/sign-in{next}"))
    }
}

fn sign_in_page(next: Option<&str>) -> Response<Body> {
    let next = next.filter(|next| Address::of(next).is_some()).unwrap_or_default();
    let content = html! {
        p { "On the machine of the gate " code { "lockgate console" } " gives you a link instead." }
        form method="post" action="/console/sign-in" {
            input type="hidden" name="next" value=(next);
            label for="token" { "Your token" }
            p.hint #token-hint {
                "One of this gate's issuers, for you and the agent " code { "lockgate-console" } "."
            }
            input #token type="password" name="token" required autocomplete="off" spellcheck="false"
                aria-describedby="token-hint";
            div.buttons { button type="submit" { "Sign in" } }
        }
    };
    page::page(StatusCode::OK, "Sign in", None, &content)
}

/// Opening a link does nothing yet: what looks at links before people do must not use it up, and
/// nobody is to be signed in as somebody else without seeing that.
fn link_page(secret: &str, subject: &str) -> Response<Body> {
    let content = html! {
        p { "As " b { bdi { (visible::visible(subject)) } } ", once." }
        form method="post" action="/console/link" {
            input type="hidden" name="link" value=(secret);
            div.buttons { button type="submit" { "Sign in" } }
        }
    };
    page::page(StatusCode::OK, "Sign in", None, &content)
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::AdminNotFound | Code::ConsoleNotHere => StatusCode::NOT_FOUND,
        Code::BadHttp => StatusCode::BAD_REQUEST,
        Code::NoBundle | Code::IssuerUnreachable => StatusCode::SERVICE_UNAVAILABLE,
        Code::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    }
}
