//! From verified claims to the identity of a request: who acts, on whose behalf, in which groups.
//!
//! Pure: signatures, audiences and clocks are behind it, policy is before it. Whatever is missing
//! or undeclared has a code; nothing is guessed. The development issuer and fixed-identity
//! listeners come the same way as tokens.

use crate::bundle::starter::WEBHOOK_AGENT;
use crate::declare::{Agent, ClaimMapping, Group, User};
use crate::world::World;
use lockgate_types::identity::{Authentication, Claims, Identity};
use lockgate_types::{
    AgentId, Code, GroupName, Json, Object, RoleName, SubjectId, TaskName, Tenant,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The name of the generated issuer of `[development]`.
pub const DEVELOPMENT: &str = "development";
/// The name under which fixed-identity listeners present their claims.
pub const FIXED: &str = "fixed";

/// Bytes of `acr`, and of one of `amr`.
const ACR_BYTES_MAX: usize = 256;
/// Values that are one subject's own, and bytes of one.
pub const OWN_MAX: usize = 64;
const OWN_BYTES_MAX: usize = 512;
/// Means of signing in that one token names.
const AMR_MAX: usize = 32;
/// The name under which webhooks present their claims.
pub const CHANNEL: &str = "channel";
/// How the names of their subjects begin; nobody else's do.
const CHANNEL_PREFIX: &str = "channel:";

/// Groups or roles that one token may claim.
pub const CLAIMED_NAMES_MAX: usize = 1024;

/// Maps verified claims to an identity.
pub fn identify(world: &World, claims: &Claims) -> Result<Identity, Code> {
    let (prefix, mapping) = issuer(world, &claims.issuer)?;
    let token = &claims.claims;
    let subject = subject(prefix, token)?;
    if claims.issuer == DEVELOPMENT && !is_development_user(world, &subject) {
        return Err(Code::UnknownSubject);
    }
    if (claims.issuer == CHANNEL) != subject.as_str().starts_with(CHANNEL_PREFIX) {
        return Err(Code::UnknownSubject);
    }
    let agent = agent(world, token)?;
    let declared_agent = world.principals.agent.get(agent.as_str()).ok_or(Code::UnknownAgent)?;
    if !exists_here(world, declared_agent) {
        return Err(Code::UnknownAgent);
    }
    let declared = world.principals.user.get(subject.as_str());
    // A channel is somebody only where the bundle says so by name.
    if declared.is_none() && (!world.principals.undeclared_users || claims.issuer == CHANNEL) {
        return Err(Code::UnknownSubject);
    }
    let tenant = match text(token, mapping.tenant.as_deref())? {
        Some(tenant) => Tenant::new(tenant).map_err(|_| Code::TokenMalformed)?,
        None => world.tenant.clone(),
    };
    let task = text(token, mapping.task.as_deref())?;
    let task = task.map(TaskName::new).transpose().map_err(|_| Code::TokenMalformed)?;
    let mut groups = names(token, mapping.groups.as_deref())?;
    let mut roles = names(token, mapping.roles.as_deref())?;
    if let Some(user) = declared {
        groups.extend(user.groups.iter().map(String::as_str));
        roles.extend(user.roles.iter().map(String::as_str));
    }
    let nesting = &world.principals.group;
    let agent_groups = declared_agent.groups.iter().map(String::as_str).collect();
    Ok(Identity {
        issuer: claims.issuer.clone(),
        subject,
        agent,
        tenant,
        environment: world.environment.clone(),
        task,
        subject_groups: closure(nesting, groups)?,
        subject_roles: roles
            .into_iter()
            .map(|role| RoleName::new(role).map_err(|_| Code::TokenMalformed))
            .collect::<Result<_, _>>()?,
        agent_groups: closure(nesting, agent_groups)?,
        authentication: authentication(token),
        own: own(token, mapping, declared),
    })
}

/// The claims of a fixed-identity listener: the same shape as a token's.
pub fn fixed_claims(subject: &str, agent: &str) -> Claims {
    let act = Object::new().with("sub", agent);
    Claims { issuer: FIXED.to_owned(), claims: Object::new().with("sub", subject).with("act", act) }
}

/// How the subject has signed in (OpenID Connect Core §2). What is not in its usual form is as if
/// it were not said: issuers differ, and a policy that needs it does without the token.
fn authentication(token: &Object) -> Authentication {
    let is_short = |text: &&str| !text.is_empty() && text.len() <= ACR_BYTES_MAX;
    let acr = token.get("acr").and_then(Json::as_str).filter(is_short);
    let amr = token.get("amr").and_then(Json::as_array).filter(|amr| amr.len() <= AMR_MAX);
    let amr = amr.map(|amr| amr.iter().map(|it| it.as_str().filter(is_short)));
    let amr: Option<BTreeSet<&str>> = amr.and_then(Iterator::collect);
    Authentication {
        acr: acr.map(str::to_owned),
        amr: amr.into_iter().flatten().map(str::to_owned).collect(),
        at: token.get("auth_time").and_then(Json::as_i64).filter(|at| *at >= 0),
    }
}

/// What is the subject's own, as the bundle and the token say. A claim of another form says
/// nothing.
fn own(token: &Object, mapping: &ClaimMapping, declared: Option<&User>) -> BTreeSet<String> {
    let claimed = mapping.own.iter().filter_map(|path| claim(token, Some(path)));
    let claimed = claimed.flat_map(|claim| match claim {
        Json::String(one) => vec![one.clone()],
        Json::Array(many) => many.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    });
    let declared = declared.into_iter().flat_map(|user| user.own.iter().cloned());
    let is_short = |value: &String| !value.is_empty() && value.len() <= OWN_BYTES_MAX;
    declared.chain(claimed).filter(is_short).take(OWN_MAX).collect()
}

/// The claims of a webhook that has signed its message.
pub fn channel_claims(webhook: &str) -> Claims {
    let act = Object::new().with("sub", WEBHOOK_AGENT);
    let sub = format!("{CHANNEL_PREFIX}{webhook}");
    Claims { issuer: CHANNEL.to_owned(), claims: Object::new().with("sub", sub).with("act", act) }
}

static NO_MAPPING: ClaimMapping =
    ClaimMapping { tenant: None, groups: None, roles: None, task: None, own: Vec::new() };

/// Development tokens name a task as they are asked to.
static DEVELOPMENT_MAPPING: LazyLock<ClaimMapping> =
    LazyLock::new(|| ClaimMapping { task: Some("task".to_owned()), ..ClaimMapping::default() });

fn issuer<'w>(world: &'w World, name: &str) -> Result<(&'w str, &'w ClaimMapping), Code> {
    if name == DEVELOPMENT && world.gate.development.is_some() {
        return Ok(("", &DEVELOPMENT_MAPPING));
    }
    if name == FIXED && world.gate.listen.iter().any(|listen| listen.identity.is_some()) {
        return Ok(("", &NO_MAPPING));
    }
    if name == CHANNEL && !world.gate.webhook.is_empty() {
        return Ok(("", &NO_MAPPING));
    }
    let issuer = world.gate.issuer.iter().find(|issuer| issuer.name == name);
    let issuer = issuer.ok_or(Code::UnknownIssuer)?;
    Ok((&issuer.subject_prefix, &issuer.claims))
}

