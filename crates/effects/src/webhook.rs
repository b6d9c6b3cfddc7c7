//! The way to one channel: its secrets, and messages to it, of which nothing but the status of the
//! answer is looked at.
//!
//! Where it may be is held to the rules of every way out (`outbound`). No redirect is followed,
//! nothing of the answer is read, and all of it takes a bounded time.

use crate::credential::{Source, Unreadable};
use crate::http::{Connector, READ_AHEAD_MAX, cause, connector};
use crate::outbound::{NotAllowed, networks};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lockgate_core::declare::Webhook;
use lockgate_types::{Code, Redacted};
use std::sync::Arc;
use std::time::Duration;

/// How long a channel may take to answer, from the first packet on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Why a message was not taken. Short, and without anything of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The address or a header cannot be used.
    #[error("the address cannot be used")]
    Address,
    /// It is where the bundle does not allow it.
    #[error("{}: {why}", Code::AddressRefused)]
    NotAllowed {
        /// What is where.
        why: String,
    },
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

/// A channel as the bundle declares it.
pub struct Channel {
    declared: Webhook,
    secrets: Vec<(&'static str, Source)>,
    /// `None`: its address cannot be used.
    way: Option<(Uri, Client<Connector, Full<Bytes>>)>,
}

/// A secret that cannot be read: under which key it is declared, and why.
pub type Missing = (&'static str, Unreadable);

impl Channel {
    /// Nothing is read or connected yet.
    pub fn new(declared: &Webhook) -> Self {
        let next = declared.next_secret.as_ref();
        let secrets = [("secret", Some(&declared.secret)), ("next_secret", next)];
        let secrets = secrets.into_iter().filter_map(|(key, it)| Some((key, Source::new(it?))));
        Self { declared: declared.clone(), secrets: secrets.collect(), way: way(declared) }
    }

    /// What it was made of.
    pub const fn declared(&self) -> &Webhook {
        &self.declared
    }

    /// Its secrets as they are now, each with the key under which it is declared.
    pub async fn secrets(&self) -> Result<Vec<(&'static str, Redacted<Arc<str>>)>, Missing> {
        let mut all = Vec::with_capacity(self.secrets.len());
        for (key, secret) in &self.secrets {
            all.push((*key, secret.read().await.map_err(|why| (*key, why))?));
        }
        Ok(all)
    }

    /// Posts JSON, and returns once it was taken.
    pub async fn post(
        &self,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(), PostError> {
        let (uri, client) = self.way.as_ref().ok_or(PostError::Address)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let all = request.headers_mut();
        all.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| PostError::Address)?;
            all.insert(*name, value);
        }
        let answered = tokio::time::timeout(ANSWERED_WITHIN, client.request(request)).await;
        let answer = answered.map_err(|_| PostError::TooSlow)?;
        let answer = answer.map_err(|error| match cause::<NotAllowed>(&error) {
            Some(refused) => PostError::NotAllowed { why: refused.to_string() },
            None => PostError::Unreachable,
        });
        let status = answer?.status();
        if status == StatusCode::UNAUTHORIZED {
            // A program that prints a secret may have another one by now.
            self.secrets.iter().for_each(|(_, secret)| secret.forget());
        }
        if status.is_success() { Ok(()) } else { Err(PostError::Status(status)) }
    }
}

/// The bundle's loader allows `http` on loopback only, and no address where it may not be.
fn way(declared: &Webhook) -> Option<(Uri, Client<Connector, Full<Bytes>>)> {
    let uri: Uri = declared.url.parse().ok()?;
    let mut client = Client::builder(TokioExecutor::new());
    client.http1_max_buf_size(READ_AHEAD_MAX);
    let client = client.build(connector(&uri, &networks(&declared.allow_networks)).ok()?);
    Some((uri, client))
}
