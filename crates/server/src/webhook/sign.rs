//! Signatures after Standard Webhooks: HMAC-SHA-256 over id, time and body, under a shared secret.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_effects::Unreadable;
use lockgate_effects::webhook::Channel;
use lockgate_types::Redacted;

/// How a secret begins.
const SECRET_PREFIX: &str = "whsec_";
/// How a signature of this kind begins.
const VERSION: &str = "v1,";
/// Bytes of a secret: the specification's bounds.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Signatures of one message that are looked at: a new secret is there beside the old one.
const SIGNATURES_MAX: usize = 8;

/// The secrets of a webhook: what signs, and what is taken.
pub(super) struct Keys(Vec<hmac::Key>);

/// Why a secret cannot be used. It is not said what it is.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("`{key}` of the webhook `{webhook}` cannot be read: {why}")]
    Unreadable {
        /// The webhook's name.
        webhook: String,
        /// The key under which it is declared.
        key: &'static str,
        /// Why not.
        why: Unreadable,
    },
    /// It is there, and no secret.
    #[error("`{key}` of the webhook `{webhook}` is not `whsec_` and 24 to 64 bytes in base64")]
    Malformed {
        /// The webhook's name.
        webhook: String,
        /// The key under which it is declared.
        key: &'static str,
    },
}

impl Keys {
    /// Read anew for each message: a secret is held no longer than where it comes from says.
    pub(super) async fn of(channel: &Channel) -> Result<Self, SecretError> {
        let webhook = || channel.declared().name.clone();
        let secrets = channel.secrets().await;
        let secrets = secrets.map_err(|(key, why)| SecretError::Unreadable {
            webhook: webhook(),
            key,
            why,
        })?;
        let keys = secrets.into_iter().map(|(key, text)| {
            let bytes = secret_bytes(text.expose());
            let bytes = bytes.ok_or_else(|| SecretError::Malformed { webhook: webhook(), key })?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The header that signs a message: a signature under each secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let message = message(id, timestamp, body);
        let signatures = self.0.iter().map(|key| {
            let tag = hmac::sign(key, &message);
            format!("{VERSION}{}", STANDARD.encode(tag.as_ref()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Whether one of the signatures is of one of the secrets.
    pub(super) fn verify(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        let message = message(id, timestamp, body);
        let signatures = header.split(' ').filter_map(|text| text.strip_prefix(VERSION));
        let tags = signatures.take(SIGNATURES_MAX).filter_map(|text| STANDARD.decode(text).ok());
        let mut tags = tags;
        tags.any(|tag| self.0.iter().any(|key| hmac::verify(key, &message, &tag).is_ok()))
    }
}

fn secret_bytes(text: &str) -> Option<Redacted<Vec<u8>>> {
    let encoded = text.strip_prefix(SECRET_PREFIX)?;
    let bytes = STANDARD.decode(encoded).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(Redacted::new(bytes))
}

fn message(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{id}.{timestamp}.").into_bytes();
    message.extend_from_slice(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        let key = |text: &&str| {
            let bytes = secret_bytes(text).unwrap();
            hmac::Key::new(hmac::HMAC_SHA256, bytes.expose())
        };
        Keys(secrets.iter().map(key).collect())
    }

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TWO: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

    #[test]
    fn signs_the_specifications_example() {
        let body = br#"{"test": 2432232314}"#;
        let signed = keys(&[ONE]).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn either_secret_is_taken_and_nothing_else() {
        let (both, one, two) = (keys(&[ONE, TWO]), keys(&[ONE]), keys(&[TWO]));
        let (first, second) = (one.sign("m", 5, b"body"), two.sign("m", 5, b"body"));
        assert!(both.verify("m", 5, b"body", &first) && both.verify("m", 5, b"body", &second));
        assert!(two.verify("m", 5, b"body", &both.sign("m", 5, b"body")));
        assert!(!one.verify("m", 5, b"body", &second));
        assert!(!one.verify("n", 5, b"body", &first) && !one.verify("m", 6, b"body", &first));
        assert!(!one.verify("m", 5, b"other", &first) && !one.verify("m", 5, b"body", ""));
        assert!(!one.verify("m", 5, b"body", &first.replace("v1,", "v1a,")));
    }

    #[test]
    fn a_short_or_bare_secret_is_none() {
        for text in ["whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?", ""] {
            assert!(secret_bytes(text).is_none(), "{text}");
        }
    }
}
