//! Who sent a request: bearer tokens in, verified claims out.
//!
//! Signatures, issuers, audiences and times are checked here; what the claims mean is the bundle's
//! to say (`core::identify`). Nothing here keeps a token longer than its digest; no upstream gets
//! one.

mod development;
mod keys;

pub use development::{DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, DevelopmentKey, KeyError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keys::{IssuerKeys, Reading};
use lockgate_core::declare;
use lockgate_kernel::{Kernel, Refusal};
use lockgate_types::identity::{Claims, Identity};
use lockgate_types::{Code, Digest, Json, JsonLimits, Micros, Object};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Bytes of the longest token. Identity providers with many groups reach a few KiB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Tokens whose verification is remembered. Verifying takes tens of microseconds, each request
/// brings one.
const TOKENS_REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Seconds by which clocks may differ.
const LEEWAY_SECONDS: u64 = 30;

/// Verifies the bearer tokens of one gate.
pub struct Authenticator {
    issuers: Vec<Issuer>,
    remembered: Mutex<LruCache<Digest, Remembered>>,
}

struct Issuer {
    name: String,
    url: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    keys: IssuerKeys,
}

/// A token that verified, for as long as nothing it depended on has changed.
#[derive(Clone)]
struct Remembered {
    identity: Arc<Identity>,
    bundle: Digest,
    expires: u64,
    issuer: usize,
    reading: Reading,
}

/// What a token says, and what that stands on.
struct Verified {
    issuer: usize,
    claims: Claims,
    reading: Reading,
}

/// Why an authenticator could not be made of a bundle. `lockgate check` finds all of these earlier.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticatorError {
    /// Without an audience a token for anybody would do.
    #[error("issuer `{name}` has no `audience`")]
    NoAudience {
        /// The issuer's name.
        name: String,
    },
    /// Not the name of an asymmetric algorithm.
    #[error("issuer `{name}`: `{algorithm}` is not an algorithm this gate verifies")]
    Algorithm {
        /// The issuer's name.
        name: String,
        /// The algorithm.
        algorithm: String,
    },
    /// Its keys cannot be used.
    #[error("issuer `{name}`: its keys cannot be used")]
    Keys {
        /// The issuer's name.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl Authenticator {
    /// The authenticator of a bundle. `directory` is where the bundle's files are.
    pub fn new(
        gate: &declare::Gate,
        directory: &Path,
        development: Option<&DevelopmentKey>,
    ) -> Result<Self, AuthenticatorError> {
        let mut issuers = Vec::new();
        for declared in &gate.issuer {
            issuers.push(Issuer::declared(declared, directory)?);
        }
        if let (Some(_), Some(key)) = (&gate.development, development) {
            issuers.push(Issuer::development(key));
        }
        Ok(Self { issuers, remembered: Mutex::new(LruCache::new(TOKENS_REMEMBERED_MAX)) })
    }

    /// The issuers' addresses, for protected resource metadata (RFC 9728 §2).
    pub fn issuer_urls(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| issuer.url.as_str())
    }

    /// The identity that an `Authorization` header proves.
    pub async fn identify(
        &self,
        kernel: &Kernel,
        authorization: Option<&str>,
    ) -> Result<Arc<Identity>, Refusal> {
        self.identify_at(kernel, authorization, Instant::now()).await
    }

    async fn identify_at(
        &self,
        kernel: &Kernel,
        authorization: Option<&str>,
        now: Instant,
    ) -> Result<Arc<Identity>, Refusal> {
        let token = bearer(authorization).map_err(Refusal::of)?;
        let world = kernel.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let digest = Digest::of(token.as_bytes());
        if let Some(identity) = self.recall(&digest, &world.digest, now) {
            return Ok(identity);
        }
        let Verified { issuer, claims, reading } =
            self.verify(token, now).await.map_err(Refusal::of)?;
        let expires = claims.claims.get("exp").and_then(Json::as_i64).unwrap_or(0);
        let identity = kernel.identify(&claims)?;
        let remembered = Remembered {
            identity: Arc::clone(&identity),
            bundle: world.digest,
            expires: u64::try_from(expires).unwrap_or(0),
            issuer,
            reading,
        };
        self.lock().put(digest, remembered);
        Ok(identity)
    }

    fn recall(&self, token: &Digest, bundle: &Digest, now: Instant) -> Option<Arc<Identity>> {
        let mut remembered = self.lock();
        let known = remembered.get(token)?;
        // A token is good for as long as its key: else a withdrawn one would live on in here.
        let is_current = known.bundle == *bundle
            && jsonwebtoken::get_current_timestamp() < known.expires + LEEWAY_SECONDS
            && self.issuers.get(known.issuer)?.keys.is_current(known.reading, now);
        if is_current {
            return Some(Arc::clone(&known.identity));
        }
        remembered.pop(token);
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<Digest, Remembered>> {
        // The cache holds no invariant that a panic elsewhere could break.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn verify(&self, token: &str, now: Instant) -> Result<Verified, Code> {
        let claims = read_claims(token)?;
        let header = jsonwebtoken::decode_header(token).map_err(|error| header_code(&error))?;
        let url = claims.get("iss").and_then(Json::as_str).ok_or(Code::UnknownIssuer)?;
        let mut known = self.issuers.iter().enumerate();
        let (at, issuer) =
            known.find(|(_, issuer)| issuer.url == url).ok_or(Code::UnknownIssuer)?;
        if !issuer.algorithms.contains(&header.alg) {
            return Err(Code::AlgorithmRefused);
        }
        let found = issuer.keys.find(header.kid.as_deref(), header.alg, now).await?;
        check(token, &found.key, issuer, header.alg)?;
        let claims = Claims { issuer: issuer.name.clone(), claims };
        Ok(Verified { issuer: at, claims, reading: found.reading })
    }
}

impl Issuer {
    fn declared(declared: &declare::Issuer, directory: &Path) -> Result<Self, AuthenticatorError> {
        let name = declared.name.clone();
        let Some(audience) = declared.audience.clone() else {
            return Err(AuthenticatorError::NoAudience { name });
        };
        let mut algorithms = Vec::new();
        for algorithm in &declared.algorithms {
            algorithms.push(asymmetric(algorithm).ok_or_else(|| {
                AuthenticatorError::Algorithm { name: name.clone(), algorithm: algorithm.clone() }
            })?);
        }
        let keys = IssuerKeys::declared(declared, directory)
            .map_err(|source| AuthenticatorError::Keys { name: name.clone(), source })?;
        Ok(Self { name, url: declared.url.clone(), audience, algorithms, keys })
    }

    fn development(key: &DevelopmentKey) -> Self {
        Self {
            name: "development".to_owned(),
            url: DEVELOPMENT_ISSUER.to_owned(),
            audience: DEVELOPMENT_AUDIENCE.to_owned(),
            algorithms: vec![Algorithm::EdDSA],
            keys: IssuerKeys::fixed(key.decoding_key(), Algorithm::EdDSA),
        }
    }
}

fn asymmetric(name: &str) -> Option<Algorithm> {
    match Algorithm::from_str(name).ok()? {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
        algorithm => Some(algorithm),
    }
}

fn bearer(authorization: Option<&str>) -> Result<&str, Code> {
    let value = authorization.ok_or(Code::NoToken)?;
    let (scheme, token) = value.split_once(' ').ok_or(Code::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Code::NoToken);
    }
    let token = token.trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(Code::TokenMalformed);
    }
    Ok(token)
}

