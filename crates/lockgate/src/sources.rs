//! `lockgate sources`: where documents come from, how they stand, and what people do with them.

mod health;
mod show;
mod uses;

use crate::client::{GateArguments, GateClient};
use crate::output::{Output, Progress};
use crate::place::Place;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::BodyExt;
use lockgate_types::appearance::marked;
use lockgate_types::{CallId, Json, JsonLimits, Object, Tenant};
use lockgate_wire::sse::{SseDecoder, SseEvent, SseLimits};
use show::{compared, items, number, said, show, snapshot, summary, text};
use std::process::ExitCode;
use url::form_urlencoded;

/// Bytes of one event of a run.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Connections in a row over which nothing came.
const FRUITLESS_MAX: u32 = 3;

/// Arguments of `lockgate sources`.
#[derive(clap::Args)]
pub(crate) struct SourcesArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the sources that the bundle registers
    List {
        /// Of one tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<Tenant>,
    },
    /// Show how often sources are searched and find something, and what about them is suspicious
    Health {
        /// Of one tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<Tenant>,
    },
    /// Show a source: its contract, what its last run has found, what people have shared
    Show {
        /// The source
        source: String,
    },
    /// Bring in what a source has, and wait until that is done
    Run {
        /// The source
        source: String,
        /// Only who may see what: in force when the command returns
        #[arg(long)]
        permissions: bool,
        /// Do not wait
        #[arg(long, conflicts_with = "permissions")]
        detach: bool,
    },
    /// Show what a document has fed: who was shown it, and what followed
    UsedBy {
        /// The source
        source: String,
        /// The id of the document; all of the source if absent
        document: Option<String>,
        /// How many calls that have shown it
        #[arg(long, value_name = "N", default_value_t = 20,
              value_parser = clap::value_parser!(u32).range(1..=64))]
        max: u32,
        /// Those before this one: what `next` named
        #[arg(long, value_name = "CALL")]
        before: Option<CallId>,
    },
    /// List the snapshots of a source
    Snapshots {
        /// The source
        source: String,
    },
    /// Name the documents in which two snapshots differ
    Compare {
        /// The source
        source: String,
        /// The earlier snapshot
        from: u64,
        /// The later one
        to: u64,
    },
    /// Keep a snapshot, for tasks that name it and for going back
    Pin {
        #[command(flatten)]
        which: Which,
        /// What it is to be called
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
    },
    /// Keep a snapshot no longer than others
    Unpin {
        #[command(flatten)]
        which: Which,
    },
    /// Have what an old snapshot had serve again, as a new one
    RollBack {
        #[command(flatten)]
        which: Which,
    },
    /// Show a folder or document to somebody, beside what its source says
    Share {
        #[command(flatten)]
        place: OfPlace,
    },
    /// Keep a folder or document from somebody, whatever is shared
    Withhold {
        #[command(flatten)]
        place: OfPlace,
    },
    /// Take back what was shared or withheld
    Unshare {
        #[command(flatten)]
        place: OfPlace,
    },
    /// Forget all that the gate has of a source
    Forget {
        /// The source
        source: String,
    },
}

#[derive(clap::Args)]
struct Which {
    /// The source
    source: String,
    /// The number of the snapshot
    snapshot: u64,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(clap::Args)]
