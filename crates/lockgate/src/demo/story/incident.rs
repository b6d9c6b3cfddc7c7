//! The scene of the runbook that nobody has looked after: what is found is older than its source
//! allows, the session may only read from then on, and what rests on it is refused.

use super::{Teller, text};
use crate::client::GateClient;
use crate::runs::Journal;
use crate::sources;
use anyhow::{Result, bail};
use lockgate_types::{Code, Json, Object};

/// What the session is tightened for, as the refusal has to say.
const STALE: &str = "stale:runbooks/export-fails.md";
/// What is said of a document beyond that age.
const SAID: &str = "the session may only read from now on";

/// Brings the runbook in, has a run act on it, and shows what it comes to.
pub(super) async fn drive(
    operator: &GateClient,
    opener: &GateClient,
    teller: &mut Teller<'_>,
) -> Result<()> {
    let standing = sources::bring_in(operator, "runbooks").await?;
    if standing.at(&["last", "verdict"]).and_then(Json::as_str) != Some("published") {
        bail!("the runbooks of the demo were not brought in: {standing}");
    }
    let input = "Customer 2 cannot export a report. Do what the runbook says.";
    let body = Object::new().with("task", "incident").with("input", input);
    let started = opener.post("/v1/runs", &body.into()).await?;
    let mut journal = Journal::open(opener, text(&started, "run"), None).await?;
    let (mut said, mut refused, mut last) = (String::new(), None, Json::Null);
    while let Some((_, entry)) = journal.next().await? {
        match text(&entry, "event") {
            "performed" => said.push_str(text(&entry, "text")),
            "refused" => refused = Some(entry.clone()),
            _ => {}
        }
        last = entry;
    }
    let about_age = said.lines().find(|line| line.ends_with(SAID));
    let (Some(about_age), Some(refused)) = (about_age, refused) else {
        bail!("the run about an old runbook was not held back: {last}");
    };
    let (code, reason) = (text(&refused, "code"), text(&refused, "reason"));
    if code != Code::ModeForbids.as_str() || !reason.contains(STALE) {
        bail!("the run about an old runbook was refused otherwise: {refused}");
    }
    teller.step += 1;
    let output = teller.output;
    let how = output.bad(&format!("refused {code}"));
    let what = "alice (support) asks for what a runbook says that nobody has looked after";
    output.line(&format!("{:>2}. {what}: {how}", teller.step));
    output.line(&format!("      {about_age}"));
    output.line(&format!("      {}", line_of(reason, "reason: ")));
    let (help, call) = (line_of(reason, "remedy: "), text(&refused, "call"));
    let help = format!("      what would help: {help}  [trace {call}]");
    output.line(&output.faint(&help));
    Ok(())
}

/// The line of a refusal, as models are told it, that begins so.
fn line_of<'a>(reason: &'a str, begin: &str) -> &'a str {
    reason.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_default()
}
