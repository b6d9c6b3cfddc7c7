//! Records, looked at: `trace`, `replay`, `export`.

use crate::client::{GateArguments, GateClient};
use crate::explain;
use crate::logs;
use crate::output::{Output, Progress, counted};
use crate::place::Place;
use crate::verify::{self, Remote};
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockgate_core::World;
use lockgate_core::decide::decide;
use lockgate_core::world::Files;
use lockgate_ledger::VerifierKey;
use lockgate_types::facts::Facts;
use lockgate_types::{Digest, Json, JsonLimits, Object, Tenant};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Records asked for at once.
const PAGE: u64 = 500;

/// Differences that are printed; all are counted.
const DIFFERENCES_SHOWN_MAX: usize = 20;

/// Arguments of `lockgate trace`.
#[derive(clap::Args)]
pub(crate) struct ChainArguments {
    #[command(flatten)]
    of: TraceArguments,
    /// Show what led to what, a line each, instead of every entry
    #[arg(long)]
    chain: bool,
}

/// Arguments of `lockgate trace` and `lockgate explain`.
#[derive(clap::Args)]
pub(crate) struct TraceArguments {
    /// The call: its id is in every answer and refusal
    pub(crate) call: String,
    #[command(flatten)]
    pub(crate) gate: GateArguments,
}

/// Arguments of `lockgate replay`.
#[derive(clap::Args)]
pub(crate) struct ReplayArguments {
    /// Decide under this bundle instead of the one that ruled then
    #[arg(long, value_name = "DIR")]
    under: Option<PathBuf>,
    /// Records of `lockgate export --records`. Unset: the running gate's
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Print a digest of all decisions made anew: equal digests are equal bytes
    #[arg(long)]
    digest: bool,
    #[command(flatten)]
    gate: GateArguments,
}

/// Arguments of `lockgate export`.
#[derive(clap::Args)]
pub(crate) struct ExportArguments {
    /// Where the tiles and the checkpoint of the gate's log go; those of tenants below
    /// `tenants/`
    #[arg(required_unless_present_any = ["records", "proof"])]
    directory: Option<PathBuf>,
    /// Write records with their facts, one JSON line each, for `lockgate replay --records`
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Write the proof of one entry, for `lockgate verify --proof`
    #[arg(long, value_name = "INDEX")]
    proof: Option<u64>,
    /// Export only the log of this tenant, or prove an entry of it
    #[arg(long, value_name = "NAME", conflicts_with = "records")]
    tenant: Option<Tenant>,
    #[command(flatten)]
    gate: GateArguments,
}

pub(crate) fn ask(arguments: &GateArguments, place: &Place, path: &str) -> Result<Json> {
    let client = GateClient::new(arguments, place)?;
    crate::runtime()?.block_on(client.get(path))
}