/// When a token that has verified ends.
pub(crate) fn expires_of(token: &str) -> Option<Micros> {
    let seconds = read_claims(token).ok()?.get("exp")?.as_i64()?;
    Some(Micros(seconds.saturating_mul(1_000_000)))
}

/// The claims, read strictly: a token with a duplicate claim means two things and is refused.
fn read_claims(token: &str) -> Result<Object, Code> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Code::TokenMalformed);
    };
    read_object(header)?;
    read_object(payload)
}

fn read_object(part: &str) -> Result<Object, Code> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Code::TokenMalformed)?;
    match Json::parse(&bytes, &JsonLimits::MESSAGE) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Code::TokenMalformed),
    }
}

fn header_code(error: &jsonwebtoken::errors::Error) -> Code {
    match error.kind() {
        // `alg: none` and unknown algorithms do not parse as a header.
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::Json(_) => Code::AlgorithmRefused,
        _ => Code::TokenMalformed,
    }
}

fn check(
    token: &str,
    key: &DecodingKey,
    issuer: &Issuer,
    algorithm: Algorithm,
) -> Result<(), Code> {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[&issuer.audience]);
    validation.set_issuer(&[&issuer.url]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
    match jsonwebtoken::decode::<serde_json::Value>(token, key, &validation) {
        Ok(_) => Ok(()),
        Err(error) => Err(verification_code(&error)),
    }
}

fn verification_code(error: &jsonwebtoken::errors::Error) -> Code {
    match error.kind() {
        ErrorKind::InvalidSignature => Code::SignatureInvalid,
        ErrorKind::ExpiredSignature => Code::TokenExpired,
        ErrorKind::ImmatureSignature => Code::TokenNotYetValid,
        ErrorKind::InvalidAudience => Code::WrongAudience,
        ErrorKind::InvalidIssuer => Code::UnknownIssuer,
        ErrorKind::InvalidAlgorithm => Code::AlgorithmRefused,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Code::WrongAudience,
        _ => Code::TokenMalformed,
    }
}

#[cfg(test)]
mod tests;