struct OfPlace {
    /// The source
    source: String,
    /// The whole path of a folder, or the id of a document; `.` is all of it
    place: String,
    /// `everyone`, `user:<subject>` or `group:<group>`; more than once for several
    #[arg(long = "reader", value_name = "READER", required = true)]
    readers: Vec<String>,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs `lockgate sources`.
pub(crate) fn run(
    arguments: &SourcesArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    crate::runtime()?.block_on(act(arguments.action.as_ref(), &client, output))
}

async fn act(action: Option<&Action>, client: &GateClient, output: &Output) -> Result<ExitCode> {
    match action {
        None => list(client, "", output).await?,
        Some(Action::List { tenant }) => {
            let of = tenant.as_ref().map(|tenant| format!("?tenant={tenant}"));
            list(client, &of.unwrap_or_default(), output).await?;
        }
        Some(Action::Health { tenant }) => {
            let of = tenant.as_ref().map(|tenant| format!("?tenant={tenant}"));
            let answer = client.get(&format!("/v1/retrieval{}", of.unwrap_or_default())).await?;
            output.json(&answer);
            health::show(&answer, output);
        }
        Some(Action::Show { source }) => {
            let answer = client.get(&path(source)).await?;
            output.json(&answer);
            show(&answer, output);
        }
        Some(Action::Run { source, permissions: true, .. }) => {
            let body = Object::new().with("part", "permissions").into();
            let answer = client.post(&format!("{}/run", path(source)), &body).await?;
            output.json(&answer);
            output.line(&format!("{} who may see what of {source}", output.good("told")));
        }
        Some(Action::Run { source, detach, .. }) => {
            return begin(client, source, *detach, output).await;
        }
        Some(Action::UsedBy { source, document, max, before }) => {
            let max = max.to_string();
            let asked = [
                ("max", Some(max.as_str())),
                ("document", document.as_deref()),
                ("before", before.as_ref().map(CallId::as_str)),
            ];
            used_by(client, source, &asked, output).await?;
        }
        Some(Action::Snapshots { source }) => {
            let answer = client.get(&format!("{}/snapshots", path(source))).await?;
            output.json(&answer);
            items(&answer, "snapshots").for_each(|it| output.line(&snapshot(it, output)));
        }
        Some(Action::Compare { source, from, to }) => {
            let answer = client.get(&format!("{}/compare/{from}/{to}", path(source))).await?;
            output.json(&answer);
            compared(&answer, output);
        }
        Some(Action::Pin { which, name }) => {
            let body = which.body().with_some("name", name.as_deref());
            which.post(client, "pin", body, output).await?;
        }
        Some(Action::Unpin { which }) => {
            which.post(client, "unpin", which.body(), output).await?;
        }
        Some(Action::RollBack { which }) => {
            which.post(client, "roll-back", which.body(), output).await?;
        }
        Some(Action::Share { place }) => place.say(client, "share", output).await?,
        Some(Action::Withhold { place }) => place.say(client, "withhold", output).await?,
        Some(Action::Unshare { place }) => place.say(client, "unshare", output).await?,
        Some(Action::Forget { source }) => {
            let answer = client.delete(&path(source)).await?;
            output.json(&answer);
            output.line(&format!("{} {source}", output.good("forgotten")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what a document, or all of a source, has fed.
async fn used_by(
    client: &GateClient,
    source: &str,
    asked: &[(&str, Option<&str>)],
    output: &Output,
) -> Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(asked.iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    let answer = client.get(&format!("{}/uses?{}", path(source), query.finish())).await?;
    output.json(&answer);
    uses::show(&answer, output);
    Ok(())
}

/// What is no name of a source asks for nothing else.
fn path(source: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || "-_.".contains(*it);
    format!("/v1/sources/{}", source.chars().filter(is_plain).collect::<String>())
}

impl Which {
    fn body(&self) -> Object {
        Object::new().with("reason", self.reason.as_str())
    }

    async fn post(
        &self,
        client: &GateClient,
        what: &str,
        body: Object,
        output: &Output,
    ) -> Result<()> {
        let at = format!("{}/snapshots/{}/{what}", path(&self.source), self.snapshot);
        let answer = client.post(&at, &body.into()).await?;
        output.json(&answer);
        let source = &self.source;
        output.line(&match what {
            "pin" => format!("{} snapshot {} of {source}", output.good("kept"), self.snapshot),
            "unpin" => format!("snapshot {} of {source} is kept no longer", self.snapshot),
            _ => format!(
                "{} snapshot {} of {source}, which has what {} had",
                output.good("serves:"),
                number(&answer, "snapshot"),
                self.snapshot
            ),
        });
        if answer.get("due").is_some() {
            output.line(&output.bad(&format!(
                "the next run is due at {}, and brings in what the source has then: put it right \
                 there, or withhold what is bad (`lockgate sources withhold`), or take `refresh_s` \
                 out of its declaration",
                show::time(&answer, "due")
            )));
        }
        Ok(())
    }
}

impl OfPlace {
    async fn say(&self, client: &GateClient, how: &str, output: &Output) -> Result<()> {
        let body = Object::new()
            .with("how", how)
            .with("place", self.place.as_str())
            .with("readers", self.readers.join(","))
            .with("reason", self.reason.as_str());
        let answer =
            client.post(&format!("{}/permissions", path(&self.source)), &body.into()).await?;
        output.json(&answer);
        output.line(&format!("{} {}", output.good("in force:"), said(&answer)));
        Ok(())
    }
}

async fn list(client: &GateClient, of: &str, output: &Output) -> Result<()> {
    let answer = client.get(&format!("/v1/sources{of}")).await?;
    output.json(&answer);
    let mut all = items(&answer, "sources").peekable();
    if all.peek().is_none() {
        output.line("the bundle registers no source of documents");
    }
    all.for_each(|source| output.line(&summary(source, output)));
    Ok(())
}

/// Brings in what a source has, and says nothing of it: how the source stands then.
pub(crate) async fn bring_in(client: &GateClient, source: &str) -> Result<Json> {
    let answer = client.post(&format!("{}/run", path(source)), &Object::new().into()).await?;
    let (run, quiet) = (number(&answer, "run"), Output::new(false));
    let mut progress = Progress::new("documents");
    let (ended, _) = follow(client, source, run, &mut progress, &quiet).await?;
    ended.ok_or_else(|| anyhow!("the gate says nothing more of the run"))
}

/// Has a source run, and follows the run until it is over. Fails if it failed or was quarantined.
async fn begin(
    client: &GateClient,
    source: &str,
    is_detached: bool,
    output: &Output,
) -> Result<ExitCode> {
    let answer = client.post(&format!("{}/run", path(source)), &Object::new().into()).await?;
    let run = number(&answer, "run");
    if is_detached {
        output.json(&answer);
        output.line(&format!("{} run {run} of {source}", output.good("asked for")));
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new("documents");
    let mut fruitless = 0;
    while fruitless < FRUITLESS_MAX {
        let (ended, heard) = follow(client, source, run, &mut progress, output).await?;
        if let Some(standing) = ended {
            drop(progress);
            return Ok(over(source, &standing, output));
        }
        fruitless = if heard { 0 } else { fruitless + 1 };
    }
    Err(anyhow!("the gate says nothing more of the run (hint: `lockgate sources show {source}`)"))
}

/// Follows a run over one connection. Gives how the source stands at its end, and whether anything
/// was heard.
async fn follow(
    client: &GateClient,
    source: &str,
    run: i64,
    progress: &mut Progress,
    output: &Output,
) -> Result<(Option<Json>, bool)> {
    let at = format!("{}/events?run={run}", path(source));
    let answer = client.open(http::Method::GET, &at, &[], Bytes::new()).await?;
    if !answer.status().is_success() {
        // What is wrong is said where one answer is expected.
        client.get(&path(source)).await?;
        return Err(anyhow!("the gate answered {}", answer.status()));
    }
    let limits = SseLimits { line_bytes_max: EVENT_BYTES_MAX, event_bytes_max: EVENT_BYTES_MAX };
    let (mut decoder, mut body) = (SseDecoder::new(limits), answer.into_body());
    let mut heard = false;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        let mut events: Vec<SseEvent> = Vec::new();
        decoder.push(&piece, &mut events).context("the gate's answer cannot be read")?;
        for event in events {
            heard = true;
            let data = event.data.unwrap_or_default();
            let standing = Json::parse(data.as_bytes(), &JsonLimits::OWN)?;
            let kind = event.event.unwrap_or_default();
            output.json(
                &Object::new()
                    .with("event", kind.as_str())
                    .with("standing", standing.clone())
                    .into(),
            );
            if kind == "ended" {
                return Ok((Some(standing), heard));
            }
            if let Some(running) = standing.get("running") {
                let count = |name: &str| u64::try_from(number(running, name)).unwrap_or(0);
                progress.at(count("done"), count("listed"));
            }
        }
    }
    Ok((None, heard))
}

fn over(source: &str, standing: &Json, output: &Output) -> ExitCode {
    let nothing = Json::Null;
    let last = standing.get("last").unwrap_or(&nothing);
    let (snapshot, documents) = (number(last, "snapshot"), number(last, "documents"));
    match text(last, "verdict") {
        "published" => {
            let line = format!("snapshot {snapshot} of {source} serves: {documents} documents");
            output.line(&format!("{} {line}", output.good("published")));
            ExitCode::SUCCESS
        }
        "quarantined" => {
            let hint = format!("see `lockgate sources show {source}`");
            let line = format!("snapshot {snapshot} of {source} does not serve: {hint}");
            output.line(&format!("{} {line}", output.bad("quarantined")));
            ExitCode::FAILURE
        }
        _ => {
            let why = format!("{}: {}", text(last, "code"), text(last, "reason"));
            output.line(&format!("{} {}", output.bad("failed"), marked(&why)));
            ExitCode::FAILURE
        }
    }
}
