//! Pages of one server, for whoever brings documents in: answers as they are, with their status and
//! headers.
//!
//! Where the server may be is held to the rules of every way out (`outbound`). No redirect is
//! followed, nothing is asked of another server, and all of an answer has a bound.

use crate::http::{Connector, READ_AHEAD_MAX, cause, chain, connector};
use crate::outbound::{NotAllowed, networks};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// How long one answer may take, from the first packet to the last.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Who asks: what `robots.txt` calls us.
const NAME: &str = "lockgate";
/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Why a page could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is where the bundle does not allow it, or of another server.
    #[error("{why}")]
    NotAllowed {
        /// What is where.
        why: String,
    },
    /// Nobody answers there, or not in time, or not so that it is HTTP.
    #[error("{why}")]
    Unreachable {
        /// Why not.
        why: String,
    },
    /// The answer is too long.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: usize,
    },
}

/// An answer, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The headers that are text, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// One server whose pages are fetched.
pub struct Pages {
    server: Uri,
    client: Client<Connector, Empty<Bytes>>,
}

impl Pages {
    /// The server of that address. `allow_networks`: those that are not public and in which it may
    /// be.
    ///
    /// # Errors
    ///
    /// If it is no address, or one where it may not be.
    pub fn of(address: &str, allow_networks: &[String]) -> Result<Self, PageError> {
        let not_allowed = |why: String| PageError::NotAllowed { why };
        let server: Uri =
            address.parse().map_err(|_| not_allowed(format!("`{address}` is no address")))?;
        let connector = connector(&server, &networks(allow_networks)).map_err(not_allowed)?;
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX);
        client.pool_max_idle_per_host(1).http1_max_buf_size(READ_AHEAD_MAX);
        Ok(Self { server, client: client.build(connector) })
    }

    /// Asks for a page of this server.
    ///
    /// # Errors
    ///
    /// If it is of another server, not to be had, or too long.
    pub async fn get(
        &self,
        address: &str,
        headers: &[(String, String)],
        bytes_max: usize,
    ) -> Result<Page, PageError> {
        let elsewhere = |why: &str| PageError::NotAllowed { why: why.to_owned() };
        let uri: Uri = address.parse().map_err(|_| elsewhere("it is no address"))?;
        if uri.scheme() != self.server.scheme() || uri.authority() != self.server.authority() {
            return Err(elsewhere("it is of another server"));
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(NAME));
        for (name, value) in headers {
            let name = HeaderName::try_from(name.as_str()).ok();
            let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
                return Err(elsewhere("a header cannot be sent"));
            };
            request.headers_mut().insert(name, value);
        }
        let answered = tokio::time::timeout(ANSWERED_WITHIN, self.answer(request, bytes_max));
        answered.await.unwrap_or_else(|_| {
            let why = format!("it did not answer within {} s", ANSWERED_WITHIN.as_secs());
            Err(PageError::Unreachable { why })
        })
    }

    async fn answer(
        &self,
        request: Request<Empty<Bytes>>,
        bytes_max: usize,
    ) -> Result<Page, PageError> {
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| match cause::<NotAllowed>(&error) {
            Some(refused) => PageError::NotAllowed { why: refused.to_string() },
            None => PageError::Unreachable { why: chain(&error) },
        })?;
        let (head, body) = answer.into_parts();
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = head.headers.iter();
        let headers = headers.filter_map(|(name, it)| Some((name.as_str().to_owned(), text(it)?)));
        let headers = headers.collect();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => PageError::TooLong { bytes_max },
            false => PageError::Unreachable { why: "its answer broke off".to_owned() },
        })?;
        Ok(Page { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_asked_of_another_server_or_where_it_may_not_be() {
        let inner = Pages::of("http://169.254.169.254/", &[]);
        assert!(matches!(inner, Err(PageError::NotAllowed { .. })));
        let pages = Pages::of("http://127.0.0.1:9", &[]).unwrap();
        for address in ["http://127.0.0.1:10/", "https://127.0.0.1:9/", "http://localhost:9/", "x"]
        {
            let got = pages.get(address, &[], 10).await;
            assert!(matches!(got, Err(PageError::NotAllowed { .. })), "{address}: {got:?}");
        }
        let header = [("x-key".to_owned(), "a\nb".to_owned())];
        let got = pages.get("http://127.0.0.1:9/", &header, 10).await;
        assert!(matches!(got, Err(PageError::NotAllowed { .. })), "{got:?}");
    }
}
