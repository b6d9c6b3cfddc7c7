//! `lockgate kill`, `lift` and `switches`: stop what must be stopped, in one move.

use crate::client::{AGENT, GateArguments, GateClient, OPERATOR};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Result, bail};
use lockgate_core::bundle::starter::CONSOLE_AGENT;
use lockgate_types::{Json, Object};
use std::process::ExitCode;

/// Switches that are named in a line.
const NAMED_MAX: usize = 5;

/// Arguments of `lockgate kill` and `lockgate lift`.
#[derive(clap::Args)]
pub(crate) struct SwitchArguments {
    #[command(flatten)]
    scope: Scope,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    gate: GateArguments,
}

/// Arguments of `lockgate kill`.
#[derive(clap::Args)]
pub(crate) struct KillArguments {
    #[command(flatten)]
    switch: SwitchArguments,
    /// Also if that stops the agent through which this command acts, and so this command line
    #[arg(long)]
    yes: bool,
}

/// How much, and which.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Scope {
    /// Everything
    #[arg(long)]
    all: bool,
    /// One tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// One environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// One agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// One upstream, with all it can do
    #[arg(long, value_name = "UPSTREAM")]
    tool: Option<String>,
    /// One operation: `upstream/tool`
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// One session, by the id in records
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

impl Scope {
    fn word_and_name(&self) -> (&'static str, &str) {
        let named = [
            ("tenant", &self.tenant),
            ("environment", &self.environment),
            ("agent", &self.agent),
            ("tool", &self.tool),
            ("operation", &self.operation),
            ("session", &self.session),
        ];
        let given = named.into_iter().find_map(|(word, name)| Some((word, name.as_deref()?)));
        given.unwrap_or(("global", ""))
    }

    /// Refuses what could not be taken back by whoever does it.
    fn spares(&self, agent: Option<&str>) -> Result<()> {
        let Some(agent) = agent.filter(|agent| self.agent.as_deref() == Some(*agent)) else {
            return Ok(());
        };
        let other = if agent == CONSOLE_AGENT { AGENT } else { CONSOLE_AGENT };
        bail!(
            "this command acts through the agent `{agent}`: the switch would stop it too, and it \
             could not lift it (hint: `--yes` throws it all the same; another agent lifts it, \
             LOCKGATE_TOKEN=$(lockgate token {OPERATOR} --agent {other}) lockgate lift --agent \
             {agent} --reason …)"
        )
    }

    fn describe(&self) -> String {
        match self.word_and_name() {
            ("global", _) => "everything".to_owned(),
            (word, name) => format!("the {word} `{name}`"),
        }
    }
}

impl SwitchArguments {
    fn body(&self) -> Json {
        let (scope, name) = self.scope.word_and_name();
        let body = Object::new().with("scope", scope).with("name", name);
        body.with("reason", self.reason.as_str()).into()
    }
}

/// Runs `lockgate kill`. It ends when nothing in the scope begins to leave any more.
pub(crate) fn kill(
    KillArguments { switch: arguments, yes }: &KillArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    if !yes {
        arguments.scope.spares(client.agent().as_deref())?;
    }
    let path = "/v1/switches/throw";
    let answer = crate::runtime()?.block_on(client.post(path, &arguments.body()))?;
    output.json(&answer);
    let at = answer.get("contained_at").and_then(Json::as_i64).unwrap_or_default();
    let at = jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default();
    let scope = arguments.scope.describe();
    output.line(&format!("{} {scope}: nothing begins to leave after {at}", output.bad("stopped")));
    let (word, name) = arguments.scope.word_and_name();
    if let Some(warning) = unknown(&answer, word, name) {
        output.line(&output.bad(&format!("{warning}: nothing is stopped until it has")));
    }
    let under_way = answer.get("under_way").and_then(Json::as_array).unwrap_or_default();
    if !under_way.is_empty() {
        let count = under_way.len();
        output.line(&format!("{count} calls had begun to leave before, and are being recorded:"));
        for call in under_way {
            output.line(&format!("  {}", call.as_str().unwrap_or_default()));
        }
    }
    if answer.get("recorded").and_then(Json::as_bool) != Some(true) {
        bail!(
            "the switch holds, and could not be recorded: it ends with the gate \
             (hint: check disk space, then run `lockgate kill` again)"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// That nothing has the name that something was done about, if the gate says so.
pub(crate) fn unknown(answer: &Json, what: &str, name: &str) -> Option<String> {
    if answer.get("unknown").and_then(Json::as_bool) != Some(true) {
        return None;
    }
    let meant = answer.get("meant").and_then(Json::as_str);
    let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"));
    let what = if what == "tool" { "upstream" } else { what };
    Some(format!("the bundle has no {what} `{name}`{meant}"))
}

/// Which switches are on, in a line. `None`: none is.
pub(crate) fn stopped(switches: &[Json]) -> Option<String> {
    let text = |switch: &Json, name: &str| {
        switch.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    if switches.iter().any(|switch| text(switch, "scope") == "global") {
        return Some("everything is stopped (`lockgate switches`)".to_owned());
    }
    let one = |switch| format!("{} `{}`", text(switch, "scope"), text(switch, "name"));
    let named: Vec<String> = switches.iter().take(NAMED_MAX).map(one).collect();
    let more = switches.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty())
        .then(|| format!("stopped: {}{more} (`lockgate switches`)", named.join(", ")))
}

/// Runs `lockgate lift`.
pub(crate) fn lift(
    arguments: &SwitchArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let path = "/v1/switches/lift";
    let answer = crate::runtime()?.block_on(client.post(path, &arguments.body()))?;
    output.json(&answer);
    let scope = arguments.scope.describe();
    if answer.get("was_on").and_then(Json::as_bool) != Some(true) {
        output.line(&format!("no switch of {scope} was on (see `lockgate switches`)"));
        return Ok(ExitCode::FAILURE);
    }
    output.line(&format!("{} {scope}", output.good("lifted")));
    Ok(ExitCode::SUCCESS)
}

/// Runs `lockgate switches`.
pub(crate) fn list(arguments: &GateArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(arguments, place)?;
    let answer = crate::runtime()?.block_on(client.get("/v1/switches"))?;
    output.json(&answer);
    let switches = answer.get("switches").and_then(Json::as_array).unwrap_or_default();
    if switches.is_empty() {
        output.line("no switch is on");
    }
    for switch in switches {
        let text = |name: &str| switch.get(name).and_then(Json::as_str).unwrap_or_default();
        output.line(&format!("{} {} {}", output.bad("on"), text("scope"), text("name")));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::stopped;
    use lockgate_types::{Json, Object};

    #[test]
    fn what_is_stopped_is_said_in_a_line() {
        let on = |scope: &str, name: &str| -> Json {
            Object::new().with("scope", scope).with("name", name).into()
        };
        let many: Vec<Json> = (0..7).map(|at| on("agent", &format!("bot-{at}"))).collect();
        for (switches, said) in [
            (vec![], None),
            (vec![on("tool", "crm")], Some("stopped: tool `crm` (`lockgate switches`)")),
            (
                vec![on("agent", "bot"), on("global", "")],
                Some("everything is stopped (`lockgate switches`)"),
            ),
            (
                many,
                Some(
                    "stopped: agent `bot-0`, agent `bot-1`, agent `bot-2`, agent `bot-3`, \
                     agent `bot-4` and 2 more (`lockgate switches`)",
                ),
            ),
        ] {
            assert_eq!(stopped(&switches).as_deref(), said);
        }
    }
}
