//! An issuer's keys: read from a JWKS (RFC 7517) and read again when they may have changed.
//!
//! What time it is, the caller says: how keys age is a matter of minutes, and of one moment for one
//! request.

use super::KeyError;
use http::Uri;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use lockgate_core::declare;
use lockgate_effects::fetch;
use lockgate_types::{Code, Digest};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Bytes of the largest key set.
const JWKS_BYTES_MAX: usize = 1 << 20;

/// How long fetching a key set may take.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// How long a key set is used before it is fetched again: bounds how long a withdrawn key lives.
const FRESH_FOR: Duration = Duration::from_secs(300);

/// How long an unknown key id waits for the next fetch, so that made-up ids do not become requests
/// to the issuer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    source: Source,
    state: RwLock<State>,
    /// Held by whoever asks the issuer: one at a time.
    turn: Mutex<()>,
}

enum Source {
    Fixed,
    File(PathBuf),
    /// And the networks that are not public and in which it may be.
    Address(Uri, Vec<String>),
}

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    digest: Option<Digest>,
    /// Grows when the set changes: what was verified with the old set is verified anew.
    generation: u64,
    read_at: Option<Instant>,
    asked_at: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// A key, and the reading of the set in which it stood.
pub(super) struct Found {
    pub(super) key: DecodingKey,
    pub(super) reading: Reading,
}

/// One reading of a key set.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    generation: u64,
    /// `None`: of a set that is not read from anywhere.
    at: Option<Instant>,
}

/// What a key set is good for.
#[derive(PartialEq, Eq)]
enum Condition {
    Fresh,
    /// Used for as long as its issuer is away, but not for ever.
    Stale,
    /// Never read, or too old.
    Useless,
}

impl IssuerKeys {
    pub(super) fn declared(issuer: &declare::Issuer, directory: &Path) -> Result<Self, KeyError> {
        let source = match (&issuer.jwks_file, &issuer.jwks) {
            (Some(file), None) => Source::File(directory.join(file)),
            (None, Some(address)) => Source::Address(
                address.parse().map_err(|_| KeyError::Location { location: address.clone() })?,
                issuer.allow_networks.clone(),
            ),
            (Some(both), Some(_)) => return Err(KeyError::Location { location: both.clone() }),
            (None, None) => return Err(KeyError::Location { location: String::new() }),
        };
        Ok(Self { source, state: RwLock::default(), turn: Mutex::default() })
    }

    pub(super) fn fixed(key: DecodingKey, algorithm: Algorithm) -> Self {
        let keys = vec![Key { id: None, algorithm: Some(algorithm), key }];
        let state = State { keys, ..State::default() };
        Self { source: Source::Fixed, state: RwLock::new(state), turn: Mutex::default() }
    }

    /// Whether what was verified with a reading need not be verified anew: the set has not changed
    /// since, and is not due to be read again. Only verifying reads it.
    pub(super) fn is_current(&self, reading: Reading, now: Instant) -> bool {
        self.state().generation == reading.generation
            && reading.at.is_none_or(|at| now.saturating_duration_since(at) <= FRESH_FOR)
    }

    /// The key that a token's header names. Without a key id there must be exactly one that fits.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Found, Code> {
        match self.condition(now) {
            Condition::Fresh => {}
            // One asks; the others have keys to go on with.
            Condition::Stale => {
                if let Ok(_turn) = self.turn.try_lock() {
                    self.read_again(now).await?;
                }
            }
            Condition::Useless => {
                let _turn = self.turn.lock().await;
                self.read_again(now).await?;
            }
        }
        // Between two attempts to reach the issuer, too: keys that are too old are good for nobody.
        if self.condition(now) == Condition::Useless {
            return Err(Code::IssuerUnreachable);
        }
        if let Some(found) = self.pick(id, algorithm) {
            return Ok(found);
        }
        let _turn = self.turn.lock().await;
        self.read_again(now).await?;
        self.pick(id, algorithm).ok_or(Code::UnknownKey)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // It is replaced whole: a panic elsewhere leaves nothing half done.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self, now: Instant) -> Condition {
        if matches!(self.source, Source::Fixed) {
            return Condition::Fresh;
        }
        match self.state().read_at.map(|at| now.saturating_duration_since(at)) {
            Some(age) if age <= FRESH_FOR => Condition::Fresh,
            Some(age) if age <= 2 * FRESH_FOR => Condition::Stale,
            Some(_) | None => Condition::Useless,
        }
    }

    fn pick(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Found> {
        let state = self.state();
        let key = pick(&state.keys, id, algorithm)?;
        Some(Found { key, reading: Reading { generation: state.generation, at: state.read_at } })
    }

    /// Reads the set, unless that was tried a moment ago. The caller holds the turn.
    async fn read_again(&self, now: Instant) -> Result<(), Code> {
        let asked_at = self.state().asked_at;
        if asked_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN_AFTER) {
            return Ok(());
        }
        self.change().asked_at = Some(now);
        let read = self.read().await.and_then(|text| {
            let keys = parse(&text).ok_or(Code::IssuerUnreachable)?;
            Ok((keys, Digest::of(&text)))
        });
        let (keys, digest) = match read {
            Ok(read) => read,
            Err(code) if self.condition(now) == Condition::Useless => return Err(code),
            Err(_) => return Ok(()),
        };
        let mut state = self.change();
        let has_changed = state.digest.is_some_and(|before| before != digest);
        *state = State {
            keys,
            digest: Some(digest),
            generation: state.generation + u64::from(has_changed),
            read_at: Some(now),
            asked_at: Some(now),
        };
        Ok(())
    }

    async fn read(&self) -> Result<Vec<u8>, Code> {
        match &self.source {
            Source::Fixed => Err(Code::UnknownKey),
            Source::File(path) => tokio::fs::read(path).await.map_err(|_| Code::IssuerUnreachable),
            Source::Address(address, networks) => {
                let fetching = fetch(address, networks, JWKS_BYTES_MAX);
                let fetched = tokio::time::timeout(FETCH_WITHIN, fetching).await;
                let why = match fetched {
                    Ok(Ok(keys)) => return Ok(keys),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("it did not answer within {} s", FETCH_WITHIN.as_secs()),
                };
                tracing::warn!(%address, why, "an issuer's keys cannot be read");
                Err(Code::IssuerUnreachable)
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
