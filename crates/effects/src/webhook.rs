//! One message to a channel: posted, and nothing but the status of the answer looked at.
//!
//! No redirect is followed, nothing of the answer is read, and all of it takes a bounded time.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// How long a channel may take to answer, from the first packet on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Why a message was not taken. Short, and without anything of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The address or a header cannot be used.
    #[error("the address cannot be used")]
    Address,
    /// Nobody answers there, or not so that it is HTTP.
    #[error("it cannot be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("it did not answer within {} s", ANSWERED_WITHIN.as_secs())]
    TooSlow,
    /// It answered, and did not take it.
    #[error("it answered {0}")]
    Status(StatusCode),
}

/// The way to channels. Cheap to clone.
#[derive(Clone)]
pub struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Poster {
    /// With the system's roots.
    pub fn new() -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?;
        // The bundle's loader allows `http` on loopback only.
        let connector = connector.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Posts JSON, and returns once it was taken.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(), PostError> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse::<Uri>().map_err(|_| PostError::Address)?;
        let all = request.headers_mut();
        all.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| PostError::Address)?;
            all.insert(*name, value);
        }
        let answered = tokio::time::timeout(ANSWERED_WITHIN, self.client.request(request)).await;
        let answer = answered.map_err(|_| PostError::TooSlow)?;
        let status = answer.map_err(|_| PostError::Unreachable)?.status();
        if status.is_success() { Ok(()) } else { Err(PostError::Status(status)) }
    }
}
