//! A token endpoint: how the gate asks there, and what it takes for an answer.
//!
//! What the endpoint says in prose is not passed on: it may repeat what it was sent.

use super::secret::{Source, Unreadable};
use super::tokens::Issued;
use crate::http::{Connector, cause, chain, connector};
use crate::outbound::NotAllowed;
use crate::trouble::Trouble;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lockgate_core::declare::{ClientAuth, Credential, KeyAlgorithm};
use lockgate_core::network::Network;
use lockgate_types::{Code, Json, JsonLimits, Redacted};
use serde::Serialize;
use std::time::Duration;

/// How long an endpoint may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an endpoint's answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How long a token is good for where nobody says.
const UNSAID_FOR: Duration = Duration::from_secs(60);
/// How long an assertion of the gate's is good for, in seconds.
const ASSERTED_FOR: u64 = 60;

/// What is sent, by name.
pub(super) type Form = Vec<(&'static str, Redacted<String>)>;

/// A token endpoint, and what the gate is called there.
pub(super) struct Endpoint {
    uri: Uri,
    client: Client<Connector, Full<Bytes>>,
    client_id: String,
    client_auth: ClientAuth,
    algorithm: KeyAlgorithm,
    secret: Source,
}

/// A token as the endpoint gave it.
pub(super) struct Answered {
    pub(super) token: Redacted<String>,
    pub(super) lives: Duration,
}

impl Endpoint {
    /// `allowed`: networks that are not public and in which it may be.
    pub(super) fn new(declared: &Credential, allowed: &[Network]) -> Result<Self, String> {
        let missing = |key: &str| format!("its credential has no `{key}`");
        let url = declared.token_url.as_deref().ok_or_else(|| missing("token_url"))?;
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is not an address"))?;
        let client = Client::builder(TokioExecutor::new())
            // Asked seldom, and from any thread: a connection would wait for nobody.
            .pool_max_idle_per_host(0)
            .build(connector(&uri, allowed)?);
        Ok(Self {
            uri,
            client,
            client_id: declared.client_id.clone().ok_or_else(|| missing("client_id"))?,
            client_auth: declared.client_auth.unwrap_or(ClientAuth::Basic),
            algorithm: declared.algorithm.unwrap_or(KeyAlgorithm::ES256),
            secret: Source::new(declared.secret.as_ref().ok_or_else(|| missing("secret"))?),
        })
    }

    /// Asks for a token, within a bound of its own: that it failed is remembered then.
    pub(super) async fn ask(&self, form: Form) -> Result<Answered, Trouble> {
        let asking = tokio::time::timeout(ANSWERED_WITHIN, self.exchange(form));
        asking.await.unwrap_or_else(|_| Err(away("it does not answer in time")))
    }

    /// A redirection is no answer: secrets go to the declared address alone.
    async fn exchange(&self, form: Form) -> Result<Answered, Trouble> {
        let request = self.request(form).await?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| match cause::<NotAllowed>(&error) {
            Some(refused) => {
                let detail = format!("the token endpoint: {refused}");
                Trouble::before(Code::AddressRefused, detail)
            }
            None => away(&chain(&error)),
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| away(&format!("its answer broke off: {error}")))?;
        let body = Json::parse(&body.to_bytes(), &JsonLimits::MESSAGE).unwrap_or(Json::Null);
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(away(&format!("HTTP {status}")));
        }
        if status != StatusCode::OK {
            return Err(refused(&format!("HTTP {status}{}", word(&body))));
        }
        read(&body)
    }

    async fn request(&self, mut form: Form) -> Result<Request<Full<Bytes>>, Trouble> {
        let secret = self.secret.read().await.map_err(unreadable)?;
        let secret = secret.expose();
        let plain = |text: &str| Redacted::new(text.to_owned());
        let mut request = Request::new(Full::default());
        match self.client_auth {
            ClientAuth::Basic => {
                let pair = format!("{}:{}", encoded(&self.client_id), encoded(secret));
                let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
                let mut value = value.map_err(|_| refused("the secret fits no header"))?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            ClientAuth::Post => {
                form.push(("client_id", plain(&self.client_id)));
                form.push(("client_secret", plain(secret)));
            }
            ClientAuth::PrivateKeyJwt => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_id", plain(&self.client_id)));
                form.push(("client_assertion_type", plain(kind)));
                form.push(("client_assertion", self.assertion(secret)?));
            }
        }
        let pairs = form.iter().map(|(name, value)| format!("{name}={}", encoded(value.expose())));
        *request.body_mut() = Full::new(pairs.collect::<Vec<_>>().join("&").into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, urlencoded);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }

    /// That the gate is who it says (RFC 7523 §3).
    fn assertion(&self, key: &str) -> Result<Redacted<String>, Trouble> {
        use jsonwebtoken::{Algorithm, EncodingKey, Header};
        let pem = key.as_bytes();
        let (algorithm, key) = match self.algorithm {
            KeyAlgorithm::ES256 => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            KeyAlgorithm::ES384 => (Algorithm::ES384, EncodingKey::from_ec_pem(pem)),
            KeyAlgorithm::RS256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            KeyAlgorithm::PS256 => (Algorithm::PS256, EncodingKey::from_rsa_pem(pem)),
            KeyAlgorithm::EdDSA => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        };
        let unusable = || {
            let detail = "the private key for the token endpoint is not one in PEM, or not of its \
                          `algorithm`";
            Trouble::before(Code::SecretUnreadable, detail)
        };
        let mut random = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| unusable())?;
        let now = jsonwebtoken::get_current_timestamp();
        let claims = Assertion {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: self.uri.to_string(),
            jti: URL_SAFE_NO_PAD.encode(random),
            iat: now,
            exp: now + ASSERTED_FOR,
        };
        let key = key.map_err(|_| unusable())?;
        let signed = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key);
        signed.map(Redacted::new).map_err(|_| unusable())
    }
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: String,
    jti: String,
    iat: u64,
    exp: u64,
}

