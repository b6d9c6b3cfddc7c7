//! Telling: who is told of a request or a budget, with what, and when it is tried again.
//!
//! No call waits for any of it. Of each webhook a bounded number of messages is on its way.

use super::Channels;
use super::sign::Keys;
use lockgate_core::declare::Gate;
use lockgate_core::{World, caps};
use lockgate_effects::webhook::Channel;
use lockgate_kernel::Kernel;
use lockgate_store::{ApprovalRequest, ApprovalState, News, Notice, StoreError, Told};
use lockgate_types::{Json, JsonLimits, Micros, Object};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// Messages on their way to one webhook.
const ON_THEIR_WAY_MAX: usize = 8;
/// How often one message is tried. With the pauses between, for about an hour.
const ATTEMPTS_MAX: u32 = 20;
/// Microseconds of the longest pause between two attempts. The first is a second, each is twice as
/// long as the one before.
const PAUSE_MAX_US: i64 = 300 * 1_000_000;
/// How long nothing is looked for if nothing is told: another node may have left something.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How soon it is looked again where the store could not be asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What telling works with.
struct Teller {
    kernel: Kernel,
    channels: Arc<Channels>,
    on_their_way: HashMap<String, Arc<Semaphore>>,
    /// A message is no longer on its way.
    done: Arc<Notify>,
}

/// Tells webhooks how requests for approval stand, until `stop`.
pub async fn tell(kernel: Kernel, channels: Arc<Channels>, stop: CancellationToken) {
    let (on_their_way, done) = (HashMap::new(), Arc::new(Notify::new()));
    let mut teller = Teller { kernel, channels, on_their_way, done };
    loop {
        let wait = match teller.round().await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "it could not be looked for what webhooks are to be told");
                ASK_AGAIN_AFTER
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = teller.kernel.store().news() => {}
            () = teller.done.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Teller {
    /// Sends what is due to each webhook, and says how long there is nothing to do.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let Some(world) = self.kernel.world() else { return Ok(LOOK_EVERY) };
        let mut wait = LOOK_EVERY;
        self.on_their_way.retain(|name, _| world.gate.webhook(name).is_some());
        for webhook in &world.gate.webhook {
            let room = self.on_their_way.entry(webhook.name.clone());
            let room = room.or_insert_with(|| Arc::new(Semaphore::new(ON_THEIR_WAY_MAX)));
            let free = u32::try_from(room.available_permits()).unwrap_or(0);
            if free == 0 {
                continue;
            }
            let room = Arc::clone(room);
            let (claimed, next) = self.kernel.store().claim_notices(&webhook.name, free).await?;
            if let Some(next) = next {
                let us = next.0.saturating_sub(self.kernel.clock().now().0).max(0);
                wait = wait.min(Duration::from_micros(u64::try_from(us).unwrap_or(0)));
            }
            for notice in claimed {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                let sending = Sending {
                    kernel: self.kernel.clone(),
                    world: Arc::clone(&world),
                    channel: self.channels.of(webhook),
                };
                let done = Arc::clone(&self.done);
                tokio::spawn(async move {
                    sending.run(notice).await;
                    drop(place);
                    done.notify_one();
                });
            }
        }
        Ok(wait)
    }
}

/// One message on its way.
struct Sending {
    kernel: Kernel,
    world: Arc<World>,
    channel: Arc<Channel>,
}

impl Sending {
    async fn run(self, notice: Notice) {
        let told = match self.message(&notice).await {
            Ok(Some(body)) => self.send(&notice, &body).await,
            Ok(None) => Told::NotForIt,
            Err(error) => self.not_taken(&notice, error.code().to_string()),
        };
        let name = &self.channel.declared().name;
        if let Told::GivenUp { why } = &told {
            tracing::warn!(webhook = %name, call = %notice.call, %why, "a webhook was not told");
        }
        if let Err(error) = self.kernel.store().told(name, notice, told).await {
            // It is claimed again after a while, and told again as the same message.
            tracing::warn!(webhook = %name, %error, "it was not kept what a webhook was told");
        }
    }

    /// What is said, if it is for this webhook.
    async fn message(&self, notice: &Notice) -> Result<Option<Vec<u8>>, StoreError> {
        let store = self.kernel.store();
        let state = match notice.news {
            News::Approval(state) => state,
            News::Budget if !self.channel.declared().alerts => return Ok(None),
            News::Budget => {
                let entry = store.entry_at(notice.entry).await?;
                let about = Json::parse(&entry.leaf, &JsonLimits::OWN).unwrap_or(Json::Null);
                return Ok(Some(of_budget(notice, &about, &self.world.gate)));
            }
        };
        let request = store.approval_request(&notice.call).await?;
        let Some(request) = request else { return Ok(None) };
        if !request.requirements.iter().any(|it| self.channel.declared().is_told_of(it)) {
            return Ok(None);
        }
        let entry = store.entry_at(request.entry).await?;
        let about = Json::parse(&entry.leaf, &JsonLimits::OWN).unwrap_or(Json::Null);
        let arguments = match self.channel.declared().arguments {
            true => store.facts_of(&notice.call).await?,
            false => None,
        };
        let arguments = arguments.and_then(|facts| facts.call.params.get("arguments").cloned());
        let page = self.world.gate.approval_page(&notice.call);
        Ok(Some(body((notice, state), &request, &about, arguments, page)))
    }

