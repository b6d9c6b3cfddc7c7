//! What happens in the demo, one line each, with the record behind it.

mod incident;

use crate::agent::{Agent, ToolAnswer};
use crate::chain;
use crate::client::{AGENT, GateClient};
use crate::output::Output;
use crate::place::Place;
use crate::runs::Journal;
use crate::up::Running;
use anyhow::{Result, bail};
use lockgate_server::identity::DevelopmentKey;
use lockgate_types::{Json, Object};

/// Tells the story to its end; an ending that is not the expected one is an error.
/// Gives the run that was shown.
pub(crate) async fn tell(running: &Running, place: &Place, output: &Output) -> Result<String> {
    output.line("A help desk, a gate in front of it, and an agent working for three people.");
    output.line("");
    let key = DevelopmentKey::open(&place.state())?;
    let client = |user: &str, agent: &str| -> Result<GateClient> {
        GateClient::at(running.url().to_owned(), Some(key.sign(user, agent, 600)?))
    };
    let mut alice = Agent::open(client("alice", "helpdesk-bot")?, "/mcp/helpdesk").await?;
    let mut bob = Agent::open(client("bob", "helpdesk-bot")?, "/mcp/helpdesk").await?;
    let mut carol = Agent::open(client("carol", "helpdesk-bot")?, "/mcp/helpdesk").await?;
    let mut teller = Teller { output, step: 0, run: String::new() };

    let read = alice.call("customer_get", Object::new().with("customer_id", 1)).await?;
    let email = read.body.at(&["structuredContent", "email"]).and_then(Json::as_str);
    teller.expect(
        email == Some("[redacted]"),
        "alice (support) reads a customer",
        &read,
        "personal data redacted",
    )?;

    let reply = || Object::new().with("ticket_id", 11).with("body", "We are looking into it.");
    let wrote = alice.call("ticket_reply", reply()).await?;
    teller.expect(wrote.refusal.is_none(), "alice replies to a ticket", &wrote, "allowed")?;

    let refund = |cents: i64| {
        Object::new()
            .with("customer_id", 1)
            .with("amount_cents", cents)
            .with("currency", "EUR")
            .with("reason", "charged twice")
    };
    let refused = alice.call("refund_create", refund(24_900)).await?;
    teller.refused("alice refunds 249.00", &refused)?;
    let paid = bob.call("refund_create", refund(24_900)).await?;
    teller.expect(paid.refusal.is_none(), "bob (finance) refunds 249.00", &paid, "allowed")?;
    let large = bob.call("refund_create", refund(90_000)).await?;
    teller.refused("bob refunds 900.00", &large)?;

    let contractor = carol.call("ticket_reply", reply()).await?;
    teller.refused("carol (contractor) replies to the same ticket", &contractor)?;

    let hidden = refund(1000).with("approved_by", "finance");
    let undeclared = alice.call("refund_create", hidden).await?;
    teller.refused("the agent adds an argument that nobody declared", &undeclared)?;
    // tidy: allow line-length: one message, as it is sent
    let twice = r#"{"jsonrpc":"2.0","id":99,"method":"tools/call","params":{"name":"refund_create","arguments":{"customer_id":1,"amount_cents":1,"amount_cents":9900000,"currency":"EUR","reason":"x"}}}"#;
    let smuggled = alice.send_raw(twice).await?;
    teller.refused("the agent sends `amount_cents` twice", &smuggled)?;
    let delete = alice.call("customer_delete", Object::new().with("customer_id", 1)).await?;
    teller.refused("the agent deletes a customer", &delete)?;
    let people = Run { opener: client("bob", "helpdesk-bot")?, other: client("dora", AGENT)? };
    people.drive(&client("operator", AGENT)?, &mut teller).await?;
    let incident = (client("operator", AGENT)?, client("alice", "helpdesk-bot")?);
    incident::drive(&incident.0, &incident.1, &mut teller).await?;

    output.line("");
    let operator = client("operator", AGENT)?;
    let report = crate::verify::verify_running(&operator).await?;
    output.line(&format!("{} {report}", output.good("verified")));
    let replayed = crate::records::replay_running(&operator).await?;
    output.line(&format!("{} {replayed}", output.good("replayed")));
    Ok(teller.run)
}

/// Who asks for a run, and who agrees to what it would do.
struct Run {
    opener: GateClient,
    other: GateClient,
}

impl Run {
    /// Has the gate drive an agent, from a question to its effect, and shows what led to what.
    async fn drive(&self, operator: &GateClient, teller: &mut Teller<'_>) -> Result<()> {
        let input = "Customer 3 was charged 900.00 twice. Put it right.";
        let body = Object::new().with("task", "refund").with("input", input);
        let started = self.opener.post("/v1/runs", &body.into()).await?;
        let run = text(&started, "run").to_owned();
        let mut journal = Journal::open(&self.opener, &run, None).await?;
        let mut last = Json::Null;
        while let Some((_, entry)) = journal.next().await? {
            if text(&entry, "event") == "parked" {
                self.agree(&entry).await?;
            }
            last = entry;
        }
        if text(&last, "event") != "finished" {
            bail!("the run of the demo ended otherwise: {last}");
        }
        teller.step += 1;
        let output = teller.output;
        let finished = output.good("finished");
        let what = "bob (finance) asks, and the gate drives the agent to an effect";
        output.line(&format!("{:>2}. {what}: {finished}", teller.step));
        let model = "      the model here is none: a stand-in of the demo's answers by rote";
        output.line(&output.faint(model));
        let trace = operator.get(&format!("/v1/traces/{run}")).await?;
        for line in chain::of(operator, &trace, output).await? {
            output.line(&line);
        }
        teller.run = run;
        Ok(())
    }

    async fn agree(&self, entry: &Json) -> Result<()> {
        let path = format!("/v1/approvals/{}/give", text(entry, "call"));
        let body = Object::new()
            .with("requirement", "group:finance")
            .with("reason", "both charges are in the bank's list");
        self.other.post(&path, &body.into()).await.map(drop)
    }
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

struct Teller<'a> {
    output: &'a Output,
    step: u32,
    /// The run that was shown.
    run: String,
}

impl Teller<'_> {
    fn expect(&mut self, is_so: bool, what: &str, answer: &ToolAnswer, how: &str) -> Result<()> {
        if !is_so {
            bail!("{what}: expected `{how}`, got {}", answer.body);
        }
        self.step += 1;
        let how = self.output.good(how);
        self.output.line(&format!("{:>2}. {what}: {how}", self.step));
        Ok(())
    }

    fn refused(&mut self, what: &str, answer: &ToolAnswer) -> Result<()> {
        if answer.refusal.is_none() {
            bail!("{what}: expected a refusal, got {}", answer.body);
        }
        self.step += 1;
        let (code, reason) = (answer.refused_with("code"), answer.refused_with("reason"));
        let refused = self.output.bad(&format!("refused {code}"));
        self.output.line(&format!("{:>2}. {what}: {refused}", self.step));
        self.output.line(&format!("      {reason}"));
        let remedy = answer.refused_with("remedy");
        let call = answer.refused_with("call");
        let record = if call.is_empty() { String::new() } else { format!("  [trace {call}]") };
        self.output.line(&self.output.faint(&format!("      what would help: {remedy}{record}")));
        Ok(())
    }
}