/// A token from a successful answer (RFC 6749 §5.1).
fn read(body: &Json) -> Result<Answered, Trouble> {
    let text = |name: &str| body.get(name).and_then(Json::as_str);
    let token = text("access_token").unwrap_or_default();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(is_of_token) {
        return Err(refused("it answered without a token"));
    }
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(refused("the token is of another type than `Bearer`"));
    }
    let issued = text("issued_token_type").unwrap_or(ACCESS_TOKEN);
    if ![ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"].contains(&issued) {
        return Err(refused("it issued something else than an access token"));
    }
    let lives = match body.get("expires_in") {
        None => UNSAID_FOR,
        Some(given) => {
            let seconds = given.as_i64().and_then(|given| u64::try_from(given).ok());
            let seconds = seconds.filter(|seconds| *seconds > 0);
            Duration::from_secs(seconds.ok_or_else(|| refused("the token has expired already"))?)
        }
    };
    Ok(Answered { token: Redacted::new(token.to_owned()), lives })
}

/// What a token is called that lets its bearer in.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Answered {
    /// As it is sent to an upstream.
    pub(super) fn worn(&self, scheme: Option<&str>) -> Result<Issued, Trouble> {
        let scheme = scheme.unwrap_or("Bearer");
        let value = HeaderValue::from_str(&format!("{scheme} {}", self.token.expose()));
        let mut value = value.map_err(|_| refused("the token fits no header"))?;
        value.set_sensitive(true);
        Ok(Issued { value, lives: self.lives })
    }
}

/// Characters of a token in a header (RFC 6750 §2.1).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// The error code of a refusal (RFC 6749 §5.2), if it is one word.
fn word(body: &Json) -> String {
    let error = body.get("error").and_then(Json::as_str).unwrap_or_default();
    let is_word = (1..=64).contains(&error.len())
        && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_word { format!(" `{error}`") } else { String::new() }
}

pub(super) fn refused(detail: &str) -> Trouble {
    Trouble::before(Code::TokenRefused, format!("the token endpoint: {detail}"))
}

pub(super) fn away(detail: &str) -> Trouble {
    Trouble::before(Code::TokenEndpointAway, format!("the token endpoint: {detail}"))
}

pub(super) fn unreadable(why: Unreadable) -> Trouble {
    Trouble::before(Code::SecretUnreadable, why.to_string())
}

