//! An issuer's keys: read from a JWKS (RFC 7517) and read again when they may have changed.

use super::KeyError;
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use lockgate_core::declare;
use lockgate_types::{Code, Digest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

/// Bytes of the largest key set.
const JWKS_BYTES_MAX: usize = 1 << 20;

/// How long fetching a key set may take.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// How long a key set is used before it is fetched again: bounds how long a withdrawn key lives.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(300);

/// How long an unknown key id waits for the next fetch, so that made-up ids do not become requests
/// to the issuer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    source: Source,
    state: RwLock<State>,
    /// Grows when the set changes: what was verified with the old set is verified anew.
    generation: AtomicU64,
}

enum Source {
    Fixed,
    File(PathBuf),
    Address(Uri),
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    digest: Option<Digest>,
    read_at: Option<Instant>,
    asked_at: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl IssuerKeys {
    pub(super) fn declared(issuer: &declare::Issuer, directory: &Path) -> Result<Self, KeyError> {
        let source = match (&issuer.jwks_file, &issuer.jwks) {
            (Some(file), None) => Source::File(directory.join(file)),
            (None, Some(address)) => Source::Address(
                address.parse().map_err(|_| KeyError::Location { location: address.clone() })?,
            ),
            (Some(both), Some(_)) => return Err(KeyError::Location { location: both.clone() }),
            (None, None) => return Err(KeyError::Location { location: String::new() }),
        };
        Ok(Self { source, state: RwLock::default(), generation: AtomicU64::new(0) })
    }

    pub(super) fn fixed(key: DecodingKey, algorithm: Algorithm) -> Self {
        let keys = Arc::new(vec![Key { id: None, algorithm: Some(algorithm), key }]);
        let state = State { keys, ..State::default() };
        Self { source: Source::Fixed, state: RwLock::new(state), generation: AtomicU64::new(0) }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The key that a token's header names. Without a key id there must be exactly one that fits.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Code> {
        if self.is_stale().await {
            self.read_again().await?;
        }
        // Between two attempts to reach the issuer, too: keys that are too old are good for nobody.
        let read_at = self.state.read().await.read_at;
        if read_at.is_some_and(|at| at.elapsed() > 2 * FRESH_FOR) {
            return Err(Code::IssuerUnreachable);
        }
        if let Some(key) = pick(&self.state.read().await.keys, id, algorithm) {
            return Ok(key);
        }
        if self.may_ask().await {
            self.read_again().await?;
        }
        pick(&self.state.read().await.keys, id, algorithm).ok_or(Code::UnknownKey)
    }

    async fn is_stale(&self) -> bool {
        if matches!(self.source, Source::Fixed) {
            return false;
        }
        let state = self.state.read().await;
        state.read_at.is_none_or(|at| at.elapsed() > FRESH_FOR)
            && state.asked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN_AFTER)
    }

    async fn may_ask(&self) -> bool {
        let asked_at = self.state.read().await.asked_at;
        !matches!(self.source, Source::Fixed)
            && asked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN_AFTER)
    }

    async fn read_again(&self) -> Result<(), Code> {
        let mut state = self.state.write().await;
        // Whoever waited for the lock finds the work done.
        if state.asked_at.is_some_and(|at| at.elapsed() < ASK_AGAIN_AFTER) {
            return Ok(());
        }
        state.asked_at = Some(Instant::now());
        let text = match self.read().await {
            Ok(text) => text,
            // Keys that were good a moment ago stay good while the issuer is away, but not for
            // ever.
            Err(code) => match state.read_at {
                Some(at) if at.elapsed() <= 2 * FRESH_FOR => return Ok(()),
                _ => return Err(code),
            },
        };
        let keys = parse(&text).ok_or(Code::IssuerUnreachable)?;
        let digest = Digest::of(&text);
        if state.digest.is_some_and(|before| before != digest) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        *state = State {
            keys: Arc::new(keys),
            digest: Some(digest),
            read_at: Some(Instant::now()),
            asked_at: state.asked_at,
        };
        Ok(())
    }

    async fn read(&self) -> Result<Vec<u8>, Code> {
        match &self.source {
            Source::Fixed => Err(Code::UnknownKey),
            Source::File(path) => tokio::fs::read(path).await.map_err(|_| Code::IssuerUnreachable),
            Source::Address(address) => {
                let fetched = tokio::time::timeout(FETCH_WITHIN, fetch(address.clone())).await;
                fetched.ok().flatten().ok_or(Code::IssuerUnreachable)
            }
        }
    }
}

fn pick(keys: &[Key], id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let fits = |key: &&Key| {
        key.algorithm.is_none_or(|pinned| pinned == algorithm)
            && key.key.family() == algorithm.family()
            && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
    };
    let mut fitting = keys.iter().filter(fits);
    let first = fitting.next()?;
    // An ambiguous token is not tried against every key.
    if id.is_none() && fitting.next().is_some() {
        return None;
    }
    Some(first.key.clone())
}

fn parse(text: &[u8]) -> Option<Vec<Key>> {
    let set: JwkSet = serde_json::from_slice(text).ok()?;
    Some(set.keys.iter().filter_map(usable).collect())
}

fn usable(jwk: &Jwk) -> Option<Key> {
    use jsonwebtoken::jwk::PublicKeyUse;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        Some(named) => Some(named.to_string().parse().ok()?),
        None => None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
}

async fn fetch(address: Uri) -> Option<Vec<u8>> {
    // The bundle's loader allows `http` on loopback only.
    let connector = HttpsConnectorBuilder::new().with_native_roots().ok()?;
    let connector = connector.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let response = client.get(address).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect().await.ok()?;
    Some(body.to_bytes().to_vec())
}
