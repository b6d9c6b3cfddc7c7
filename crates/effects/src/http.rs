//! The way to an upstream over HTTP: one client, its pool of connections, and what may be in an
//! answer.
//!
//! Knows HTTP and its bounds. Knows nothing of eras, sessions or calls: those are in `line` and
//! `stream`.

use crate::credential::{Credentials, Speaker, Worn};
use crate::outbound::{self, NotAllowed, Resolver};
use crate::trouble::{Came, Trouble, stopped};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lockgate_core::network::Network;
use lockgate_store::{Pass, Stop};
use lockgate_types::Code;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::{Handle, Id};

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of headers and of what is read ahead, per connection.
pub(crate) const READ_AHEAD_MAX: usize = 64 << 10;
/// Bytes of an answer that is no success: enough for an error object, of which some is shown.
pub(crate) const ERROR_BODY_BYTES_MAX: usize = 256 << 10;

/// Connects within the rules of one upstream, or of a channel.
pub(crate) type Connector = HttpsConnector<HttpConnector<Resolver>>;
type Pool = Client<Connector, Outgoing>;

/// An HTTP upstream.
pub(crate) struct Http {
    connector: Connector,
    connections_max: usize,
    /// One pool for each runtime, found by its id: a connection is driven by the runtime that
    /// opened it, and a call that took another's would wait for two threads to wake up.
    pools: Mutex<Vec<(Id, Pool)>>,
    uri: Uri,
    credentials: Arc<Credentials>,
    pub(crate) answer_bytes_max: usize,
}

/// What is sent. The switches are asked when the connection is there and takes the body: without
/// it, its head is no request. Where there is no body they are asked when the connection wants to
/// know that, which is when it writes the head; if they stop it, a body is promised that never
/// comes, and the head is no request either.
struct Outgoing {
    bytes: Option<Bytes>,
    pass: Option<Pass>,
    stopped: OnceLock<Stop>,
    /// Told once something of it leaves.
    left: Option<Arc<AtomicBool>>,
}

impl Outgoing {
    const fn new(bytes: Option<Bytes>, pass: Option<Pass>) -> Self {
        Self { bytes, pass, stopped: OnceLock::new(), left: None }
    }

    fn leaves(&self) {
        if let Some(left) = &self.left {
            left.store(true, Ordering::Relaxed);
        }
    }
}

/// It was stopped at the door.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stopped(Stop);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        if let Some(stop) = self.stopped.take() {
            return Poll::Ready(Some(Err(Stopped(stop))));
        }
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if let Some(pass) = self.pass.take()
            && let Err(stop) = pass.leave()
        {
            return Poll::Ready(Some(Err(Stopped(stop))));
        }
        self.leaves();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match (&self.bytes, &self.pass) {
            (Some(_), _) => false,
            (None, Some(pass)) => match pass.leave() {
                Ok(()) => {
                    self.leaves();
                    true
                }
                Err(stop) => {
                    let _ = self.stopped.set(stop);
                    false
                }
            },
            (None, None) => {
                self.leaves();
                true
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let promised = u64::from(self.stopped.get().is_some());
        SizeHint::with_exact(self.bytes.as_ref().map_or(promised, |bytes| bytes.len() as u64))
    }
}

/// What an error came of, if it is that.
pub(crate) fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(cause) = error.downcast_ref() {
            return Some(cause);
        }
        at = error.source();
    }
    None
}

/// What came back, sorted by what it claims to be.
pub(crate) enum Kind {
    Json,
    Events,
    Other,
}