/// As forms have it (`application/x-www-form-urlencoded`).
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                all.push(char::from(byte));
            }
            _ => all.push_str(&format!("%{byte:02X}")),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::declare::Secret;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encoded("a b&c=d%é~"), "a%20b%26c%3Dd%25%C3%A9~");
    }

    #[tokio::test]
    async fn an_assertion_is_the_gates_for_the_endpoint_and_for_once() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
        use jsonwebtoken::{Algorithm, DecodingKey, Validation};
        let (kind, random) =
            (&ECDSA_P256_SHA256_FIXED_SIGNING, aws_lc_rs::rand::SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let body = STANDARD.encode(key.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let declared = Credential {
            token_url: Some("https://login.example/token".to_owned()),
            client_id: Some("gate".to_owned()),
            client_auth: Some(ClientAuth::PrivateKeyJwt),
            secret: Some(Secret::Text("env:NONE".to_owned())),
            ..Credential::default()
        };
        let endpoint = Endpoint::new(&declared, &[]).unwrap();
        let signed = [&pem, &pem].map(|pem| endpoint.assertion(pem).unwrap().expose().clone());
        assert_ne!(signed[0], signed[1], "each is used once");
        let pair = EcdsaKeyPair::from_pkcs8(kind, key.as_ref()).unwrap();
        let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["https://login.example/token"]);
        validation.set_issuer(&["gate"]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.sub = Some("gate".to_owned());
        #[derive(serde::Deserialize)]
        struct Times {
            iat: u64,
            exp: u64,
        }
        let times = jsonwebtoken::decode::<Times>(&signed[0], &public, &validation).unwrap().claims;
        assert_eq!(times.exp - times.iat, ASSERTED_FOR);
        let refused = endpoint.assertion("no key").unwrap_err();
        assert_eq!(refused.code, Code::SecretUnreadable);
    }

    #[tokio::test]
    async fn a_secret_goes_nowhere_inside_unless_that_network_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("secret");
        std::fs::write(&kept, "word").unwrap();
        std::fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let ask = async |allowed: &[&str]| {
            let declared = Credential {
                // A name to whoever reads addresses strictly, and 127.0.0.1 to the system's
                // resolver. Nobody is there.
                token_url: Some("https://0x7f000001:1/token".to_owned()),
                client_id: Some("gate".to_owned()),
                secret: Some(Secret::Text(format!("file:{}", kept.display()))),
                ..Credential::default()
            };
            let allowed: Vec<_> = allowed.iter().map(|it| Network::parse(it).unwrap()).collect();
            let endpoint = Endpoint::new(&declared, &allowed).unwrap();
            endpoint.ask(Form::new()).await.map(drop).unwrap_err().code
        };
        assert_eq!(ask(&[]).await, Code::AddressRefused);
        assert_eq!(ask(&["127.0.0.0/8"]).await, Code::TokenEndpointAway);
    }

    #[test]
    fn only_a_bearer_token_is_taken() {
        let read = |text: &str| {
            let body = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            read(&body).map(|answered| (answered.token.expose().clone(), answered.lives.as_secs()))
        };
        let sound = r#"{"access_token":"a.b","token_type":"bearer","expires_in":5}"#;
        assert_eq!(read(sound).unwrap(), ("a.b".to_owned(), 5));
        assert_eq!(read(&sound.replace(r#","expires_in":5"#, "")).unwrap().1, 60);
        for (from, to) in [
            ("a.b", ""),
            ("a.b", "a b"),
            ("a.b", "a\\r\\nX: y"),
            ("bearer", "mac"),
            ("bearer", "N_A"),
            (":5", ":0"),
            (":5", ":-1"),
            (":5", ":\"5\""),
            (
                "\"expires_in\"",
                "\"issued_token_type\":\"urn:ietf:params:oauth:token-type:refresh_token\",\"e\"",
            ),
        ] {
            let code = read(&sound.replace(from, to)).unwrap_err().code;
            assert_eq!(code, Code::TokenRefused, "{from} -> {to}");
        }
    }

    #[test]
    fn what_an_endpoint_says_in_prose_is_not_passed_on() {
        let body = |error: &str| Json::from(lockgate_types::Object::new().with("error", error));
        assert_eq!(word(&body("invalid_client")), " `invalid_client`");
        assert_eq!(word(&body("your secret was hunter2")), "");
    }
}