    async fn send(&self, notice: &Notice, body: &[u8]) -> Told {
        let keys = match Keys::of(&self.channel).await {
            Ok(keys) => keys,
            Err(error) => return self.not_taken(notice, error.to_string()),
        };
        // The same message however often it is told: who keeps ids takes it once.
        let id = format!("msg_{}_{}", notice.call, notice.entry);
        let timestamp = self.kernel.clock().now().0.div_euclid(1_000_000);
        let headers = [
            ("webhook-id", id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", keys.sign(&id, timestamp, body)),
        ];
        match self.channel.post(&headers, body.to_vec()).await {
            Ok(()) => Told::Taken,
            Err(error) => self.not_taken(notice, error.to_string()),
        }
    }

    fn not_taken(&self, notice: &Notice, why: String) -> Told {
        if notice.attempts >= ATTEMPTS_MAX {
            return Told::GivenUp { why };
        }
        let pause_us = 1_000_000_i64.checked_shl(notice.attempts.saturating_sub(1));
        let pause_us = pause_us.unwrap_or(PAUSE_MAX_US).clamp(1_000_000, PAUSE_MAX_US);
        Told::Later { due: Micros(self.kernel.clock().now().0.saturating_add(pause_us)), why }
    }
}

/// The message: what a small adapter of a chat tool needs, and no more.
fn body(
    (notice, state): (&Notice, ApprovalState),
    request: &ApprovalRequest,
    about: &Json,
    arguments: Option<Json>,
    page: Option<String>,
) -> Vec<u8> {
    let member = |name: &str| about.get(name).and_then(Json::as_str).unwrap_or_default();
    let (operation, agent) = (member("operation"), member("agent"));
    let requirements = request.requirements.join(", ");
    let text = format!("{} {operation} by {agent}: {requirements}", words(state));
    let given = request.given.iter().map(|given| Json::from(given.requirement.as_str()));
    let needs = request.requirements.iter().map(|it| Json::from(it.as_str()));
    let told = Object::new()
        .with("text", text)
        .with("request", notice.call.as_str())
        .with("state", state.as_str())
        .with("requirements", needs.collect::<Vec<_>>())
        .with("given", given.collect::<Vec<_>>())
        .with("operation", operation)
        .with("agent", agent)
        .with_some("environment", about.get("environment").cloned())
        .with("expires_at", time(request.expires))
        .with_some("url", page)
        .with_some("arguments", arguments);
    let message = Object::new()
        .with("type", format!("approval.{}", state.as_str()))
        .with("timestamp", time(notice.since))
        .with("data", told);
    Json::from(message).to_bytes()
}

/// That a budget nears its end: which, and how far it has come. Not whose: the log names the call
/// by which it has.
fn of_budget(notice: &Notice, about: &Json, gate: &Gate) -> Vec<u8> {
    let number = |name: &str| about.get(name).and_then(Json::as_i64).unwrap_or_default();
    let name = about.get("cap").and_then(Json::as_str).unwrap_or_default();
    // In what the bundle counts in, and not in what its counter does.
    let unit = gate.cap.iter().find(|cap| cap.name == name).map_or(1, caps::unit);
    let (used, max) = (number("used") / unit, number("max") / unit);
    let told = Object::new()
        .with("text", format!("the budget `{name}` nears its end: {used} of {max} are used"))
        .with("cap", name)
        .with("used", used)
        .with("max", max)
        .with("alert_at", number("alert_at") / unit)
        .with_some("call", about.get("call").cloned())
        .with("resets_at", time(Micros(number("resets_at"))));
    let message = Object::new()
        .with("type", "budget.alert")
        .with("timestamp", time(notice.since))
        .with("data", told);
    Json::from(message).to_bytes()
}

const fn words(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "waits for approval:",
        ApprovalState::Given => "approved, and not used yet:",
        ApprovalState::Denied => "denied:",
        ApprovalState::Expired => "ended without an answer or use:",
        ApprovalState::Cancelled => "cancelled by a kill switch:",
        ApprovalState::Superseded => "superseded by changed rules:",
        ApprovalState::Spent => "approved and done:",
    }
}

fn time(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}
