//! Calls of models: which entry of the registry is asked, what of a request may leave, and what of
//! the answer may pass.
//!
//! Each attempt at an entry is a call like any other, with a decision and a record of its own. What
//! the model proposes is decided before anybody acts on it: a tool of the gate's own by the rules
//! that will hold when it is called, a function of the client's as a call, whose performing is that
//! the client gets it.

mod attempt;
mod carries;
mod carry;
mod checks;
mod guard;
mod hear;
mod hedge;
mod instead;
mod intake;
mod notes;
mod pass;
mod propose;
mod trials;
mod turn;

pub(crate) use hear::{Aside, Ear};
pub use instead::KEPT_BYTES_MAX;
pub(crate) use intake::take_in;
pub(crate) use notes::{MadeOf, Notes, Noticed, Probe};
pub(crate) use pass::Passing;
pub use trials::SHADOWS_MAX;
pub(crate) use trials::Trials;

pub(crate) use checks::Checks;
use intake::Taken;

use crate::Kernel;
use crate::port::{Answer, ClientPort, Proposal, Refusal, Reply};
use crate::reverse::{Origin, Within};
use crate::words::Words;
use lockgate_core::World;
use lockgate_core::canary::Canary;
use lockgate_core::caps::{self, Charge, Whose};
use lockgate_core::decide::visible;
use lockgate_core::declare::Cap;
use lockgate_core::eval;
use lockgate_core::model::Model;
use lockgate_core::route::{Asking, Health, Route, Unrouted, route};
use lockgate_core::stand_in;
use lockgate_core::tokens::tokens_of_members;
use lockgate_effects::{Caller, Presented};
use lockgate_types::call::{Call, Direction};
use lockgate_types::evaluated::Evaluated;
use lockgate_types::identity::Identity;
use lockgate_types::label::Confidentiality;
use lockgate_types::model::{Family, ModelApi, ModelAsked, PromptUsed};
use lockgate_types::{CallId, Code, Digest, Json, Object, OperationName, SessionId, UpstreamName};
use lockgate_wire::model::asked::Kind;
use lockgate_wire::model::{Asked, Offered, Path, Role, rewrite};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries that one request is sent to, one after the other.
pub const ATTEMPTS_MAX: usize = 8;

/// The header without which Anthropic's API refuses, and what is said where the client says
/// nothing: what the gate asks by itself, or carries there.
const VERSION_HEADER: &str = "anthropic-version";
const VERSION: &str = "2023-06-01";

/// What an application asks of a model.
#[derive(Clone)]
pub struct ModelRequest {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The session whose token was shown, if one was.
    pub session: Option<SessionId>,
    /// What the caller has shown for itself, where a provider's credential is made of it.
    pub presented: Presented,
    /// Through which API.
    pub api: ModelApi,
    /// The body, every member.
    pub body: Object,
    /// The headers that its provider is to see, by name.
    pub headers: Vec<(String, String)>,
    /// W3C `traceparent`, if the caller sent one.
    pub traceparent: Option<String>,
    /// The run that asks, if the gate itself drives one.
    pub run: Option<OfRun>,
}

/// What a model is asked within a run of the gate's own.
#[derive(Clone)]
pub struct OfRun {
    /// What the person has said: of all that the prompt says in their role nothing else.
    pub(crate) words: Words,
    /// The run.
    pub(crate) within: Within,
    /// The template, and the digest of what was made of it.
    pub(crate) prompt: PromptUsed,
    /// How confidential what stands in it is.
    pub(crate) confidentiality: Confidentiality,
}

impl ModelRequest {
    /// Who asks, of a provider.
    fn origin(&self, upstream: &UpstreamName) -> Origin {
        let gone = Origin::gone(Arc::clone(&self.identity), upstream.clone());
        let (session, presented) = (self.session.clone(), self.presented.clone());
        Origin { session, presented, ..gone }
    }
}

/// A model that somebody may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name by which it is asked for.
    pub name: String,
    /// Who has it: the upstream.
    pub owned_by: String,
}

/// An entry that is tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The entry in whose place it is tried.
    pub model: String,
    /// The entry.
    pub canary: String,
    /// How it stands.
    pub standing: Canary,
}

/// What a call of a model carries beside its params.
#[derive(Clone, Debug)]
pub struct ModelCall {
    /// What is asked, as the decision sees it.
    pub asked: ModelAsked,
    /// What is noticed of its answer.
    pub(crate) notes: Arc<Notes>,
    /// What was taken out of the prompt.
    pub(crate) taken: Taken,
    /// Whether the gate itself makes the calls that are proposed: each is decided when it is made,
    /// and not before.
    pub(crate) is_driven: bool,
    /// Whether nobody gets its answer.
    pub(crate) is_copy: bool,
    /// What is noticed of what the person asks, where it is counted.
    pub(crate) probe: Option<Probe>,
    /// What has to be true of its answer.
    pub(crate) checks: Option<Arc<Checks>>,
}