/// Runs `lockgate trace`.
pub(crate) fn trace(
    arguments: &ChainArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let ChainArguments { of, chain: is_chain } = arguments;
    let client = GateClient::new(&of.gate, place)?;
    let runtime = crate::runtime()?;
    let trace = runtime.block_on(client.get(&format!("/v1/traces/{}", of.call)))?;
    output.json(&trace);
    if *is_chain {
        for line in runtime.block_on(crate::chain::of(&client, &trace, output))? {
            output.line(&line);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let entries = trace.get("entries").and_then(Json::as_array).unwrap_or_default();
    for entry in entries {
        let leaf = entry.get("leaf").cloned().unwrap_or(Json::Null);
        let text =
            |name: &str| leaf.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let index = entry.get("index").and_then(Json::as_i64).unwrap_or(0);
        let of = entry.get("tenant").and_then(Json::as_str);
        let of = of.map(|tenant| format!("  {tenant}")).unwrap_or_default();
        let at = leaf.get("t").and_then(Json::as_i64).map(time).unwrap_or_default();
        output.line(&format!("{index:>8}  {at}  {:<8} {}{of}", text("k"), text("operation")));
        output.line(&output.faint(&format!("          {leaf}")));
        if let Some(label) = leaf.get("label") {
            output.line(&format!("          met: {}", explain::label(label)));
        }
        for (part, value) in
            entry.get("payload").and_then(Json::as_object).iter().flat_map(|o| o.iter())
        {
            output.line(&format!("          {part}: {value}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn time(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |at| at.to_string())
}

/// Runs `lockgate replay`.
pub(crate) fn replay(
    arguments: &ReplayArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let under = match &arguments.under {
        Some(directory) => Some(world_at(directory)?),
        None => None,
    };
    let replay = match &arguments.records {
        Some(file) => replay_file(file, under)?,
        None => {
            let client = GateClient::new(&arguments.gate, place)?;
            crate::runtime()?.block_on(replay_gate(&client, under))?
        }
    };
    for difference in &replay.shown {
        output.line(&format!("{} {}", output.bad("differs"), difference.describe()));
    }
    output.line(&replay.to_string());
    if arguments.digest {
        output.line(&format!("decisions {}", replay.digest()));
    }
    output.json(&replay.to_json());
    let is_same = replay.differences == 0 || arguments.under.is_some();
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Replays what a running gate has recorded; what the demo shows.
pub(crate) async fn replay_running(client: &GateClient) -> Result<String> {
    let replay = replay_gate(client, None).await?;
    if replay.differences > 0 {
        bail!("{replay}");
    }
    Ok(replay.to_string())
}

fn world_at(directory: &std::path::Path) -> Result<World> {
    let files = Place::at(directory.to_owned()).read_bundle()?;
    World::load(&files).map_err(|mistakes| anyhow!(crate::check::report(&mistakes)))
}

/// Decisions made anew.
struct Replay {
    under: Option<World>,
    worlds: BTreeMap<String, World>,
    decided: u64,
    erased: u64,
    /// Refused calls that are not kept.
    too_large: u64,
    differences: u64,
    shown: Vec<Difference>,
    all: Vec<u8>,
}

/// A decision that came out otherwise.
struct Difference {
    call: String,
    operation: String,
    then: Json,
    now: Json,
}

impl Difference {
    fn describe(&self) -> String {
        let side = |json: &Json| {
            let text =
                |path: &[&str]| json.at(path).and_then(Json::as_str).unwrap_or_default().to_owned();
            let code = text(&["denial", "code"]);
            let policies = json.get("policies").map(Json::to_string).unwrap_or_default();
            format!("{} {code} {policies}", text(&["verdict"]))
        };
        format!("{} {}: {} -> {}", self.call, self.operation, side(&self.then), side(&self.now))
    }
}

impl Replay {
    fn new(under: Option<World>) -> Self {
        Self {
            under,
            worlds: BTreeMap::new(),
            decided: 0,
            erased: 0,
            too_large: 0,
            differences: 0,
            shown: Vec::new(),
            all: Vec::new(),
        }
    }

    /// The bundle that a record was decided under, if this replay needs it and does not have it.
    fn needs_bundle(&self, record: &Json) -> Option<String> {
        let bundle = record.at(&["decision", "bundle"]).and_then(Json::as_str)?;
        let is_known = self.under.is_some() || self.worlds.contains_key(bundle);
        (!is_known).then(|| bundle.to_owned())
    }

    fn add_bundle(&mut self, digest: String, files: &Files) -> Result<()> {
        let world =
            World::load(files).map_err(|mistakes| anyhow!(crate::check::report(&mistakes)))?;
        if world.digest.to_string() != digest {
            bail!("the bundle kept as {digest} is another: {}", world.digest);
        }
        self.worlds.insert(digest, world);
        Ok(())
    }

    fn take(&mut self, record: &Json) -> Result<()> {
        let Some(then) = record.get("decision") else {
            match record.get("too_large") {
                Some(_) => self.too_large += 1,
                None => self.erased += 1,
            }
            return Ok(());
        };
        let facts = record.get("facts").and_then(|facts| {
            Facts::from_parts(facts.get("identity")?, facts.get("call")?, facts.get("moment")?)
        });
        let Some(facts) = facts else {
            self.erased += 1;
            return Ok(());
        };
        let bundle = then.get("bundle").and_then(Json::as_str).unwrap_or_default();
        let world = self.under.as_ref().or_else(|| self.worlds.get(bundle));
        let world = world.with_context(|| format!("the bundle {bundle} is not there"))?;
        let mut decision = decide(world, &facts);
        if self.under.is_some() {
            // Under another bundle the digest differs by definition; what matters is what would be
            // decided.
            decision.bundle = bundle.parse().context("reading the recorded bundle digest")?;
        }
        let now = decision.to_canonical();
        self.decided += 1;
        self.all.extend_from_slice(&now);
        self.all = Digest::of(&self.all).as_bytes().to_vec();
        if now != then.to_canonical() {
            self.differences += 1;
            if self.shown.len() < DIFFERENCES_SHOWN_MAX {
                self.shown.push(Difference {
                    call: facts.call.id.as_str().to_owned(),
                    operation: facts.call.operation.as_str().to_owned(),
                    then: then.clone(),
                    now: decision.to_json(),
                });
            }
        }
        Ok(())
    }

    fn digest(&self) -> String {
        Digest::of(&self.all).to_string()
    }

    fn to_json(&self) -> Json {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let shown = self.shown.iter().map(|difference| {
            Object::new()
                .with("call", difference.call.as_str())
                .with("operation", difference.operation.as_str())
                .with("then", difference.then.clone())
                .with("now", difference.now.clone())
                .into()
        });
        Object::new()
            .with("decided", int(self.decided))
            .with("differences", int(self.differences))
            .with("erased", int(self.erased))
            .with("too_large", int(self.too_large))
            .with("digest", self.digest())
            .with("shown", Json::Array(shown.collect()))
            .into()
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = counted(self.differences, "difference");
        write!(f, "{} made anew: {differences}", counted(self.decided, "decision"))?;
        if self.erased > 0 {
            write!(f, ", {} erased", self.erased)?;
        }
        if self.too_large > 0 {
            write!(f, ", {} refused and too large to be kept", self.too_large)?;
        }
        Ok(())
    }
}

async fn replay_gate(client: &GateClient, under: Option<World>) -> Result<Replay> {
    let mut replay = Replay::new(under);
    let mut progress = Progress::new("deciding anew");
    let mut from = 0;
    // Reading is recorded too: the end is where it was when the reading began.
    let mut until = String::new();
    loop {
        let page = client.get(&format!("/v1/records?from={from}&max={PAGE}{until}")).await?;
        for record in page.get("records").and_then(Json::as_array).unwrap_or_default() {
            if let Some(digest) = replay.needs_bundle(record) {
                let files = bundle(&client.get(&format!("/v1/bundles/{digest}")).await?)?;
                replay.add_bundle(digest, &files)?;
            }
            replay.take(record)?;
        }
        let size = page.get("size").and_then(Json::as_i64).unwrap_or(0);
        if until.is_empty() {
            until = format!("&until={size}");
        }
        let Some(next) = page.get("next").and_then(Json::as_i64) else { return Ok(replay) };
        progress.at(u64::try_from(next).unwrap_or(0), u64::try_from(size).unwrap_or(0));
        from = next;
    }
}

/// An exported file: a line for each bundle, then a line for each record.
fn replay_file(path: &std::path::Path, under: Option<World>) -> Result<Replay> {
    let file =
        std::fs::File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    let mut replay = Replay::new(under);
    for line in std::io::BufReader::new(file).lines() {
        let line = line.context("reading a record")?;
        let record = Json::parse(line.as_bytes(), &JsonLimits::OWN).context("reading a record")?;
        match record.get("files") {
            Some(_) if replay.under.is_none() => {
                let digest =
                    record.get("digest").and_then(Json::as_str).unwrap_or_default().to_owned();
                replay.add_bundle(digest, &bundle(&record)?)?;
            }
            Some(_) => {}
            None => replay.take(&record)?,
        }
    }
    Ok(replay)
}

fn bundle(json: &Json) -> Result<Files> {
    let files = json.get("files").and_then(Json::as_object).context("a bundle has no files")?;
    let mut read = Files::new();
    for (path, content) in files.iter() {
        let content = content.as_str().context("a file of a bundle is not base64")?;
        read.insert(
            path.to_owned(),
            BASE64.decode(content).context("a file of a bundle is not base64")?,
        );
    }
    Ok(read)
}

/// Runs `lockgate export`.
pub(crate) fn export(
    arguments: &ExportArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let answer = crate::runtime()?.block_on(async {
        let mut answer = Object::new();
        if let Some(directory) = &arguments.directory {
            let tenant = arguments.tenant.as_ref();
            export_tiles(&client, tenant, directory, &mut answer, output).await?;
        }
        if let Some(file) = &arguments.records {
            let count = export_records(&client, file).await?;
            output.line(&format!("{count} records in `{}`", file.display()));
            answer.set("records", count);
            answer.set("file", file.display().to_string());
        }
        if let Some(index) = arguments.proof {
            let whose = logs::query(arguments.tenant.as_ref());
            let proof = client.get_bytes(&format!("/v1/ledger/proof/{index}{whose}")).await?;
            let proof = String::from_utf8_lossy(&proof);
            // A line ends itself, and the format knows exactly one end.
            output.line(proof.trim_end());
            answer.set("proof", &*proof);
        }
        Ok::<_, anyhow::Error>(answer)
    })?;
    output.json(&answer.into());
    Ok(ExitCode::SUCCESS)
}

async fn export_tiles(
    client: &GateClient,
    tenant: Option<&Tenant>,
    directory: &std::path::Path,
    answer: &mut Object,
    output: &Output,
) -> Result<()> {
    let key = logs::key(client, tenant).await?;
    let size = export_log(client, tenant, &key, directory).await?;
    output.line(&format!("{size} entries in `{}`", directory.display()));
    if tenant.is_none() {
        for tenant in logs::of_gate(client, Vec::new()).await?.iter().flatten() {
            let key = logs::key_of_tenant(&key, tenant)?;
            let directory = directory.join(logs::TENANTS).join(tenant.as_str());
            let size = export_log(client, Some(tenant), &key, &directory).await?;
            output.line(&format!("{size} entries in `{}`", directory.display()));
        }
    }
    output.line(&format!("check them with: lockgate verify {} --key {key}", directory.display()));
    answer.set("size", i64::try_from(size)?);
    answer.set("key", key.to_string());
    Ok(())
}

async fn export_log(
    client: &GateClient,
    tenant: Option<&Tenant>,
    key: &VerifierKey,
    directory: &std::path::Path,
) -> Result<u64> {
    let store = Remote::new(client.clone(), tenant);
    let (key, target) = (key.clone(), directory.to_owned());
    let exporting = tokio::task::spawn_blocking(move || verify::export(&store, &key, &target));
    exporting.await.context("the export was cancelled")?
}

async fn export_records(client: &GateClient, path: &std::path::Path) -> Result<i64> {
    let file =
        std::fs::File::create(path).with_context(|| format!("writing `{}`", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    let (mut from, mut count) = (0, 0);
    let mut until = String::new();
    let mut bundles = std::collections::BTreeSet::new();
    loop {
        let page = client.get(&format!("/v1/records?from={from}&max={PAGE}{until}")).await?;
        if until.is_empty() {
            let size = page.get("size").and_then(Json::as_i64).unwrap_or(0);
            until = format!("&until={size}");
        }
        for record in page.get("records").and_then(Json::as_array).unwrap_or_default() {
            let digest = record.at(&["decision", "bundle"]).and_then(Json::as_str);
            if let Some(digest) = digest.filter(|digest| bundles.insert((*digest).to_owned())) {
                let bundle = client.get(&format!("/v1/bundles/{digest}")).await?;
                writeln!(file, "{bundle}")?;
            }
            writeln!(file, "{record}")?;
            count += 1;
        }
        match page.get("next").and_then(Json::as_i64) {
            Some(next) => from = next,
            None => {
                file.flush()?;
                return Ok(count);
            }
        }
    }
}
