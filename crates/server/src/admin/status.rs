//! What this gate is, and how its upstreams are.

use super::problem::Problem;
use super::switches::OneSwitch;
use super::{Asked, Parts, Reading};
use lockgate_core::breaker::Standing;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::visible;
use lockgate_effects::Health;
use lockgate_kernel::Trial;
use lockgate_ledger::Checkpoint;
use lockgate_types::{Code, Micros, OperationName, UpstreamName};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A gate and its upstreams.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Status {
    /// The version of the program.
    version: &'static str,
    environment: String,
    tenant: String,
    /// The name of the ledger, in every checkpoint.
    origin: String,
    /// The digest of the bundle that rules.
    bundle: String,
    /// Seconds since this gate began to answer.
    uptime_s: i64,
    ledger: LedgerHead,
    /// The kill switches that are on, for who may `switches_read`. Absent: some are, and who asks
    /// may not know which.
    #[serde(skip_serializing_if = "Option::is_none")]
    switches: Option<Vec<OneSwitch>>,
    upstreams: Vec<UpstreamStatus>,
    /// The entries of the registry that are tried out, as this node counts them. One that was not
    /// asked yet is not there.
    canaries: Vec<CanaryStatus>,
}

/// An entry of the registry that is tried out in place of another.
#[derive(Serialize, JsonSchema)]
struct CanaryStatus {
    /// The entry in whose place it is tried.
    model: String,
    /// The entry.
    canary: String,
    /// `running`, `promoted` or `rolled_back`.
    stage: &'static str,
    /// Answers of its present window.
    calls: i64,
    /// What it was taken back for last: `errors`, `refusals`, `findings` or `slow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    breach_guard: Option<&'static str>,
    /// How many answers were so.
    #[serde(skip_serializing_if = "Option::is_none")]
    breach_seen: Option<i64>,
    /// Of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    breach_calls: Option<i64>,
    /// When it is tried again, if it is: microseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// The head of the node's own log. Reading the status is recorded after it.
#[derive(Serialize, JsonSchema)]
struct LedgerHead {
    /// How many entries it has.
    size: u64,
    /// The Merkle root over them.
    root: String,
    /// The size of the newest signed checkpoint.
    checkpoint_size: u64,
}

/// How an upstream is.
#[derive(Serialize, JsonSchema)]
struct UpstreamStatus {
    name: String,
    /// `unused`, `up` or `down`.
    state: &'static str,
    /// The protocol era it speaks, where it was found or is configured: `sessions`, `stateless`.
    #[serde(skip_serializing_if = "Option::is_none")]
    era: Option<String>,
    /// Since when it is in this state: microseconds since 1970 UTC.
    since: i64,
    /// What went wrong last, if anything ever did: in full, which may quote what a process wrote,
    /// for who may `upstreams_read`; else the code and what it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// Calls on their way.
    in_flight: usize,
    /// Its circuit breakers that are not closed: of this node.
    breakers: Vec<BreakerStatus>,
    /// The process, if it is one child process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// All its child processes: there may be one for each caller.
    pids: Vec<u32>,
    /// The last lines its processes wrote to standard error, for who may `upstreams_read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<Vec<String>>,
}

/// A circuit breaker that is not closed.
#[derive(Serialize, JsonSchema)]
struct BreakerStatus {
    /// The operation; absent where the whole upstream is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// `open` or `half_open`.
    state: &'static str,
    /// The code of the failure that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    /// When the next call is let through: microseconds since 1970 UTC.
    retry_at: i64,
    /// Milliseconds until then.
    retry_in_ms: i64,
}

pub(super) async fn read(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let mut status = parts.govern(&asked, "status_read", async || parts.status().await).await?;
    let switches = parts.switches();
    // Where none is on, there is nothing to ask leave for.
    status.switches = match switches.is_empty() || parts.may_see("switches_read", &asked) {
        true if switches.is_empty() => Some(switches),
        true => parts.govern(&asked, "switches_read", async || Ok(switches)).await.ok(),
        false => None,
    };
    if parts.may_see("upstreams_read", &asked) {
        // What is visible may still be refused: then the lines are left out, and the refusal is
        // recorded.
        let lines =
            parts.govern(&asked, "upstreams_read", async || Ok(parts.kernel.upstreams().health()));
        for health in lines.await.unwrap_or_default() {
            let mut rows = status.upstreams.iter_mut();
            if let Some(row) = rows.find(|row| row.name == health.upstream.as_str()) {
                row.last_error = health.last_error;
                row.stderr = Some(health.stderr);
            }
        }
    }
    Reading::typed(&status)
}

impl Parts {
    /// Whether who asks is not certainly denied an operation of the gate's own.
    fn may_see(&self, operation: &str, asked: &Asked) -> bool {
        let operation = UpstreamName::new(RESERVED)
            .and_then(|upstream| OperationName::tool(&upstream, operation));
        let (Ok(operation), Some(world)) = (operation, self.kernel.world()) else { return false };
        visible(&world, &asked.identity, &[], &operation)
    }

