//! The command line as a client of a running gate: it has no other way in (I12).

use crate::announce::Announced;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lockgate_core::{Mistake, World};
use lockgate_server::identity::DevelopmentKey;
use lockgate_types::{Code, Json, JsonLimits};

/// Bytes of the largest answer a command reads.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The agent as which the command line speaks.
pub(crate) const AGENT: &str = "lockgate-cli";

/// The development user as which it speaks, where nothing else is given.
pub(crate) const OPERATOR: &str = "operator";

/// Seconds for which a token of the command line's own is good.
const TOKEN_SECONDS: u64 = 600;

/// Which gate a command speaks to, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct GateArguments {
    /// The gate's address. Unset: the one that runs with this state directory
    #[arg(long, global = true, env = "LOCKGATE_GATE", value_name = "URL", value_parser = gate_url)]
    pub gate: Option<String>,
    /// A bearer token. Unset: one of the development issuer, for `operator`
    #[arg(long, global = true, env = "LOCKGATE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// A connection to a gate.
#[derive(Clone)]
pub(crate) struct GateClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: Option<String>,
}

/// An answer of a gate.
pub(crate) struct Answered {
    /// The HTTP status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl GateClient {
    /// A client of the gate that the arguments mean.
    pub(crate) fn new(arguments: &GateArguments, place: &Place) -> Result<Self> {
        Self::of_agent(arguments, place, AGENT, TOKEN_SECONDS)
    }

    /// The same, acting through another of a person's own tools where it signs for itself and the
    /// bundle knows that.
    pub(crate) fn of_agent(
        arguments: &GateArguments,
        place: &Place,
        agent: &str,
        seconds: u64,
    ) -> Result<Self> {
        let base = match &arguments.gate {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => running(place)?,
        };
        let token = match &arguments.token {
            Some(token) => Some(token.clone()),
            None => own_token(place, agent, seconds)?,
        };
        Self::at(base, token)
    }

    /// The same, for a task.
    pub(crate) fn for_task(
        arguments: &GateArguments,
        place: &Place,
        task: &str,
        seconds: u64,
    ) -> Result<Self> {
        let client = Self::of_agent(arguments, place, AGENT, seconds)?;
        if arguments.token.is_some() || client.token.is_none() {
            return Ok(client);
        }
        Self::at(client.base, Some(sign(place, (OPERATOR, AGENT), Some(task), seconds)?))
    }

    /// The agent through which it acts, as its token says: only the gate checks that.
    pub(crate) fn agent(&self) -> Option<String> {
        let payload = self.token.as_deref()?.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims = Json::parse(&payload, &JsonLimits::OWN).ok()?;
        claims.at(&["act", "sub"]).and_then(Json::as_str).map(str::to_owned)
    }

    /// A client of the gate at an address.
    pub(crate) fn at(base: String, token: Option<String>) -> Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?;
        let connector = connector.https_or_http().enable_http1().build();
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, base, token })
    }

    /// Asks the admin API; a refusal becomes an error that says why.
    pub(crate) async fn get(&self, path: &str) -> Result<Json> {
        let answered = self.get_bytes(path).await?;
        Json::parse(&answered, &JsonLimits::OWN).context("the gate's answer is not JSON")
    }

    /// Asks for bytes.
    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Bytes> {
        let answered = self.send(http::Method::GET, path, &[], Bytes::new()).await?;
        accepted(answered)
    }

    /// Asks the admin API to do something.
    pub(crate) async fn post(&self, path: &str, body: &Json) -> Result<Json> {
        self.post_with(path, &[], body).await
    }

    /// The same, with more headers.
    pub(crate) async fn post_with(
        &self,
        path: &str,
        more: &[(&str, &str)],
        body: &Json,
    ) -> Result<Json> {
        let headers = [&[("content-type", "application/json")], more].concat();
        let bytes = Bytes::from(body.to_bytes());
        let answered = accepted(self.send(http::Method::POST, path, &headers, bytes).await?)?;
        Json::parse(&answered, &JsonLimits::OWN).context("the gate's answer is not JSON")
    }

    /// Asks the admin API to delete something.
    pub(crate) async fn delete(&self, path: &str) -> Result<Json> {
        let answered = accepted(self.send(http::Method::DELETE, path, &[], Bytes::new()).await?)?;
        Json::parse(&answered, &JsonLimits::OWN).context("the gate's answer is not JSON")
    }

    /// Sends one request with its headers and returns the whole answer.
    pub(crate) async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answered> {
        let (parts, body) = self.open(method, path, headers, body).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("the gate's answer broke off: {error}"))?;
        Ok(Answered { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Sends one request and returns the answer as it begins.
    pub(crate) async fn open(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let mut request =
            http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).context("the request cannot be written")?;
        self.http.request(request).await.with_context(|| {
            format!("no gate answers at {} (hint: start it with `lockgate up`)", self.base)
        })
    }
}

