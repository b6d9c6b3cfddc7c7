//! One document from an address that the bundle names, such as an issuer's keys.
//!
//! Where it may be is held to the rules of every way out (`outbound`). No redirect is followed, and
//! it has a bound; how long it may take says who asks.

use crate::http::{cause, chain, connector};
use crate::outbound::{NotAllowed, networks};
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is where the bundle does not allow it.
    #[error("{why}")]
    NotAllowed {
        /// What is where.
        why: String,
    },
    /// Nobody answers there.
    #[error("it cannot be reached: {why}")]
    Unreachable {
        /// Why not.
        why: String,
    },
    /// Something else than the document was answered.
    #[error("it answered HTTP {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It did not come whole, or is too long.
    #[error("the answer broke off, or is longer than {bytes_max} bytes")]
    Broken {
        /// How long it may be.
        bytes_max: usize,
    },
}

/// Reads a document. `allow_networks`: those that are not public and in which it may be.
pub async fn fetch(
    address: &Uri,
    allow_networks: &[String],
    bytes_max: usize,
) -> Result<Vec<u8>, FetchError> {
    let connector = connector(address, &networks(allow_networks));
    let connector = connector.map_err(|why| FetchError::NotAllowed { why })?;
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let response = client.get(address.clone()).await;
    let response = response.map_err(|error| match cause::<NotAllowed>(&error) {
        Some(refused) => FetchError::NotAllowed { why: refused.to_string() },
        None => FetchError::Unreachable { why: chain(&error) },
    })?;
    let status = response.status();
    if !status.is_success() {
        return Err(FetchError::Status { status: status.as_u16() });
    }
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    let body = body.map_err(|_| FetchError::Broken { bytes_max })?;
    Ok(body.to_bytes().to_vec())
}