impl Http {
    pub(crate) fn new(
        url: &str,
        credentials: Arc<Credentials>,
        allowed: &[Network],
        connections_max: u32,
        answer_bytes_max: usize,
    ) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is not an address"))?;
        let connector = connector(&uri, allowed)?;
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        let pools = Mutex::default();
        Ok(Self { connector, connections_max, pools, uri, credentials, answer_bytes_max })
    }

    /// The connections of this thread's runtime.
    fn pool(&self) -> Pool {
        let id = Handle::current().id();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.iter().find(|(known, _)| *known == id) {
            return pool.clone();
        }
        let pool: Pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(self.connections_max)
            .http1_max_buf_size(READ_AHEAD_MAX)
            .build(self.connector.clone());
        pools.push((id, pool.clone()));
        pool
    }

    /// What is shown with what this speaker says.
    pub(crate) async fn wear(
        &self,
        speaker: &Speaker,
        pass: Option<&Pass>,
    ) -> Result<Worn, Trouble> {
        self.credentials.headers(speaker, pass).await
    }

    /// What is shown instead, once the upstream has not accepted it. `Err`: it accepts nothing.
    pub(crate) async fn wear_another(
        &self,
        speaker: &Speaker,
        pass: Option<&Pass>,
        refused: &Worn,
    ) -> Result<Worn, Trouble> {
        let another = self.credentials.renewed(speaker, pass, refused).await?;
        another.ok_or_else(|| self.refusal(refused))
    }

    /// What it means that the upstream accepts none of it.
    pub(crate) fn refusal(&self, worn: &Worn) -> Trouble {
        self.credentials.refusal(worn).by(Came::ByStatus(401))
    }

    /// Sends one message once, with a credential that is at hand. `left` becomes true when
    /// something of it leaves.
    pub(crate) async fn post_worn(
        &self,
        headers: HeaderMap,
        body: Bytes,
        (pass, left): (Option<Pass>, &Arc<AtomicBool>),
        worn: &Worn,
    ) -> Result<Response<Incoming>, Trouble> {
        let mut body = Outgoing::new(Some(body), pass);
        body.left = Some(Arc::clone(left));
        self.send(self.message(headers, body, worn)).await
    }

    /// Sends one message of the gate's or beside a call.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        speaker: &Speaker,
    ) -> Result<Response<Incoming>, Trouble> {
        let body = Bytes::from(body);
        let message = |worn: &Worn| {
            let body = Outgoing::new(Some(body.clone()), None);
            self.message(headers.clone(), body, worn)
        };
        self.insist(speaker, message).await
    }

    /// Opens a stream of events.
    pub(crate) async fn open_stream(
        &self,
        headers: HeaderMap,
        speaker: &Speaker,
    ) -> Result<Response<Incoming>, Trouble> {
        let open = |worn: &Worn| {
            let nothing = Outgoing::new(None, None);
            let mut request = self.request(Method::GET, headers.clone(), nothing, worn);
            let accept = HeaderValue::from_static("text/event-stream");
            request.headers_mut().insert(ACCEPT, accept);
            request
        };
        self.insist(speaker, open).await
    }

    /// Ends a session.
    pub(crate) async fn delete(
        &self,
        headers: HeaderMap,
        speaker: &Speaker,
    ) -> Result<Response<Incoming>, Trouble> {
        let end = |worn: &Worn| {
            let nothing = Outgoing::new(None, None);
            self.request(Method::DELETE, headers.clone(), nothing, worn)
        };
        self.insist(speaker, end).await
    }

    /// Where it is.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a request of its own kind once, to an address of the same host, with a credential that
    /// is at hand. `left` becomes true when something of it leaves.
    pub(crate) async fn exchange(
        &self,
        (method, uri): (Method, Uri),
        (headers, worn): (HeaderMap, &Worn),
        body: Option<Bytes>,
        (pass, left): (Option<Pass>, &Arc<AtomicBool>),
    ) -> Result<Response<Incoming>, Trouble> {
        let mut body = Outgoing::new(body, pass);
        body.left = Some(Arc::clone(left));
        let mut request = self.request(method, headers, body, worn);
        *request.uri_mut() = uri;
        self.send(request).await
    }

    /// Sends something, and once more with another credential if the first is not accepted: a
    /// server that says so has done nothing with what was sent (RFC 9110 §15.5.2).
    async fn insist(
        &self,
        speaker: &Speaker,
        request: impl Fn(&Worn) -> Request<Outgoing>,
    ) -> Result<Response<Incoming>, Trouble> {
        let worn = self.wear(speaker, None).await?;
        let response = self.send(request(&worn)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let another = self.wear_another(speaker, None, &worn).await?;
        let response = self.send(request(&another)).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => Err(self.refusal(&another)),
            _ => Ok(response),
        }
    }

    fn message(&self, headers: HeaderMap, body: Outgoing, worn: &Worn) -> Request<Outgoing> {
        let mut request = self.request(Method::POST, headers, body, worn);
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, accept);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        request
    }

    fn request(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Outgoing,
        worn: &Worn,
    ) -> Request<Outgoing> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        for (name, value) in &worn.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        request
    }

    async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Trouble> {
        // The client sends a request a second time by itself only if it was never written to a
        // connection.
        self.pool().request(request).await.map_err(|error| {
            if let Some(Stopped(switch)) = cause(&error) {
                return stopped(switch);
            }
            if let Some(refused) = cause::<NotAllowed>(&error) {
                return Trouble::before(Code::AddressRefused, refused.to_string());
            }
            let detail = chain(&error);
            if error.is_connect() {
                Trouble::before(Code::UpstreamUnreachable, format!("cannot connect: {detail}"))
            } else {
                Trouble::after(Code::UpstreamUnreachable, format!("the connection broke: {detail}"))
            }
        })
    }

    /// Reads a whole body, up to a bound.
    pub(crate) async fn body(
        &self,
        response: Response<Incoming>,
        bytes_max: usize,
    ) -> Result<Bytes, Trouble> {
        let mut body = response.into_body();
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let detail = format!("the answer broke off: {}", chain(&error));
                Trouble::after(Code::UpstreamTruncated, detail)
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            if first.len() + all.len() + piece.len() > bytes_max {
                let detail = format!("the answer is longer than {bytes_max} bytes");
                return Err(Trouble::after(Code::UpstreamTooLarge, detail));
            }
            // Most answers are one piece, which then needs no copy.
            if first.is_empty() && all.is_empty() {
                first = piece;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&piece);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

/// Whether a body is as it is sent: what is packed could be anything, and of any size.
pub(crate) fn is_plain(response: &Response<Incoming>) -> bool {
    let mut encodings = response.headers().get_all(CONTENT_ENCODING).iter();
    encodings.all(|it| it.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// What the answer claims to be.
pub(crate) fn kind(response: &Response<Incoming>) -> Kind {
    if !is_plain(response) {
        return Kind::Other;
    }
    let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = value.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().to_ascii_lowercase().as_slice() {
        b"application/json" => Kind::Json,
        b"text/event-stream" => Kind::Events,
        _ => Kind::Other,
    }
}

/// Whether a status says for certain that nothing was done with what was sent. `303 See Other` and
/// its older spellings 301 and 302 are how servers answer what they have done.
pub(crate) fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        307 | 308 | 401 | 403 | 404 | 405 | 406 | 411 | 413 | 415 | 421 | 429 | 431
    )
}

/// Connects to one address, within its rules.
pub(crate) fn connector(uri: &Uri, allowed: &[Network]) -> Result<Connector, String> {
    let http = outbound::connector(uri, allowed).map_err(|error| error.to_string())?;
    secured(uri, http)
}

fn secured<H>(uri: &Uri, http: H) -> Result<HttpsConnector<H>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    match uri.scheme_str() {
        Some("https") => Ok(HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("no certificate authorities found: {error}"))?
            .https_only()
            .enable_http1()
            .wrap_connector(http)),
        Some("http") => {
            // Nobody is trusted here: no certificate is ever looked at.
            let tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
            Ok(builder.enable_http1().wrap_connector(http))
        }
        _ => Err(format!("`{uri}` is neither an http nor an https address")),
    }
}

/// What it means that an upstream lets the gate's credential do nothing of that kind.
pub(crate) fn insufficient() -> Trouble {
    let detail = "HTTP 403: the upstream does not let the gate's credential do this";
    Trouble::before(Code::CredentialInsufficient, detail).by(Came::ByStatus(403))
}

/// An error with its causes, for the operator.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_left_when_its_connection_takes_it() {
        let left = Arc::new(AtomicBool::new(false));
        let mut body = Outgoing::new(Some(Bytes::from_static(b"x")), None);
        body.left = Some(Arc::clone(&left));
        assert!(!body.is_end_stream() && !left.load(Ordering::Relaxed));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        assert!(left.load(Ordering::Relaxed));
    }
}
