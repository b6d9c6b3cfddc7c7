//! An issuer of tokens: keys of its own, a place where their public halves are, and whatever it
//! likes to sign.

use super::http::read_request;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Its name, in tokens and configuration.
pub(crate) const ISSUER: &str = "https://login.example";
/// What the gate is called there.
pub(crate) const AUDIENCE: &str = "lockgate-test";

/// A key of the issuer (ES256).
pub(crate) struct Key {
    pub(crate) id: &'static str,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Key {
    pub(crate) fn new(id: &'static str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self { id, pkcs8: pkcs8.as_ref().to_vec(), public }
    }

    /// The public half (RFC 7517), from an uncompressed point.
    fn jwk(&self) -> Value {
        let coordinate = |at: usize| URL_SAFE_NO_PAD.encode(&self.public[at..at + 32]);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": coordinate(1), "y": coordinate(33)})
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }

    /// As a secret that is not one: everybody has the public half.
    pub(crate) fn sign_with_public_half(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&self.public)).unwrap()
    }
}

pub(crate) fn key_set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A token in parts that nobody signed.
pub(crate) fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Sound claims: alice through the bot, for the gate, for an hour.
pub(crate) fn claims() -> Value {
    let (act, exp) = (json!({"sub": "bot"}), now() + 3600);
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "act": act, "exp": exp})
}

pub(crate) fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Serves a key set that can be exchanged.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    served: Arc<Mutex<String>>,
}

impl KeyServer {
    pub(crate) fn start(set: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(set));
        let serving = Arc::clone(&served);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = BufReader::new(stream);
                if read_request(&mut stream).is_err() {
                    continue;
                }
                let set = serving.lock().unwrap().clone();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    set.len()
                );
                // Who asked may be gone.
                let _ = stream.get_mut().write_all((head + &set).as_bytes());
            }
        });
        Self { address, served }
    }

    pub(crate) fn serve(&self, set: String) {
        *self.served.lock().unwrap() = set;
    }
}