/// What a gate has answered, if it has done what was asked; else why not.
pub(crate) fn accepted(answered: Answered) -> Result<Bytes> {
    if answered.status.is_success() {
        return Ok(answered.body);
    }
    let refusal = Json::parse(&answered.body, &JsonLimits::OWN).ok();
    let error = refusal.as_ref().and_then(|json| json.get("error"));
    let text = |name: &str| {
        let data = error.and_then(|error| error.get("data").or(Some(error)));
        data.and_then(|data| data.get(name)).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let (code, reason, mut remedy) = (text("code"), text("reason"), text("remedy"));
    if code == Code::AdminBadRequest.as_str() {
        "`--help` says what the command takes".clone_into(&mut remedy);
    }
    if code.is_empty() {
        bail!("the gate answered {}", answered.status);
    }
    let mistakes = error.and_then(|error| error.get("mistakes")).and_then(Json::as_array);
    let mistakes: String = mistakes.unwrap_or_default().iter().map(mistake).collect();
    bail!("{code}: {reason} (hint: {remedy}){mistakes}")
}

/// A mistake of the gate's bundle, on a line of its own.
fn mistake(json: &Json) -> String {
    let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let line = json.get("line").and_then(Json::as_i64).and_then(|line| line.try_into().ok());
    let mistake = Mistake { file: text("file"), line, what: text("what"), hint: text("hint") };
    format!("\n  {mistake}")
}

fn gate_url(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    Err(format!("it begins with `http://` or `https://`: `http://{text}`"))
}

fn running(place: &Place) -> Result<String> {
    let announced = Announced::read(place).with_context(|| {
        format!(
            "no gate runs with the state directory `{}` (hint: `lockgate up`, or give `--gate`)",
            place.state().display()
        )
    })?;
    Ok(announced.url)
}

/// On a machine that holds the development issuer's key, the command line signs for itself: if the
/// running gate has that issuer, whatever the bundle on disk is by now, and where none runs here,
/// if the bundle has.
fn own_token(place: &Place, agent: &str, seconds: u64) -> Result<Option<String>> {
    if !DevelopmentKey::path(&place.state()).is_file() {
        return Ok(None);
    }
    let signs_for = match Announced::read(place) {
        Some(announced) => announced.signs_for,
        None => declared(place)?,
    };
    let Some(agents) = signs_for else { return Ok(None) };
    let agent = if agents.iter().any(|known| known == agent) { agent } else { AGENT };
    sign(place, (OPERATOR, agent), None, seconds).map(Some)
}

/// The agents that the bundle on disk knows, if it has a development issuer.
fn declared(place: &Place) -> Result<Option<Vec<String>>> {
    let hint = "or give `--token`";
    let files = place.read_bundle().with_context(|| format!("signing a token ({hint})"))?;
    match World::load(&files) {
        Ok(world) if world.gate.development.is_none() => Ok(None),
        Ok(world) => Ok(Some(world.principals.agent.into_keys().collect())),
        Err(mistakes) => bail!(
            "the bundle on disk has {} (hint: `lockgate check` names them, {hint})",
            crate::output::counted(mistakes.len(), "mistake")
        ),
    }
}

/// A short-lived token of the development issuer.
pub(crate) fn development_token(place: &Place, user: &str, agent: &str) -> Result<String> {
    sign(place, (user, agent), None, TOKEN_SECONDS)
}

fn sign(
    place: &Place,
    (user, agent): (&str, &str),
    task: Option<&str>,
    seconds: u64,
) -> Result<String> {
    let key =
        DevelopmentKey::open(&place.state()).context("opening the development issuer's key")?;
    Ok(key.sign_for(user, agent, task, seconds)?)
}