    async fn status(&self) -> Result<Status, Problem> {
        let world = self.kernel.world().ok_or(Code::NoBundle)?;
        let store = self.kernel.store();
        // Asking for the checkpoint signs one over every entry there is.
        let note = store.checkpoint().await?;
        let head = read_head(&note)?;
        let now = self.kernel.clock().now();
        let uptime = now.0.saturating_sub(self.started.0);
        let health = self.kernel.upstreams().health();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION"),
            environment: world.environment.to_string(),
            tenant: world.tenant.to_string(),
            bundle: world.digest.to_string(),
            uptime_s: uptime / 1_000_000,
            ledger: LedgerHead {
                size: head.size,
                root: head.root.to_string(),
                checkpoint_size: head.size,
            },
            origin: head.origin,
            switches: None,
            upstreams: health.into_iter().map(|health| upstream(health, now)).collect(),
            canaries: self.kernel.canaries().into_iter().map(canary).collect(),
        })
    }
}

/// What the store has just signed says; its own signature is not checked again.
pub(super) fn read_head(note: &str) -> Result<Checkpoint, Problem> {
    let text = note.split_once("\n\n").map(|(text, _)| format!("{text}\n"));
    let head = text.and_then(|text| Checkpoint::parse(&text).ok());
    head.ok_or_else(|| Code::InvariantBroken.into())
}

/// The detail of an error may quote the last line of standard error.
fn without_detail(error: &str) -> String {
    let code = error.split_once(':').map_or(error, |(code, _)| code);
    match Code::from_code(code) {
        Some(code) => format!("{code}: {}", code.title()),
        None => "it failed".to_owned(),
    }
}

fn canary(trial: Trial) -> CanaryStatus {
    let breach = trial.standing.breach();
    CanaryStatus {
        model: trial.model,
        canary: trial.canary,
        stage: trial.standing.stage().as_str(),
        calls: trial.standing.tally().calls,
        breach_guard: breach.map(|breach| breach.guard.as_str()),
        breach_seen: breach.map(|breach| breach.seen),
        breach_calls: breach.map(|breach| breach.calls),
        until: trial.standing.until().map(|until| until.0),
    }
}

fn breaker(standing: &Standing, now: Micros) -> BreakerStatus {
    BreakerStatus {
        operation: standing.operation.as_ref().map(ToString::to_string),
        state: standing.state.as_str(),
        cause: standing.cause.map(Code::as_str),
        retry_at: standing.until.0,
        retry_in_ms: standing.until.0.saturating_sub(now.0).max(0) / 1000,
    }
}

fn upstream(health: Health, now: Micros) -> UpstreamStatus {
    let eras: Vec<&str> = health.eras.iter().map(|era| era.as_str()).collect();
    UpstreamStatus {
        name: health.upstream.to_string(),
        state: health.state.as_str(),
        era: (!eras.is_empty()).then(|| eras.join(", ")),
        since: health.since.0,
        last_error: health.last_error.as_deref().map(without_detail),
        in_flight: health.in_flight,
        breakers: health.breakers.iter().map(|standing| breaker(standing, now)).collect(),
        pid: match health.pids.as_slice() {
            [only] => Some(*only),
            _ => None,
        },
        pids: health.pids,
        stderr: None,
    }
}
