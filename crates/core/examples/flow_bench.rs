//! What knowing where values came from costs: a session of 100 results with 1 MiB in all, and one
//! call after it. Prints a line of JSON: medians in microseconds, by the clock, interleaved.

use lockgate_core::World;
use lockgate_core::bundle::starter::FLOW;
use lockgate_core::decide::decide;
use lockgate_core::flow::Memory;
use lockgate_core::identify::identify;
use lockgate_core::world::Files;
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::identity::Claims;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Json, Micros, Object, SessionId, UpstreamName};
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

/// Results of the session.
const STEPS: usize = 100;
/// Objects of one result, and bytes of the free text of one.
const OBJECTS: usize = 20;
const BODY_BYTES: usize = 400;
/// Calls that are measured.
const ROUNDS: usize = 4000;

const OPERATIONS: &str = r#"
[tool.search]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"query":{"type":"string"}}}'
[tool.search.returns]
guaranteed = ["sender", "recipients"]
object = { id = "id", named_by = ["subject", "sender"] }

[tool.send]
effect = "egress"
accepted = true
roles = { to = "principal", subject = "content", body = "content", attachment = "resource" }
schema = '''{"type":"object","properties":{
  "to":{"type":"array","items":{"type":"string"}},"subject":{"type":"string"},
  "body":{"type":"string"},"attachment":{"type":"string"}}}'''
"#;

const PERMITS: &str = "permit (principal, action, resource);";

fn world(with_flow: bool) -> Result<World, Box<dyn Error>> {
    let mut files = Files::new();
    let mut add = |name: &str, text: &str| files.insert(name.to_owned(), text.as_bytes().to_vec());
    add(
        "lockgate.toml",
        "environment = \"dev\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [development]\nusers = [\"ann\"]\n[upstream.mail]\ncommand = [\"true\"]\n",
    );
    let agent = "[user.ann]\nown = [\"ann@acme.example\"]\n[agent.bot]\nenvironments = [\"dev\"]\n";
    add("principals.toml", agent);
    add("operations/mail.toml", OPERATIONS);
    add("policies/permits.cedar", PERMITS);
    if with_flow {
        add("policies/flow.cedar", FLOW);
    }
    World::load(&files).map_err(|mistakes| format!("{mistakes:?}").into())
}

fn call(at: usize, tool: &str, arguments: Object) -> Result<Call, Box<dyn Error>> {
    let params = Object::new().with("name", tool).with("arguments", arguments);
    let id = CallId::new(&format!("{at:032x}"))?;
    Call::new(id, UpstreamName::new("mail")?, Direction::ToUpstream, "tools/call", params)
        .map_err(|code| code.to_string().into())
}

fn result(step: usize) -> Json {
    let objects = (0..OBJECTS).map(|at| {
        let n = step * OBJECTS + at;
        let recipients: Vec<Json> = vec![format!("r{n}@acme.example").into()];
        Object::new()
            .with("id", format!("m-{n}"))
            .with("subject", format!("Report number {n} of the quarter"))
            .with("sender", format!("s{}@acme.example", n % 97))
            .with("recipients", recipients)
            .with("body", "lorem ipsum dolor ".repeat(BODY_BYTES / 18))
            .into()
    });
    Json::Array(objects.collect())
}

fn facts(world: &World, call: Call) -> Result<Facts, Box<dyn Error>> {
    let act = Object::new().with("sub", "bot");
    let claims = Object::new().with("sub", "ann").with("act", act);
    let claims = Claims { issuer: "development".to_owned(), claims };
    let identity = identify(world, &claims).map_err(|code| code.to_string())?;
    Ok(Facts {
        identity: Arc::new(identity),
        call,
        session: SessionState {
            id: SessionId::new("s-1")?,
            mode: Mode::Normal,
            exposure: Label::default(),
            writes: 0,
            revision: 1,
            risk: None,
            fed: None,
        },
        now: Micros(1_700_000_000_000_000),
        switches: Vec::new(),
        approvals: Vec::new(),
        live_difference: None,
        earlier: None,
        exhausted: Vec::new(),
        plan: None,
        preview: None,
        broken: None,
        cited: None,
        flow: None,
        history: None,
        risk: None,
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (plain, with_flow) = (world(false)?, world(true)?);
    let mut memory = Memory::default();
    memory.belongs_to(["ann@acme.example"]);
    memory.hear("Please answer 'Report number 1234 of the quarter', and tell r77@acme.example. ");
    let mut observed_us = Vec::new();
    let mut bytes = 0;
    for step in 0..STEPS {
        let call = call(step, "search", Object::new().with("query", "report"))?;
        let Some(declared) = with_flow.operations.get(&call.operation) else { continue };
        let result = result(step);
        bytes += result.to_bytes().len();
        let started = Instant::now();
        memory.observe(declared, &call, &result);
        observed_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let to = ["r77@acme.example", "r1234@acme.example", "eve@evil.example"];
    let arguments = Object::new()
        .with("to", to.map(Json::from).to_vec())
        .with("subject", "Report number 1234")
        .with("body", "As you asked: ".repeat(64))
        .with("attachment", "m-1234");
    let call = call(STEPS, "send", arguments)?;
    let without = facts(&plain, call.clone())?;
    let with = facts(&with_flow, call)?;
    let Some(declared) = with_flow.operations.get(&with.call.operation) else { return Ok(()) };
    let (mut plain_us, mut trace_us, mut both_us) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        std::hint::black_box(decide(&plain, &without));
        plain_us.push(started.elapsed().as_secs_f64() * 1e6);
        let started = Instant::now();
        let flow = memory.trace(declared, &with.call, |_| Some(Vec::new()));
        trace_us.push(started.elapsed().as_secs_f64() * 1e6);
        let facts = Facts { flow: Some(flow), ..with.clone() };
        let started = Instant::now();
        std::hint::black_box(decide(&with_flow, &facts));
        both_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let (plain_us, trace_us, both_us) = (median(plain_us), median(trace_us), median(both_us));
    let line = format!(
        "{{\"result_bytes\":{bytes},\"remembered_bytes\":{},\"observe_us\":{:.1},\
         \"decide_plain_us\":{plain_us:.1},\"trace_us\":{trace_us:.1},\
         \"decide_flow_us\":{both_us:.1},\"added_us\":{:.1}}}",
        memory.bytes(),
        median(observed_us),
        trace_us + both_us - plain_us,
    );
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
