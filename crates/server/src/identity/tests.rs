//! How long a token that verified is believed, at moments that a test names.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header};
use lockgate_core::world::Files;
use lockgate_effects::{EffectsSettings, Upstreams};
use lockgate_kernel::Clock;
use lockgate_store::{Options, Store};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const GATE: &str = r#"
environment = "dev"
[[issuer]]
name = "login"
url = "https://login.example"
audience = "gate"
algorithms = ["EdDSA"]
jwks_file = "issuers/login.json"
"#;

const PRINCIPALS: &str = r#"
undeclared_users = true
[agent.bot]
environments = ["dev"]
"#;

/// How long a key set is good before it is read again.
const FRESH: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

/// A key of the issuer.
struct Key {
    id: &'static str,
    pkcs8: Vec<u8>,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Self { id, pkcs8: pkcs8.as_ref().to_vec() }
    }

    fn jwk(&self) -> Value {
        let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": self.id, "x": public})
    }

    /// A header that proves a user.
    fn sign(&self, user: &str) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let exp = jsonwebtoken::get_current_timestamp() + 3600;
        let claims = json!({"iss": "https://login.example", "aud": "gate", "sub": user,
            "act": {"sub": "bot"}, "exp": exp});
        let key = EncodingKey::from_ed_der(&self.pkcs8);
        format!("Bearer {}", jsonwebtoken::encode(&header, &claims, &key).unwrap())
    }
}

/// A gate whose issuer keeps its keys in a file. Without the file the issuer is away.
struct Bed {
    kernel: Kernel,
    authenticator: Authenticator,
    keys: PathBuf,
    begin: Instant,
    _directory: tempfile::TempDir,
}

impl Bed {
    async fn new(keys: &[&Key]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let now = || Clock::system().now();
        let options = Options::new(state.clone(), "lockgate.local/test".to_owned(), now);
        let (store, _) = Store::open(options).unwrap();
        let upstreams = Upstreams::new(EffectsSettings::new(state));
        let kernel = Kernel::new(store, upstreams, Clock::system());
        let files = [("lockgate.toml", GATE), ("principals.toml", PRINCIPALS)]
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let set = ("issuers/login.json".to_owned(), br#"{"keys":[]}"#.to_vec());
        let files: Files = files.into_iter().chain([set]).collect();
        kernel.load(files).await.unwrap_or_else(|error| panic!("{error:?}"));
        let gate = &kernel.world().unwrap().gate;
        let authenticator = Authenticator::new(gate, directory.path(), None).unwrap();
        let path = directory.path().join("issuers/login.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let begin = Instant::now();
        let bed = Self { kernel, authenticator, keys: path, begin, _directory: directory };
        bed.serve(keys);
        bed
    }

    fn serve(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        std::fs::write(&self.keys, json!({ "keys": keys }).to_string()).unwrap();
    }

    /// Who it is that long after the beginning, or why nobody.
    async fn who(&self, header: &str, after: Duration) -> Result<String, Code> {
        let now = self.begin + after;
        let identity = self.authenticator.identify_at(&self.kernel, Some(header), now).await;
        identity.map(|it| it.subject.as_str().to_owned()).map_err(|refusal| refusal.code)
    }
}

fn is(user: &str) -> Result<String, Code> {
    Ok(user.to_owned())
}

#[tokio::test]
async fn a_withdrawn_key_does_not_live_on_in_what_is_remembered() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let bed = Bed::new(&[&old]).await;
    let (alice, bob) = (old.sign("alice"), old.sign("bob"));
    assert_eq!(bed.who(&alice, Duration::ZERO).await, is("alice"));
    bed.serve(&[&new]);
    // Remembered until the keys are due; whoever comes late is not remembered for longer.
    assert_eq!(bed.who(&alice, FRESH).await, is("alice"));
    assert_eq!(bed.who(&bob, FRESH).await, is("bob"));
    assert_eq!(bed.who(&bob, FRESH + SECOND).await, Err(Code::UnknownKey));
    assert_eq!(bed.who(&alice, FRESH + SECOND).await, Err(Code::UnknownKey));
}

#[tokio::test]
async fn a_key_that_is_seen_to_be_withdrawn_is_refused_at_once() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let bed = Bed::new(&[&old]).await;
    let (alice, bob) = (old.sign("alice"), new.sign("bob"));
    assert_eq!(bed.who(&alice, Duration::ZERO).await, is("alice"));
    bed.serve(&[&new]);
    // A key that is not known yet has the set read before it is due, though not at every attempt.
    assert_eq!(bed.who(&bob, SECOND).await, Err(Code::UnknownKey));
    assert_eq!(bed.who(&alice, 6 * SECOND).await, is("alice"));
    assert_eq!(bed.who(&bob, 6 * SECOND).await, is("bob"));
    assert_eq!(bed.who(&alice, 6 * SECOND).await, Err(Code::UnknownKey));
}

#[tokio::test]
async fn keys_that_are_too_old_are_good_for_nobody() {
    let key = Key::new("one");
    let bed = Bed::new(&[&key]).await;
    let (alice, bob) = (key.sign("alice"), key.sign("bob"));
    assert_eq!(bed.who(&alice, Duration::ZERO).await, is("alice"));
    std::fs::remove_file(&bed.keys).unwrap();
    // While the issuer is away its keys stay good, for those who come now, too.
    assert_eq!(bed.who(&alice, FRESH + SECOND).await, is("alice"));
    assert_eq!(bed.who(&bob, 2 * FRESH).await, is("bob"));
    // But not for ever, whoever was believed a moment ago, and however often it is tried.
    for after in [SECOND, SECOND, 2 * SECOND, 60 * SECOND] {
        for header in [&alice, &bob] {
            let who = bed.who(header, 2 * FRESH + after).await;
            assert_eq!(who, Err(Code::IssuerUnreachable), "{after:?}");
        }
    }
    // What is no key set is as good as none.
    std::fs::write(&bed.keys, "<html>").unwrap();
    assert_eq!(bed.who(&alice, 3 * FRESH).await, Err(Code::IssuerUnreachable));
    bed.serve(&[&key]);
    assert_eq!(bed.who(&alice, 3 * FRESH + 6 * SECOND).await, is("alice"));
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_named_as_the_reason() {
    let key = Key::new("one");
    let bed = Bed::new(&[&key]).await;
    std::fs::remove_file(&bed.keys).unwrap();
    let alice = key.sign("alice");
    for after in [Duration::ZERO, SECOND] {
        assert_eq!(bed.who(&alice, after).await, Err(Code::IssuerUnreachable));
    }
}
