//! Which credential the gate shows to an upstream, and where it gets it.
//!
//! [`Credentials::headers`] is the one entry: the headers for an access, read or write, and for
//! whom. Secrets come from where the bundle says (`secret`); tokens are asked for at a token
//! endpoint (`endpoint`), for the gate itself or for a caller (`delegation`), and kept until they
//! are due (`tokens`). Nothing here knows what is sent with them. A caller's token goes to the
//! token endpoint alone.

mod delegation;
mod endpoint;
mod inventory;
mod secret;
mod speaker;
mod tokens;

pub use inventory::{read_secret, unreadable_secrets};
pub(crate) use secret::Source;
pub use secret::Unreadable;
pub use speaker::Presented;
pub(crate) use speaker::{Access, Speaker, Who};

use crate::outbound::networks;
use crate::trouble::Trouble;
use delegation::Delegation;
use endpoint::{Endpoint, Form, unreadable};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::declare::{self, Credential, CredentialKind};
use lockgate_core::network::Network;
use lockgate_store::Pass;
use lockgate_types::facts::Switch;
use lockgate_types::{Code, Digest, Redacted};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokens::{Tokens, Use};

/// How long it may take to come by a credential, or three quarters of what the upstream's calls
/// may take if that is shorter.
const HAD_WITHIN: Duration = Duration::from_secs(10);

/// Headers that belong to the protocol: a configured header may not stand in for one.
const OWN_HEADERS: [&str; 9] = [
    "accept",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
];

/// The switches that are on, as those know who keep them.
pub(crate) type SwitchesOn = Arc<OnceLock<Box<dyn Fn() -> Vec<Switch> + Send + Sync>>>;

/// What the gate shows to one upstream.
pub(crate) struct Credentials {
    upstream: String,
    headers: Vec<(HeaderName, Source)>,
    read: Option<Arc<Bearer>>,
    write: Option<Arc<Bearer>>,
    lookup: Option<Arc<Bearer>>,
    within: Duration,
    switches: SwitchesOn,
}

/// One credential, and its header.
struct Bearer {
    header: HeaderName,
    scheme: Option<String>,
    kind: Kind,
}