/// What goes with a call of a model, and no decision depends on.
#[derive(Debug, Default)]
pub(crate) struct ModelAside {
    /// What is noticed of its answer.
    pub(crate) notes: Arc<Notes>,
    /// What was taken out of the prompt.
    pub(crate) taken: Taken,
    /// Whether the gate itself makes the calls that are proposed.
    pub(crate) is_driven: bool,
    /// Whether nobody gets its answer.
    pub(crate) is_copy: bool,
    /// What is noticed of what the person asks, where it is counted.
    pub(crate) probe: Option<Probe>,
    /// What has to be true of its answer.
    pub(crate) checks: Option<Arc<Checks>>,
}

impl Kernel {
    /// The models that this identity may ask for.
    pub fn models(&self, identity: &Identity) -> Result<Vec<Listed>, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let switches = self.parts.store.switches();
        let may_ask = |upstream: &UpstreamName, api: &ModelApi| {
            let operation = OperationName::builtin(upstream, api.method());
            operation.is_ok_and(|operation| visible(&world, identity, &switches, &operation))
        };
        let task = identity.task.as_ref().map(|task| task.as_str());
        let mut listed = Vec::new();
        for (_, model) in world.models.iter().filter(|(_, model)| model.allows_task(task)) {
            let apis = ModelApi::ALL.iter().filter(|api| api.asks_a_model());
            let mut has = apis.filter(|api| model.family.has(**api));
            if !has.any(|api| may_ask(&model.upstream, api)) {
                continue;
            }
            let names = model.asks.iter().filter(|name| !name.as_str().contains('*'));
            listed.extend(names.map(|name| Listed {
                name: name.as_str().to_owned(),
                owned_by: model.upstream.as_str().to_owned(),
            }));
        }
        Ok(listed)
    }

    /// How the entries stand that are tried out, as this node counts them: each with the entry in
    /// whose place it is.
    pub fn canaries(&self) -> Vec<Trial> {
        let Some(world) = self.world() else { return Vec::new() };
        self.parts.trials.all(&world)
    }

    /// Asks a model, and those that stand in for it, until one answers. Run it in a task of its
    /// own.
    pub async fn ask_model(&self, request: ModelRequest, client: ClientPort) -> Reply {
        match self.routed(&request).await {
            Ok(routed) => Box::pin(self.ask_in_turn(request, routed, client)).await,
            Err(refusal) => Box::pin(self.not_asked(&request.identity, refusal)).await,
        }
    }

    /// The answer to a request that came to no decision.
    async fn not_asked(&self, identity: &Identity, refusal: Refusal) -> Reply {
        let call = self.parts.clock.mint();
        let refusal = self.undecided(identity, refusal).await;
        Reply { call, answer: Answer::Refused(refusal) }
    }

    async fn routed(&self, request: &ModelRequest) -> Result<Routed, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let read = Asked::of(request.api, &request.body)
            .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })?;
        let heard = match &request.run {
            // All that a run's prompt holds stands in one role.
            Some(run) => run.words.clone(),
            None => words(&world, &request.identity, &read),
        };
        let mut asked = asked(&world, &read, &request.body, request);
        asked.known_by = known_by(&world, request);
        let probe = world.risk.as_ref().and_then(|_| Probe::of(&read));
        let apis = carry::apis(request.api);
        let api = request.api;
        // Who asks keeps to one of several entries.
        let who = &request.identity;
        let session = format!("{}\n{}\n{}", who.issuer, who.subject, who.agent);
        // Only for whoever compares is it drawn which requests are asked of another as well.
        let has_shadow = world.models.iter().any(|(_, model)| model.declared.shadow.is_some());
        let sample = has_shadow.then(|| self.parts.clock.mint());
        let asking = Asking {
            asked: &asked,
            apis: &apis,
            task: request.identity.task.as_ref(),
            carried: self.carried(&world, request, &asked).await,
            session: &session,
            call: sample.as_ref().map_or("", CallId::as_str),
        };
        let evaluated = self.evaluated(&world).await?;
        let now = self.parts.clock.now();
        let health = Health {
            down: self.models_down(&world, &apis),
            canaries: self.parts.trials.stages(&world, now).await,
            is_degraded: has_cheaper(&world)
                && Box::pin(self.is_degraded(&world, request, api)).await,
            unproven: eval::unproven(&world, request.identity.task.as_ref(), &evaluated, now),
        };
        let route = match route(&world, &asking, &health) {
            Ok(route) => Ok(route),
            Err(Unrouted::Unknown) => {
                let name: String =
                    asked.asked.chars().filter(|it| !it.is_control()).take(80).collect();
                let reason = format!("no model is asked for by the name `{name}`");
                return Err(Refusal { reason, ..Refusal::of(Code::ModelUnknown) });
            }
            Err(Unrouted::AllDown { why }) => {
                let reason = format!("no model that could answer does: {}", why.join(", "));
                Err(Refusal { reason, ..Refusal::of(Code::UpstreamBroken) })
            }
        };
        Ok(Routed { world, asked, heard, route, probe, evaluated })
    }

    /// How confidential what would be sent is: what the prompt carries, and what the session has
    /// met, where it makes a difference to which entry. The decision looks for itself.
    async fn carried(
        &self,
        world: &World,
        request: &ModelRequest,
        asked: &ModelAsked,
    ) -> Confidentiality {
        let carried = asked.carries.confidentiality;
        let mut ceilings = world.models.iter().map(|(_, model)| model.ceiling);
        let first = ceilings.next();
        if ceilings.all(|it| Some(it) == first) {
            return carried;
        }
        let key = self.session_key(&request.identity, request.session.as_ref());
        match Box::pin(self.parts.store.session(&key)).await {
            Ok(session) => carried.max(session.exposure.confidentiality),
            Err(_) => carried,
        }
    }

    /// Whether a budget of the caller's has come so near its end that cheaper entries do. One that
    /// cannot be read is none: what it has left is reserved in the intent all the same.
    async fn is_degraded(&self, world: &World, request: &ModelRequest, api: ModelApi) -> bool {
        let key = self.session_key(&request.identity, request.session.as_ref());
        let Ok((session, _)) = self.parts.store.sessions(&key).await else { return false };
        let (id, params) = (self.parts.clock.mint(), Object::new());
        let Some((_, model)) = world.models.iter().find(|(_, model)| model.family.has(api)) else {
            return false;
        };
        let upstream = model.upstream.clone();
        let Ok(call) = Call::new(id, upstream, Direction::ToUpstream, api.method(), params) else {
            return false;
        };
        let whose =
            Whose { identity: &request.identity, session: session.id.as_str(), call: &call };
        let counters = caps::watched(world, whose, self.parts.clock.now());
        let charges: Vec<Charge> = counters.iter().map(|(_, charge)| charge.clone()).collect();
        let Ok(used) = self.parts.store.used(&charges).await else { return false };
        counters.iter().zip(used).any(|((cap, _), used)| caps::is_degraded(cap, used))
    }

    /// The entries whose provider is left alone now.
    fn models_down(&self, world: &World, apis: &[ModelApi]) -> std::collections::BTreeSet<String> {
        let is_down = |model: &Model| {
            let upstream = &model.upstream;
            let api = apis.iter().find(|api| model.family.has(**api));
            let operation = api.map(|api| OperationName::builtin(upstream, api.method()));
            operation.and_then(Result::ok).is_some_and(|operation| {
                let now = self.parts.clock.now();
                self.parts.upstreams.is_broken(upstream, &operation, now)
            })
        };
        let models = world.models.iter();
        let down = models.filter(|(_, model)| is_down(model));
        down.map(|(name, _)| name.to_owned()).collect()
    }
}

