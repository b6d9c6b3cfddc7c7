//! The way of one call to an HTTP API: made into its request, let through the switches, sent,
//! followed where that is harmless, and answered as a tool answers.

use super::Api;
use super::answer::Told;
use crate::breaker::Watch;
use crate::bundled::besides_tools;
use crate::credential::Worn;
use crate::exchange::{Command, End, FarEnd};
use crate::http::ERROR_BODY_BYTES_MAX;
use crate::perform::{STEP, admit, conclude};
use crate::post::unexpected;
use crate::progress::Progress;
use crate::trouble::{Came, Trouble};
use crate::upstream::{Upstream, Way};
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use lockgate_core::declare::MethodWord;
use lockgate_core::endpoint::{Assembled, Endpoint};
use lockgate_store::Pass;
use lockgate_types::Code;
use lockgate_types::call::{Call, Effect};
use lockgate_types::decision::Decision;
use lockgate_wire::Era;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How often in a row a read is sent on.
const REDIRECTS_MAX: u32 = 3;

/// Performs a call that a recorded decision allows, to its end.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    decision: Option<Decision>,
    era: Era,
    (pass, watch): (Option<Pass>, Watch),
    far: FarEnd,
) {
    let mut far = far;
    far.pass = pass;
    let ended = match admit(&upstream, &far.speaker, false) {
        Ok(_place) => answered(&upstream, &call, decision, era, &mut far).await,
        Err(trouble) => Err(trouble),
    };
    conclude(&upstream, watch, ended, &far).await;
}

async fn answered(
    upstream: &Upstream,
    call: &Call,
    decision: Option<Decision>,
    era: Era,
    far: &mut FarEnd,
) -> Result<End, Trouble> {
    let (Way::Api(api), Some(decision)) = (&upstream.way, decision) else {
        return Err(Trouble::before(Code::InvariantBroken, "no decision about an API"));
    };
    if api.bundle != decision.bundle {
        let detail = "another bundle describes the API by now";
        return Err(Trouble::before(Code::FactsMoved, detail));
    }
    if call.method != "tools/call" {
        return Ok(besides_tools(&call.method));
    }
    let Some(endpoint) = api.plan.endpoint(call) else {
        return Err(Trouble::before(Code::UnknownName, "the API has no such endpoint"));
    };
    let decided = call.reading.as_ref().and_then(|reading| reading.target.as_ref());
    if decided != Some(&endpoint.target()) {
        return Err(Trouble::before(Code::InvariantBroken, "another target was decided"));
    }
    let assembled = endpoint.assemble(call.arguments());
    let assembled = assembled.map_err(|why| Trouble::before(Code::RequestRefused, why))?;
    if let Some(pass) = &far.pass {
        pass.ready().await;
    }
    let progress = Progress::within(Some(upstream.timeout));
    let is_read = decision.effect == Effect::Read;
    let key = call.key_header.as_ref().map(|name| (name.clone(), call.effect_key()));
    let left = progress.leaves_later(&upstream.fresh_id());
    let journey = Journey { api, endpoint, is_read, key, left: Arc::clone(left) };
    let work = pin!(async {
        let response = journey.run(&assembled, far).await?;
        journey.read(response, far).await
    });
    let told = progress.bound(upstream.timeout.min(STEP), work).await;
    let told = told.map_err(|trouble| trouble.if_left(progress.has_left()))?;
    Ok(End::Result(told.into_result(era)))
}

struct Journey<'a> {
    api: &'a Api,
    endpoint: &'a Endpoint,
    /// Whether it changes nothing, as the bundle declares it.
    is_read: bool,
    /// The header for the call's idempotency key, and the key.
    key: Option<(String, String)>,
    /// Whether something of it has left.
    left: Arc<AtomicBool>,
}

