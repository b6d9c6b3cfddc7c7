//! Kill switches: thrown, lifted, and shown.

use super::known::check_form;
use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_core::bundle::admin::RESERVED;
use lockgate_kernel::Ahead;
use lockgate_types::facts::Switch;
use lockgate_types::{CallId, Code};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The switches that are on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct On {
    switches: Vec<OneSwitch>,
}

/// A switch.
#[derive(Serialize, JsonSchema)]
pub(super) struct OneSwitch {
    /// `global`, `tenant`, `environment`, `agent`, `tool`, `operation` or `session`.
    scope: String,
    /// Which one; empty for `global`.
    name: String,
}

/// What a switch has stopped.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Thrown {
    /// Microseconds since 1970: nothing in the scope begins to leave after this.
    contained_at: i64,
    /// Calls that had begun to leave before, and had no recorded outcome yet.
    under_way: Vec<String>,
    /// Whether the switch is recorded, so that it outlives this gate. If not, it holds until the
    /// gate stops.
    recorded: bool,
    /// Whether nothing here has that name, so that nothing is stopped by it yet.
    unknown: bool,
    /// The name that may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    meant: Option<String>,
}

/// What became of a switch.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Lifted {
    /// Whether it was on.
    was_on: bool,
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Reading::typed(&On { switches: parts.switches() });
    parts.govern(&asked, "switches_read", perform).await
}

pub(super) async fn throw(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let switch = switch(&asked)?;
    check_form(&switch)?;
    let (tell, mut told) = oneshot::channel();
    let (kernel, thrown) = (parts.kernel.clone(), switch.clone());
    let ahead = async move {
        let contained = kernel.store().throw(&thrown).await;
        // It reaches tokens that were issued for what it stops.
        kernel.upstreams().drop_stopped();
        let _ = tell.send(contained);
    };
    let perform = async |by: CallId| {
        parts.kernel.store().record_thrown(switch, &by).await.map_err(Problem::from)
    };
    let ahead = Some(Box::pin(ahead) as Ahead);
    let recorded = parts.govern_call(&asked, "switch_throw", ahead, perform).await;
    let Ok(contained) = told.try_recv() else {
        // Not allowed, and so not done.
        return Err(recorded.err().unwrap_or_else(|| Code::InvariantBroken.into()));
    };
    let contained = contained?;
    let unknown = parts.unknown(asked.text("scope"), asked.text("name")).await;
    Reading::typed(&Thrown {
        contained_at: contained.contained_at.0,
        under_way: contained.under_way.iter().map(ToString::to_string).collect(),
        recorded: recorded.is_ok(),
        unknown: unknown.is_some(),
        meant: unknown.and_then(|unknown| unknown.meant),
    })
}

pub(super) async fn lift(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let switch = switch(&asked)?;
    let perform = async |by: CallId| {
        let lifted = parts.kernel.store().lift(switch, &by).await?;
        Reading::typed(&Lifted { was_on: lifted.is_some() })
    };
    parts.govern_call(&asked, "switch_lift", None, perform).await
}

impl Parts {
    pub(super) fn switches(&self) -> Vec<OneSwitch> {
        let on = self.kernel.store().switches().into_iter();
        on.map(|Switch { scope, name }| OneSwitch { scope, name }).collect()
    }
}

fn switch(asked: &Asked) -> Result<Switch, Problem> {
    let (scope, name) = (asked.text("scope").to_owned(), asked.text("name").to_owned());
    if (scope == "global") != name.is_empty() {
        let reason = "`global` has no name, and every other scope has one";
        return Err(Problem::because(Code::AdminBadRequest, reason));
    }
    let is_own = match scope.as_str() {
        "tool" => name == RESERVED,
        "operation" => name.strip_prefix(RESERVED).is_some_and(|rest| rest.starts_with('/')),
        _ => false,
    };
    if is_own {
        let reason = "the gate's own operations are not stopped: nobody could lift it";
        return Err(Problem::because(Code::AdminBadRequest, reason));
    }
    Ok(Switch { scope, name })
}