/// Whether some cap has cheaper entries do when it nears its end.
fn has_cheaper(world: &World) -> bool {
    world.gate.cap.iter().any(|cap: &Cap| cap.degrade_percent.is_some())
}

/// What a prompt is known by, where its task keeps answers.
fn known_by(world: &World, request: &ModelRequest) -> Option<Digest> {
    let task = world.tasks.get(request.identity.task.as_ref()?)?;
    task.fallback.as_ref()?.recorded_s?;
    Some(stand_in::prompt(request.api.method(), &request.body))
}

/// A request, and who is asked.
struct Routed {
    world: Arc<World>,
    asked: ModelAsked,
    heard: Words,
    /// Who is asked; or that nobody is who could answer.
    route: Result<Route, Refusal>,
    probe: Option<Probe>,
    /// What entries have passed, of what they have to.
    evaluated: BTreeMap<String, Vec<Evaluated>>,
}

/// The request as a call of one entry.
fn proposal(
    world: &World,
    request: &ModelRequest,
    mut call: ModelCall,
    words: Words,
    client: ClientPort,
) -> Result<Proposal, Refusal> {
    let unknown = || Refusal::of(Code::ModelUnknown);
    let (_, model) = world.models.of(&call.asked).ok_or_else(unknown)?;
    let guard = &model.declared.guard.prompt;
    let (mut params, taken) = intake::take_in(guard, request.api, request.body.clone())?;
    call.taken = taken;
    if params.contains("model") {
        params.set("model", model.id(&call.asked.asked));
    }
    let params = left_out(world, &model.upstream, request.api, params, &mut call);
    let params = match call.asked.hosted_tools.is_empty() {
        true => params,
        false => asks_first(request.api, params),
    };
    let params = carries::find_personal(world, request.api, params, &mut call.asked);
    let body = Json::Object(params);
    call.checks = Checks::of(world, model, request, &body)?.map(Arc::new);
    let Json::Object(params) = body else { return Err(Refusal::of(Code::InvariantBroken)) };
    Ok(Proposal {
        identity: Arc::clone(&request.identity),
        session: request.session.clone(),
        caller: Arc::new(Caller {
            identity: Some(Arc::clone(&request.identity)),
            ..Caller::default()
        }),
        presented: request.presented.clone(),
        upstream: model.upstream.clone(),
        method: request.api.method().to_owned(),
        params,
        words,
        traceparent: request.traceparent.clone(),
        key: None,
        model: Some(Box::new(call)),
        client,
    })
}