enum Kind {
    Static(Source),
    /// A token for the gate itself.
    Own {
        endpoint: Box<Endpoint>,
        asked: Vec<(&'static str, String)>,
        tokens: Tokens<()>,
    },
    /// A token for each subject and agent, and for what the caller's token says besides.
    Exchanged {
        delegation: Box<Delegation>,
        tokens: Tokens<(Who, Digest)>,
    },
}

/// What is shown with one request.
pub(crate) struct Worn {
    /// They do not print.
    pub(crate) headers: HeaderMap,
    by: Option<(Arc<Bearer>, HeaderValue)>,
}

impl Credentials {
    pub(crate) fn new(
        upstream: &str,
        declared: &declare::Upstream,
        switches: SwitchesOn,
    ) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, secret) in &declared.headers {
            headers.push((header_name(name)?, Source::new(secret)));
        }
        let allowed = networks(&declared.allow_networks);
        let one = |declared: Option<&Credential>| {
            declared.map(|declared| Bearer::new(declared, &allowed)).transpose()
        };
        let (read, write, lookup) = match &declared.credential {
            None => (None, None, None),
            Some(all) => {
                let read = one(all.for_reads())?.map(Arc::new);
                let is_same = all.for_reads().zip(all.for_writes());
                let is_same = is_same.is_some_and(|(read, write)| std::ptr::eq(read, write));
                let write = match is_same {
                    true => read.clone(),
                    false => one(all.for_writes())?.map(Arc::new),
                };
                (read, write, one(all.lookup.as_ref())?.map(Arc::new))
            }
        };
        let timeout = Duration::from_millis(u64::from(declared.timeout_ms));
        let within = HAD_WITHIN.min(timeout * 3 / 4);
        Ok(Self { upstream: upstream.to_owned(), headers, read, write, lookup, within, switches })
    }

    /// The headers that go with what is said: for a read or a write, and for whom. `pass` is asked
    /// before a token is asked for: what a switch stops gets none.
    pub(crate) async fn headers(
        &self,
        speaker: &Speaker,
        pass: Option<&Pass>,
    ) -> Result<Worn, Trouble> {
        let bearer = self.bearer(speaker)?;
        let gathering = self.gather(bearer, speaker, pass);
        tokio::time::timeout(self.within, gathering).await.unwrap_or_else(|_| {
            let is_static = bearer.is_none_or(|it| matches!(it.kind, Kind::Static(_)));
            let code = if is_static { Code::SecretUnreadable } else { Code::TokenEndpointAway };
            Err(Trouble::before(code, "no credential for the upstream was to be had in time"))
        })
    }

    /// The upstream does not accept what was shown: others, if there are any. Asked once.
    pub(crate) async fn renewed(
        &self,
        speaker: &Speaker,
        pass: Option<&Pass>,
        refused: &Worn,
    ) -> Result<Option<Worn>, Trouble> {
        for (_, source) in &self.headers {
            source.forget();
        }
        if let Some((bearer, value)) = &refused.by {
            bearer.withdraw(value);
        }
        let worn = self.headers(speaker, pass).await?;
        Ok((worn.headers != refused.headers).then_some(worn))
    }

    /// What it means that the upstream accepts none of it.
    pub(crate) fn refusal(&self, worn: &Worn) -> Trouble {
        let exchanges = self.read.as_ref().is_some_and(|it| it.is_exchanged());
        if worn.by.is_none() && exchanges {
            let detail = "HTTP 401: the upstream wants a credential of the gate's own (hint: \
                          `lookup`)";
            return Trouble::before(Code::NothingToExchange, detail);
        }
        let detail = "HTTP 401: the upstream does not accept the gate's credential";
        Trouble::before(Code::CredentialRefused, detail)
    }

    /// Which credential it is. The gate itself has no token that could be exchanged.
    fn bearer(&self, speaker: &Speaker) -> Result<Option<&Arc<Bearer>>, Trouble> {
        let usual = match speaker.access {
            Access::Read => self.read.as_ref(),
            Access::Write => self.write.as_ref(),
        };
        match usual {
            Some(bearer) if bearer.is_exchanged() && speaker.is_gate() => {
                match (speaker.access, &self.lookup, speaker.who()) {
                    (Access::Read, Some(lookup), _) => Ok(Some(lookup)),
                    // Some show their lists to everybody.
                    (Access::Read, None, None) => Ok(None),
                    (_, _, _) => Err(nothing()),
                }
            }
            usual => Ok(usual),
        }
    }

    async fn gather(
        &self,
        bearer: Option<&Arc<Bearer>>,
        speaker: &Speaker,
        pass: Option<&Pass>,
    ) -> Result<Worn, Trouble> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        for (name, source) in &self.headers {
            let secret = source.read().await.map_err(unreadable)?;
            headers.insert(name.clone(), header_value(name, secret.expose())?);
        }
        let Some(bearer) = bearer else { return Ok(Worn { headers, by: None }) };
        let value = match &bearer.kind {
            Kind::Static(source) => {
                let secret = source.read().await.map_err(unreadable)?;
                let scheme = bearer.scheme.iter().map(|scheme| format!("{scheme} "));
                let text = Redacted::new(scheme.collect::<String>() + secret.expose());
                header_value(&bearer.header, text.expose())?
            }
            Kind::Own { .. } | Kind::Exchanged { .. } => {
                self.may_ask(speaker, pass)?;
                bearer.token(speaker, pass).await?
            }
        };
        headers.insert(bearer.header.clone(), value.clone());
        Ok(Worn { headers, by: Some((Arc::clone(bearer), value)) })
    }

    /// Whether no switch stops that a token is used or asked for.
    fn may_ask(&self, speaker: &Speaker, pass: Option<&Pass>) -> Result<(), Trouble> {
        let is_stopped = match pass {
            Some(pass) => pass.is_stopped(),
            None => {
                let on = self.switches.get().map_or_else(Vec::new, |on| on());
                on.iter().any(|switch| speaker.is_in(switch, &self.upstream))
            }
        };
        if is_stopped {
            let detail = "a switch stops this before a token is asked for";
            return Err(Trouble::before(Code::SwitchEngaged, detail));
        }
        Ok(())
    }

    /// Drops the tokens of what a switch has stopped.
    pub(crate) fn drop_stopped(&self) {
        let on = self.switches.get().map_or_else(Vec::new, |on| on());
        for bearer in self.bearers() {
            match &bearer.kind {
                Kind::Static(_) => {}
                Kind::Own { tokens, .. } => {
                    let gate = Speaker::gate();
                    match on.iter().any(|switch| gate.is_in(switch, &self.upstream)) {
                        true => tokens.drop_all(),
                        // What others use of it is theirs to lose, and it is the gate's own.
                        false => tokens.drop_stopped(&[]),
                    }
                }
                Kind::Exchanged { tokens, .. } => tokens.drop_stopped(&on),
            }
        }
    }

    /// Drops the tokens that a session has used.
    pub(crate) fn end_session(&self, session: &str) {
        for bearer in self.bearers() {
            if let Kind::Exchanged { tokens, .. } = &bearer.kind {
                tokens.drop_session(session);
            }
        }
    }

    /// Whether there are tokens that could have to be dropped.
    pub(crate) fn has_tokens(&self) -> bool {
        self.bearers().any(|bearer| !matches!(bearer.kind, Kind::Static(_)))
    }

    fn bearers(&self) -> impl Iterator<Item = &Arc<Bearer>> {
        [&self.read, &self.write, &self.lookup].into_iter().flatten()
    }
}