fn is_development_user(world: &World, subject: &SubjectId) -> bool {
    let development = world.gate.development.as_ref();
    development.is_some_and(|issuer| issuer.users.iter().any(|user| user == subject.as_str()))
}

fn subject(prefix: &str, token: &Object) -> Result<SubjectId, Code> {
    // An empty `sub` behind a prefix would be a name that the issuer never gave.
    let sub = token.get("sub").and_then(Json::as_str).filter(|sub| !sub.is_empty());
    SubjectId::new(&format!("{prefix}{}", sub.ok_or(Code::TokenMalformed)?))
        .map_err(|_| Code::TokenMalformed)
}

/// The outermost `act` is the current actor (RFC 8693 §4.1); what is nested in it is history.
fn agent(world: &World, token: &Object) -> Result<AgentId, Code> {
    if let Some(act) = token.get("act") {
        let sub = act.get("sub").and_then(Json::as_str).ok_or(Code::TokenMalformed)?;
        return AgentId::new(sub).map_err(|_| Code::TokenMalformed);
    }
    let client = token.get("client_id").or_else(|| token.get("azp"));
    let client = client.ok_or(Code::NoAgent)?.as_str().ok_or(Code::TokenMalformed)?;
    let has_client = |agent: &Agent| agent.client_ids.iter().any(|id| id == client);
    // A client may stand for one agent per environment.
    let mut named = world.principals.agent.iter().filter(|(_, agent)| has_client(agent));
    let here = named.clone().find(|(_, agent)| exists_here(world, agent));
    let (name, _) = here.or_else(|| named.next()).ok_or(Code::NoAgent)?;
    AgentId::new(name).map_err(|_| Code::NoAgent)
}

fn exists_here(world: &World, agent: &Agent) -> bool {
    agent.environments.iter().any(|name| name == world.environment.as_str())
}

/// The value at a dotted path. Where the mapping names none, or the token has none, there is none.
fn claim<'t>(token: &'t Object, path: Option<&str>) -> Option<&'t Json> {
    let mut segments = path?.split('.');
    let first = token.get(segments.next()?)?;
    segments.try_fold(first, |value, segment| value.get(segment))
}

fn text<'t>(token: &'t Object, path: Option<&str>) -> Result<Option<&'t str>, Code> {
    claim(token, path).map(|value| value.as_str().ok_or(Code::TokenMalformed)).transpose()
}

fn names<'t>(token: &'t Object, path: Option<&str>) -> Result<BTreeSet<&'t str>, Code> {
    let Some(value) = claim(token, path) else { return Ok(BTreeSet::new()) };
    let items = value.as_array().ok_or(Code::TokenMalformed)?;
    if items.len() > CLAIMED_NAMES_MAX {
        return Err(Code::TokenMalformed);
    }
    items.iter().map(|item| item.as_str().ok_or(Code::TokenMalformed)).collect()
}

/// These groups and every group they are in. Ends on cycles too: a group is entered once.
fn closure(
    nesting: &BTreeMap<String, Group>,
    groups: BTreeSet<&str>,
) -> Result<BTreeSet<GroupName>, Code> {
    let mut complete = BTreeSet::new();
    let mut rest: Vec<&str> = groups.into_iter().collect();
    while let Some(group) = rest.pop() {
        if complete.insert(GroupName::new(group).map_err(|_| Code::TokenMalformed)?) {
            let outer = nesting.get(group).into_iter().flat_map(|group| &group.member_of);
            rest.extend(outer.map(String::as_str));
        }
    }
    Ok(complete)
}
