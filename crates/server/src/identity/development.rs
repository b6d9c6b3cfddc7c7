//! The development issuer: a key in the state directory that signs tokens for named users, so that
//! the first call needs no identity provider. Loopback only and never in `prod`: the bundle's
//! loader refuses it elsewhere.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use lockgate_types::Redacted;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `iss` of development tokens.
pub const DEVELOPMENT_ISSUER: &str = "urn:lockgate:development";

/// `aud` of development tokens.
pub const DEVELOPMENT_AUDIENCE: &str = "lockgate-development";

/// The key of the development issuer.
pub struct DevelopmentKey {
    pkcs8: Redacted<Vec<u8>>,
    public: Vec<u8>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("`{}` cannot be read or written", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The content is not a key of the expected kind.
    #[error("`{}` holds no usable key", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// Neither `jwks` nor `jwks_file` is set, or the address cannot be used.
    #[error("`{location}` is not a place for keys")]
    Location {
        /// What was given.
        location: String,
    },
    /// The key could not be generated or used.
    #[error("the key could not be generated or used")]
    Crypto,
}

impl DevelopmentKey {
    /// Reads the key, or makes one: `keys/development.key` in the state directory, mode 0600.
    pub fn open(state: &Path) -> Result<Self, KeyError> {
        let path = Self::path(state);
        match std::fs::read(&path) {
            Ok(pkcs8) => Self::from_pkcs8(pkcs8).map_err(|_| KeyError::Content { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(KeyError::File { path, source }),
        }
    }

    /// Where the key is.
    pub fn path(state: &Path) -> PathBuf {
        state.join("keys").join("development.key")
    }

    fn create(path: PathBuf) -> Result<Self, KeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::Crypto)?;
        let pkcs8 = document.as_ref().to_vec();
        let failed = |source| KeyError::File { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(&pkcs8).and_then(|()| file.sync_all()).map_err(failed)?;
        Self::from_pkcs8(pkcs8)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Crypto)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { pkcs8: Redacted::new(pkcs8), public })
    }

    pub(super) fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.public)
    }

    /// Signs a token for a user, acting through an agent, that expires after `seconds`.
    pub fn sign(&self, user: &str, agent: &str, seconds: u64) -> Result<String, KeyError> {
        self.sign_for(user, agent, None, seconds)
    }

    /// The same, for a task.
    pub fn sign_for(
        &self,
        user: &str,
        agent: &str,
        task: Option<&str>,
        seconds: u64,
    ) -> Result<String, KeyError> {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = serde_json::json!({
            "iss": DEVELOPMENT_ISSUER,
            "aud": DEVELOPMENT_AUDIENCE,
            "sub": user,
            "act": { "sub": agent },
            "iat": now,
            "exp": now + seconds,
        });
        if let (Some(task), Some(claims)) = (task, claims.as_object_mut()) {
            claims.insert("task".to_owned(), task.into());
        }
        let key = EncodingKey::from_ed_der(self.pkcs8.expose());
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key);
        signed.map_err(|_| KeyError::Crypto)
    }
}