impl Bearer {
    fn new(declared: &Credential, allowed: &[Network]) -> Result<Self, String> {
        let header = match &declared.header {
            None => AUTHORIZATION,
            Some(name) => header_name(name)?,
        };
        let kind = match declared.kind {
            None => return Err("its credential has no `kind`".to_owned()),
            Some(CredentialKind::Static) => {
                let value = declared.value.as_ref();
                Kind::Static(Source::new(value.ok_or("its credential has no `value`")?))
            }
            Some(CredentialKind::ClientCredentials) => {
                let asked = [
                    ("scope", &declared.scope),
                    ("audience", &declared.audience),
                    ("resource", &declared.resource),
                ];
                let asked = asked.into_iter();
                let asked = asked.filter_map(|(name, value)| Some((name, value.clone()?)));
                let (endpoint, tokens) =
                    (Box::new(Endpoint::new(declared, allowed)?), Tokens::new());
                Kind::Own { endpoint, asked: asked.collect(), tokens }
            }
            Some(CredentialKind::TokenExchange) => {
                let delegation = Box::new(Delegation::new(declared, allowed)?);
                Kind::Exchanged { delegation, tokens: Tokens::new() }
            }
        };
        Ok(Self { header, scheme: declared.scheme.clone(), kind })
    }

    const fn is_exchanged(&self) -> bool {
        matches!(self.kind, Kind::Exchanged { .. })
    }

    /// A token that is good now.
    async fn token(&self, speaker: &Speaker, pass: Option<&Pass>) -> Result<HeaderValue, Trouble> {
        let scheme = self.scheme.as_deref();
        let by = Use { scopes: pass.map(Pass::scopes), session: speaker.session() };
        match &self.kind {
            Kind::Static(_) => Err(nothing()),
            Kind::Own { endpoint, asked, tokens } => {
                let asked = || async {
                    let plain = |text: &str| Redacted::new(text.to_owned());
                    let mut form: Form = vec![("grant_type", plain("client_credentials"))];
                    form.extend(asked.iter().map(|(name, value)| (*name, plain(value))));
                    endpoint.ask(form).await?.worn(scheme)
                };
                tokens.get(&(), Use { scopes: None, session: None }, asked).await
            }
            Kind::Exchanged { delegation, tokens } => {
                let who = speaker.who().ok_or_else(nothing)?;
                let Presented::Token(callers) = &speaker.presented else {
                    // What is said beside a call goes with what a call went with.
                    return tokens.kept(|(kept, _)| *kept == who).ok_or_else(nothing);
                };
                let key = (who, delegation::says(callers.expose()).ok_or_else(nothing)?);
                let ask = || async { delegation.exchange(callers).await?.worn(scheme) };
                tokens.get(&key, by, ask).await
            }
        }
    }

    fn withdraw(&self, refused: &HeaderValue) {
        match &self.kind {
            Kind::Static(source) => source.forget(),
            Kind::Own { tokens, .. } => tokens.withdraw(refused),
            Kind::Exchanged { tokens, .. } => tokens.withdraw(refused),
        }
    }
}

fn nothing() -> Trouble {
    let detail = "no caller's token is at hand that could be exchanged";
    Trouble::before(Code::NothingToExchange, detail)
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let bad = |what: &str| format!("header `{name}` {what}");
    let parsed: HeaderName = name.parse().map_err(|_| bad("is not a header name"))?;
    let is_own =
        OWN_HEADERS.contains(&parsed.as_str()) || parsed.as_str().starts_with("mcp-param-");
    if is_own {
        return Err(bad("belongs to the protocol and cannot be set"));
    }
    Ok(parsed)
}

fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let detail = format!("the secret for the header `{name}` fits no header");
        Trouble::before(Code::SecretUnreadable, detail)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
