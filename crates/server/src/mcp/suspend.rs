//! Calls that wait for a stateless client to come back with an answer.
//!
//! An upstream with sessions asks in mid-call; a stateless client can only be asked by ending its
//! request with `input_required`. The call then waits here, and the client gets a sealed
//! `requestState` that brings it back: for the same principal, the same request, once, and not for
//! long.

use crate::running::Running;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_kernel::ToClient;
use lockgate_types::identity::Identity;
use lockgate_types::methods;
use lockgate_types::{Code, Digest, Json, Micros, Object, UpstreamName};
use lockgate_wire::RpcError;
use lockgate_wire::bridge::{InputRequest, InputRequired, input_required};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Calls that may wait at once, of all clients. Each holds a call of its upstream open.
const SUSPENDED_MAX: usize = 1024;
/// Calls that may wait at once, of one principal.
const SUSPENDED_PER_PRINCIPAL_MAX: usize = 64;
/// Microseconds that a call waits. A person may be asked.
const WAIT_MAX: i64 = 10 * 60 * 1_000_000;
/// What a state of the gate's own begins with. Any other belongs to an upstream and passes
/// untouched.
const PREFIX: &str = "lockgate.1.";
/// What keys of the questions asked begin with.
const KEY_PREFIX: &str = "ask-";

/// The calls that wait.
pub(crate) struct Suspended {
    key: RandomizedNonceKey,
    table: Mutex<HashMap<[u8; 16], Waiting>>,
}

struct Waiting {
    running: Running,
    asked: Vec<Question>,
    expires: Micros,
    principal: Digest,
}

/// What a client is asked.
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) params: Object,
    answer: oneshot::Sender<Result<Json, RpcError>>,
}

/// Whom and what a state is for.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    principal: Digest,
    digest: Digest,
}

impl Binding {
    /// The principal and the request, without what a retry may change.
    pub(crate) fn new(
        identity: &Identity,
        upstream: &UpstreamName,
        method: &str,
        params: &Object,
    ) -> Self {
        let changing = ["_meta", "inputResponses", "requestState"];
        let lasting: Object =
            params.iter().filter(|(name, _)| !changing.contains(name)).map(cloned).collect();
        let principal = Object::new()
            .with("agent", identity.agent.as_str())
            .with("environment", identity.environment.as_str())
            .with("issuer", identity.issuer.as_str())
            .with("subject", identity.subject.as_str())
            .with("tenant", identity.tenant.as_str());
        let principal = Json::from(principal).digest();
        let bound = Object::new()
            .with("method", method)
            .with("params", lasting)
            .with("principal", principal.to_string())
            .with("upstream", upstream.as_str());
        Self { principal, digest: Json::from(bound).digest() }
    }
}

fn cloned((name, value): (&str, &Json)) -> (String, Json) {
    (name.to_owned(), value.clone())
}

/// Whether a request brings back a state of the gate's own.
pub(crate) fn own_state(params: &Object) -> Option<&str> {
    params.get("requestState")?.as_str()?.strip_prefix(PREFIX)
}

/// What a request to the client asks; `Err`: it is something else.
pub(crate) fn question(message: ToClient) -> Result<Question, ToClient> {
    match message {
        ToClient::Request { method, params, answer } => Ok(Question { method, params, answer }),
        other => Err(other),
    }
}

impl Suspended {
    /// Under a key that lives as long as this process, as the calls do.
    pub(crate) fn new() -> Result<Self, Code> {
        let mut key = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| Code::InvariantBroken)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| Code::InvariantBroken)?;
        Ok(Self { key, table: Mutex::new(HashMap::new()) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Waiting>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call wait; the result that asks the client.
    pub(crate) fn suspend(
        &self,
        running: Running,
        asked: Vec<Question>,
        method: &str,
        binding: &Binding,
        now: Micros,
    ) -> Result<Json, Code> {
        let mut id = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| Code::InvariantBroken)?;
        let expires = Micros(now.0.saturating_add(WAIT_MAX));
        let state = self.seal(id, expires, binding).ok_or(Code::InvariantBroken)?;
        let requests = asked.iter().enumerate().map(request_of).collect();
        let required = InputRequired { requests, state: Some(state) };
        let parent = methods::find(method).ok_or(Code::CannotCrossEras)?;
        let result = input_required(parent, &required).map_err(|error| error.code())?;
        let mut table = self.lock();
        table.retain(|_, waiting| waiting.expires > now);
        let own = table.values().filter(|waiting| waiting.principal == binding.principal).count();
        if table.len() >= SUSPENDED_MAX || own >= SUSPENDED_PER_PRINCIPAL_MAX {
            return Err(Code::Overloaded);
        }
        let principal = binding.principal;
        table.insert(id, Waiting { running, asked, expires, principal });
        Ok(result)
    }

    /// Brings a call back with the client's answers. What it did not answer is asked again.
    pub(crate) fn resume(
        &self,
        state: &str,
        params: &Object,
        binding: &Binding,
        now: Micros,
    ) -> Result<(Running, Vec<Question>), Code> {
        let (id, expires) = self.unseal(state, binding).ok_or(Code::StateRejected)?;
        if expires <= now {
            return Err(Code::StateRejected);
        }
        let answers = match params.get("inputResponses") {
            None => &Object::new(),
            Some(Json::Object(answers)) => answers,
            Some(_) => return Err(Code::ParamsNotObject),
        };
        let is_answer = |(_, answer): (&str, &Json)| answer.as_object().is_some();
        if !answers.iter().all(is_answer) {
            return Err(Code::ParamsNotObject);
        }
        // Taken out: a state is good for once.
        let waiting = self.lock().remove(&id).ok_or(Code::StateRejected)?;
        let mut unanswered = Vec::new();
        for (at, question) in waiting.asked.into_iter().enumerate() {
            match answers.get(&key_of(at)) {
                // The upstream may have given up.
                Some(answer) => drop(question.answer.send(Ok(answer.clone()))),
                None => unanswered.push(question),
            }
        }
        Ok((waiting.running, unanswered))
    }

    /// Lets go of the calls that waited for too long.
    pub(crate) fn sweep(&self, now: Micros) {
        self.lock().retain(|_, waiting| waiting.expires > now);
    }

    fn seal(&self, id: [u8; 16], expires: Micros, binding: &Binding) -> Option<String> {
        let mut sealed = id.to_vec();
        sealed.extend_from_slice(&expires.0.to_be_bytes());
        let aad = Aad::from(binding.digest.to_string());
        let nonce = self.key.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend_from_slice(&sealed);
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn unseal(&self, state: &str, binding: &Binding) -> Option<([u8; 16], Micros)> {
        let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(binding.digest.to_string());
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, aad, &mut sealed).ok()?;
        let (id, expires) = opened.split_at_checked(16)?;
        let expires = i64::from_be_bytes(expires.try_into().ok()?);
        Some((id.try_into().ok()?, Micros(expires)))
    }
}

fn key_of(at: usize) -> String {
    format!("{KEY_PREFIX}{at}")
}

fn request_of((at, question): (usize, &Question)) -> InputRequest {
    let (method, params) = (question.method.clone(), question.params.clone());
    InputRequest { key: key_of(at), method, params }
}