/// Leaves out the tools of the provider's that nobody has declared: no call of most of them would
/// come by here. The client is told which.
fn left_out(
    world: &World,
    upstream: &UpstreamName,
    api: ModelApi,
    params: Object,
    call: &mut ModelCall,
) -> Object {
    if call.asked.hosted_tools.is_empty() {
        return params;
    }
    let mut body = Json::Object(params);
    let (paths, names): (Vec<Path>, Vec<String>) = match Asked::read(api, &body) {
        Ok(read) => {
            let hosted = read.tools.iter().filter_map(|it| Some((it, it.hosted.as_ref()?)));
            let unknown = hosted.filter(|(_, hosted)| !is_declared(world, upstream, hosted.kind));
            unknown.map(|(it, hosted)| (it.path.clone(), hosted.kind.to_owned())).unzip()
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    rewrite::remove_tools(&mut body, &paths);
    for name in names {
        call.asked.hosted_tools.remove(&name);
        call.asked.why.push(format!("`{name}` is left out: nobody has declared it"));
        if !call.taken.left_out.contains(&name) {
            call.taken.left_out.push(name);
        }
    }
    match body {
        Json::Object(params) => params,
        _ => Object::new(),
    }
}

/// Whether the bundle declares a tool that a provider runs.
fn is_declared(world: &World, upstream: &UpstreamName, kind: &str) -> bool {
    let operation = OperationName::tool(upstream, kind);
    operation.is_ok_and(|operation| world.operations.contains_key(&operation))
}

/// Has a provider ask before each call of a server's tool: what it proposes is decided here.
fn asks_first(api: ModelApi, params: Object) -> Object {
    let mut body = Json::Object(params);
    let servers: Vec<Path> = match Asked::read(api, &body) {
        Ok(read) => {
            let is_server =
                |it: &Offered<'_>| it.hosted.as_ref().is_some_and(|it| it.kind == "mcp");
            read.tools.iter().filter(|it| is_server(it)).map(|it| it.path.clone()).collect()
        }
        Err(_) => Vec::new(),
    };
    for path in &servers {
        // Where there is no such member, the provider asks by itself or the offer was refused.
        let _ = rewrite::require_approval(&mut body, path);
    }
    match body {
        Json::Object(params) => params,
        _ => Object::new(),
    }
}

/// What is asked, as the decision sees it.
fn asked(world: &World, read: &Asked<'_>, body: &Object, request: &ModelRequest) -> ModelAsked {
    let mut asked = ModelAsked::of(read.model.unwrap_or_default());
    asked.stream = read.is_stream;
    for tool in &read.tools {
        match &tool.hosted {
            None => asked.tools.insert(tool.name.to_owned()),
            Some(hosted) => asked.hosted_tools.insert(hosted.kind.to_owned()),
        };
    }
    asked.carries = carries::label_of(world, request, read);
    asked.input_tokens = tokens_of_members(body);
    asked.max_tokens = read.output_tokens_max().and_then(|max| i64::try_from(max).ok());
    asked.headers.clone_from(&request.headers);
    if request.api.family() == Family::Anthropic
        && !asked.headers.iter().any(|(name, _)| name == VERSION_HEADER)
    {
        asked.headers.push((VERSION_HEADER.to_owned(), VERSION.to_owned()));
        asked.headers.sort_unstable();
    }
    if let Some(run) = &request.run {
        asked.prompt = Some(run.prompt.clone());
    }
    asked
}

/// What a person has said, where the application is believed: a role is only a claim.
fn words(world: &World, identity: &Identity, read: &Asked<'_>) -> Words {
    let is_words = |role: Role, kind: &Kind<'_>| role == Role::User && *kind == Kind::Words;
    let segments = read.segments.iter().filter(|it| is_words(it.role, &it.kind));
    let told: Vec<Json> = segments.map(|it| Json::from(it.text.as_ref())).collect();
    Words::told(world, identity, &told.into()).unwrap_or_default()
}