impl Journey<'_> {
    /// Sends the request, and again where a read is sent on.
    async fn run(
        &self,
        assembled: &Assembled,
        far: &mut FarEnd,
    ) -> Result<Response<Incoming>, Trouble> {
        let mut uri = self.address(&assembled.target)?;
        let (speaker, pass) = (far.speaker.clone(), far.pass.clone());
        let wearing = self.api.http.wear(&speaker, pass.as_ref());
        let mut worn = self.unless_cancelled(wearing, far).await?;
        for _ in 0..=REDIRECTS_MAX {
            let mut response = self.send(assembled, &uri, &worn, far).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                // A server that says so has done nothing with what was sent (RFC 9110 §15.5.2).
                let another = self.api.http.wear_another(&speaker, pass.as_ref(), &worn);
                worn = self.unless_cancelled(another, far).await?;
                response = self.send(assembled, &uri, &worn, far).await?;
            }
            if response.status() == StatusCode::UNAUTHORIZED {
                return Err(self.api.http.refusal(&worn));
            }
            let is_sent_on = response.status().is_redirection();
            if !is_sent_on || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            uri = self.sent_on(&response)?;
        }
        Err(Trouble::after(Code::RedirectRefused, "it sends on without an end"))
    }

    async fn send(
        &self,
        assembled: &Assembled,
        uri: &Uri,
        worn: &Worn,
        far: &mut FarEnd,
    ) -> Result<Response<Incoming>, Trouble> {
        let address = (method(self.endpoint.method), uri.clone());
        let headers = (self.headers(assembled)?, worn);
        let body = assembled.body.clone().map(bytes::Bytes::from);
        let out = (far.pass.clone(), &self.left);
        let sending = self.api.http.exchange(address, headers, body, out);
        self.unless_cancelled(sending, far).await
    }

    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
        far: &mut FarEnd,
    ) -> Result<T, Trouble> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                command = far.command() => match command {
                    Command::Cancel { .. } if self.is_read => {
                        let detail = "nobody waits for its answer any more";
                        return Err(Trouble::after(Code::CallCancelled, detail));
                    }
                    // What may have left is awaited; an API asks and hears nothing meanwhile.
                    Command::Cancel { .. } | Command::Answer { .. } | Command::Notify { .. } => {}
                }
            }
        }
    }

    /// The address of a target: of the API's own host, below its path.
    fn address(&self, target: &str) -> Result<Uri, Trouble> {
        let base = self.api.http.uri().path().trim_end_matches('/');
        same_host(self.api.http.uri(), &format!("{base}{target}"))
            .ok_or_else(|| Trouble::before(Code::InvariantBroken, "the target is no address"))
    }

    fn headers(&self, assembled: &Assembled) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::with_capacity(8);
        let accept = HeaderValue::from_static("application/json, text/*;q=0.9");
        headers.insert(ACCEPT, accept);
        if assembled.body.is_some() {
            let kind = HeaderValue::try_from(self.endpoint.content_type.as_str());
            headers.insert(CONTENT_TYPE, kind.map_err(|_| unwritable())?);
        }
        let key = self.key.iter().map(|(name, value)| (name, value));
        let own = assembled.headers.iter().map(|(name, value)| (name, value));
        for (name, value) in own.chain(key) {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| unwritable())?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| unwritable())?);
        }
        Ok(headers)
    }

    /// Where a read is sent on: to the same host, with a method that says it changes nothing.
    fn sent_on(&self, response: &Response<Incoming>) -> Result<Uri, Trouble> {
        let status = response.status();
        let is_harmless = self.is_read && self.endpoint.method.is_safe();
        if !is_harmless {
            return Err(unexpected(status));
        }
        let own = self.api.http.uri();
        let place = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
        let followed = [301, 302, 303, 307, 308].contains(&status.as_u16());
        place.filter(|_| followed).and_then(|place| redirected(own, place)).ok_or_else(|| {
            let detail = format!("HTTP {status} to another host, or to none");
            Trouble::after(Code::RedirectRefused, detail).by(Came::ByStatus(status.as_u16()))
        })
    }

    /// What an answer says. Its status says whether something was done; its body is read within
    /// bounds.
    async fn read(&self, response: Response<Incoming>, far: &mut FarEnd) -> Result<Told, Trouble> {
        let (status, is_success) = (response.status(), response.status().is_success());
        let is_refusal = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
        if !is_success && !is_refusal {
            return Err(unexpected(status));
        }
        let mut told = Told::of(&response);
        if !told.is_readable() || self.endpoint.method == MethodWord::Head {
            return Ok(told);
        }
        let http = &self.api.http;
        let bound = if is_success { http.answer_bytes_max } else { ERROR_BODY_BYTES_MAX };
        match self.unless_cancelled(http.body(response, bound), far).await {
            Ok(body) => told.body(&body),
            // It is done, or refused, however long the rest.
            Err(trouble) if trouble.code == Code::UpstreamTooLarge && !self.is_read => {
                told.leave_out(format!("longer than {bound} bytes"));
            }
            Err(_) if is_refusal => told.leave_out("broken off".to_owned()),
            Err(trouble) => return Err(trouble),
        }
        told.checked(self.is_read)
    }
}

const fn method(word: MethodWord) -> Method {
    match word {
        MethodWord::Get => Method::GET,
        MethodWord::Head => Method::HEAD,
        MethodWord::Post => Method::POST,
        MethodWord::Put => Method::PUT,
        MethodWord::Patch => Method::PATCH,
        MethodWord::Delete => Method::DELETE,
    }
}

fn same_host(own: &Uri, target: &str) -> Option<Uri> {
    let mut parts = own.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Where a `Location` leads, if that is the same scheme, host and port.
fn redirected(own: &Uri, place: &str) -> Option<Uri> {
    if place.starts_with('/') && !place.starts_with("//") && !place.contains('\\') {
        return same_host(own, place.split('#').next()?);
    }
    let uri: Uri = place.split('#').next()?.parse().ok()?;
    let usual = |uri: &Uri| if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = |uri: &Uri| uri.port_u16().unwrap_or_else(|| usual(uri));
    let is_same = uri.scheme() == own.scheme()
        && uri.host()?.eq_ignore_ascii_case(own.host()?)
        && port(&uri) == port(own)
        && !uri.authority()?.as_str().contains('@');
    let target = uri.path_and_query().filter(|_| is_same)?;
    same_host(own, target.as_str())
}

fn unwritable() -> Trouble {
    Trouble::before(Code::RequestRefused, "a header that an argument makes cannot be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_at_its_host() {
        let own: Uri = "https://api.example/v1".parse().unwrap();
        for (place, expected) in [
            ("/v2/x?y=1", Some("https://api.example/v2/x?y=1")),
            ("/v2/x#y", Some("https://api.example/v2/x")),
            ("https://api.example/z", Some("https://api.example/z")),
            ("https://API.example:443/z", Some("https://api.example/z")),
            ("https://api.example", Some("https://api.example/")),
            ("http://api.example/z", None),
            ("https://api.example:8443/z", None),
            ("https://api.example.evil.example/z", None),
            ("https://evil.example/z", None),
            ("https://u@api.example/z", None),
            ("https://api.example@evil.example/z", None),
            ("//evil.example/z", None),
            ("/\\evil.example/z", None),
            ("///evil.example/z", None),
            ("z", None),
            ("?z", None),
            ("../z", None),
            ("", None),
            ("javascript:x", None),
        ] {
            let found = redirected(&own, place).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{place}");
        }
    }
}
