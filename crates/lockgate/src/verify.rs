//! `lockgate verify`: the ledger, checked without trust in the gate that wrote it.
//!
//! Offline from exported tiles, or over a running gate's tiles read through its admin API. Either
//! way whole logs are hashed here, that of the gate and those of tenants; the gate's word is taken
//! for nothing. The heads seen last are remembered beside the state, so that a log whose tail was
//! cut off, or that is gone, is found out the next time.

use crate::client::{GateArguments, GateClient};
use crate::logs;
use crate::output::{Output, Progress};
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use lockgate_ledger::verify::read_checkpoint;
use lockgate_ledger::{
    ByteStore, Checkpoint, EntryProof, Report, VerifierKey, VerifyError, verify_log, verify_range,
};
use lockgate_types::{Json, Object, Tenant};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `lockgate verify`.
#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// A directory with `checkpoint` and `tile/`, as `lockgate export` writes it. Unset: a running
    /// gate
    directory: Option<PathBuf>,
    /// The verifier key of the gate: `name+id+key`, or a file that holds it. Must come another way
    /// than the log
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Check only the log of this tenant. Unset: every log there is
    #[arg(long, value_name = "NAME")]
    tenant: Option<Tenant>,
    /// A checkpoint that was seen earlier: the log of the gate, or of the tenant, must continue it
    #[arg(long, value_name = "FILE")]
    remembered: Option<PathBuf>,
    /// Check only these entries of the log of the gate, or of the tenant, and the tiles above them:
    /// `100..200`
    #[arg(long, value_name = "FROM..TO")]
    range: Option<String>,
    /// Check one proof: a file of `lockgate export --proof`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["range", "directory"])]
    proof: Option<PathBuf>,
    #[command(flatten)]
    gate: GateArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &VerifyArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    if let Some(proof) = &arguments.proof {
        return verify_proof(proof, arguments, output);
    }
    let all = match &arguments.directory {
        Some(directory) => verify_directory(arguments, directory)?,
        None => crate::runtime()?.block_on(verify_gate(arguments, place))?,
    };
    report(all, output)
}

fn verify_directory(arguments: &VerifyArguments, directory: &Path) -> Result<Vec<Checked>> {
    let key = verifier(arguments.key.as_deref())?;
    let remembered = arguments.remembered.as_deref().map(read_file).transpose()?;
    let asked = (remembered.as_deref(), arguments.range.as_deref());
    let root = Directory(directory.to_owned());
    if let Some(tenant) = &arguments.tenant {
        let key = logs::key_of_tenant(&key, tenant)?;
        let verified = check(&root, &key, asked.0, asked.1)?;
        return Ok(vec![Checked { tenant: Some(tenant.clone()), verified }]);
    }
    let mut all = vec![Checked { tenant: None, verified: check(&root, &key, asked.0, asked.1)? }];
    if arguments.range.is_none() {
        for (tenant, path) in logs::exported(directory)? {
            let key = logs::key_of_tenant(&key, &tenant)?;
            let verified = check(&Directory(path), &key, None, None)?;
            all.push(Checked { tenant: Some(tenant), verified });
        }
    }
    Ok(all)
}

async fn verify_gate(arguments: &VerifyArguments, place: &Place) -> Result<Vec<Checked>> {
    let client = GateClient::new(&arguments.gate, place)?;
    // Of the log that is asked for: who may read that alone may read no other's key.
    let asked_key = match &arguments.key {
        Some(key) => logs::key_of(&verifier(Some(key))?, arguments.tenant.as_ref())?,
        None => logs::key(&client, arguments.tenant.as_ref()).await?,
    };
    let memory = Memory(place.state());
    let tenants = match (&arguments.tenant, &arguments.range) {
        (Some(tenant), _) => vec![Some(tenant.clone())],
        (None, Some(_)) => vec![None],
        (None, None) => logs::of_gate(&client, memory.tenants()).await?,
    };
    let given = arguments.remembered.as_deref().map(read_file).transpose()?;
    let mut all = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let is_asked = tenant == arguments.tenant;
        let given = given.clone().filter(|_| is_asked);
        let key = match &tenant {
            Some(tenant) if !is_asked => logs::key_of_tenant(&asked_key, tenant)?,
            _ => asked_key.clone(),
        };
        let remembered = given.or_else(|| memory.read(tenant.as_ref()));
        let store = Remote::new(client.clone(), tenant.as_ref());
        let range = arguments.range.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let verified = check(&store, &key, remembered.as_deref(), range.as_deref())?;
            let note = store.get("checkpoint").context("reading the checkpoint")?;
            Ok::<_, anyhow::Error>((verified, note))
        });
        let (verified, note) = checking.await.context("the check was cancelled")??;
        if let (Ok(_), Some(note)) = (&verified, note) {
            memory.write(tenant.as_ref(), &note);
        }
        all.push(Checked { tenant, verified });
    }
    Ok(all)
}

/// The heads that were seen last, beside the state.
struct Memory(PathBuf);

impl Memory {
    fn path(&self, tenant: Option<&Tenant>) -> PathBuf {
        self.0.join(match tenant {
            None => "verified.checkpoint".to_owned(),
            Some(tenant) => format!("verified.{tenant}.checkpoint"),
        })
    }

    fn read(&self, tenant: Option<&Tenant>) -> Option<String> {
        std::fs::read_to_string(self.path(tenant)).ok()
    }

    /// Remembering is a help, not a duty: a state directory of somebody else's stays as it is.
    fn write(&self, tenant: Option<&Tenant>, note: &[u8]) {
        let _ = std::fs::write(self.path(tenant), note);
    }

    /// The tenants whose logs were seen before: they must still be there.
    fn tenants(&self) -> Vec<Tenant> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let tenants = names.filter_map(|name| {
            Tenant::new(name.strip_prefix("verified.")?.strip_suffix(".checkpoint")?).ok()
        });
        tenants.collect()
    }
}

/// A log that was checked, and what was found: the report, or the finding.
struct Checked {
    /// `None`: the gate's own.
    tenant: Option<Tenant>,
    verified: Verified,
}

type Verified = std::result::Result<Report, VerifyError>;

fn check(
    store: &dyn ByteStore,
    key: &VerifierKey,
    remembered: Option<&str>,
    range: Option<&str>,
) -> Result<Verified> {
    let remembered = remembered
        .map(|note| Checkpoint::open(note.as_bytes(), key))
        .transpose()
        .context("the remembered checkpoint is not one of this key's")?;
    let mut progress = Progress::new("verifying entries");
    let mut tell = |done, all| progress.at(done, all);
    Ok(match range {
        None => verify_log(store, key, remembered.as_ref(), &mut tell),
        Some(text) => {
            let range = text
                .split_once("..")
                .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
            let range =
                range.with_context(|| format!("`{text}` is not a range like `100..200`"))?;
            verify_range(store, key, remembered.as_ref(), range, &mut tell)
        }
    })
}

/// Says of each log what was found, the worst last of all: whether everything is right.
fn report(all: Vec<Checked>, output: &Output) -> Result<ExitCode> {
    let is_good = all.iter().all(|checked| checked.verified.is_ok());
    let mut found = Vec::with_capacity(all.len());
    for Checked { tenant, verified } in &all {
        let of = tenant.as_ref().map(|tenant| format!("the log of the tenant `{tenant}`: "));
        let json = match verified {
            Ok(report) => {
                output.line(&format!("{} {}", output.good("verified"), Summary(report)));
                summary(report)
            }
            Err(error) => {
                let (code, reason) = (error.code(), chain(error));
                let of = of.unwrap_or_default();
                output.line(&format!("{} {code}: {of}{reason}", output.bad("rejected")));
                output.line(&format!("what to do: {}", error.remedy()));
                Object::new()
                    .with("verified", false)
                    .with("code", code.as_str())
                    .with("reason", reason)
                    .with("remedy", error.remedy())
            }
        };
        let json = json.with_some("tenant", tenant.as_ref().map(Tenant::as_str));
        found.push(Json::from(json));
    }
    match found.as_slice() {
        [only] => output.json(only),
        _ => output.json(&Object::new().with("verified", is_good).with("logs", found).into()),
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn summary(report: &Report) -> Object {
    let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Object::new()
        .with("verified", true)
        .with("origin", report.checkpoint.origin.as_str())
        .with("size", int(report.checkpoint.size))
        .with("root", report.checkpoint.root.to_string())
        .with("entries", int(report.entries))
        .with("tiles", int(report.tiles))
        .with_some("continues", report.continues.map(int))
}

struct Summary<'a>(&'a Report);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { checkpoint, continues, entries, tiles } = self.0;
        write!(f, "{entries} entries and {tiles} tiles of the log `{}`", checkpoint.origin)?;
        write!(f, ", {} entries under root {}", checkpoint.size, checkpoint.root.short())?;
        match continues {
            Some(size) => write!(f, ", continuing the {size} seen before"),
            None => Ok(()),
        }
    }
}

/// Verifies the log of a running gate; what the demo shows.
pub(crate) async fn verify_running(client: &GateClient) -> Result<String> {
    let key = logs::key(client, None).await?;
    let store = Remote::new(client.clone(), None);
    let checking = tokio::task::spawn_blocking(move || check(&store, &key, None, None));
    match checking.await.context("the check was cancelled")?? {
        Ok(report) => Ok(Summary(&report).to_string()),
        Err(error) => bail!("{}: {}", error.code(), chain(&error)),
    }
}

fn verify_proof(file: &Path, arguments: &VerifyArguments, output: &Output) -> Result<ExitCode> {
    let key = verifier(arguments.key.as_deref())?;
    let key = logs::key_of(&key, arguments.tenant.as_ref())?;
    let proof = EntryProof::parse(&read_file(file)?).context("reading the proof")?;
    match proof.verify(&key) {
        Ok((entry, checkpoint)) => {
            output.line(&format!(
                "{} entry {} of `{}`, under the checkpoint of {} entries:",
                output.good("verified"),
                proof.index,
                checkpoint.origin,
                checkpoint.size
            ));
            output.line(&String::from_utf8_lossy(entry));
            output.json(&Object::new().with("verified", true).into());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            output.line(&format!("{} {}", output.bad("rejected"), chain(&error)));
            output
                .json(&Object::new().with("verified", false).with("reason", chain(&error)).into());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn verifier(key: Option<&str>) -> Result<VerifierKey> {
    let Some(key) = key else {
        bail!(
            "an exported log needs its verifier key (hint: `--key`, the text or a file; \
             the gate keeps it in `log.vkey` of its state directory)"
        );
    };
    let text = match std::fs::read_to_string(key) {
        Ok(text) => text,
        Err(_) => key.to_owned(),
    };
    text.trim().parse().with_context(|| format!("`{key}` is not a verifier key"))
}

fn read_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))
}

/// An exported log.
struct Directory(PathBuf);

impl ByteStore for Directory {
    fn get(&self, path: &str) -> std::result::Result<Option<Vec<u8>>, std::io::Error> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A log of a running gate, as far as its checkpoint reached when the check began.
pub(crate) struct Remote {
    client: GateClient,
    /// The query that says whose log.
    whose: String,
    runtime: tokio::runtime::Handle,
    checkpoint: std::sync::OnceLock<Vec<u8>>,
}

impl Remote {
    /// Must be made within a runtime and used from a blocking thread.
    pub(crate) fn new(client: GateClient, tenant: Option<&Tenant>) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let checkpoint = std::sync::OnceLock::new();
        Self { client, whose: logs::query(tenant), runtime, checkpoint }
    }
}

impl ByteStore for Remote {
    fn get(&self, path: &str) -> std::result::Result<Option<Vec<u8>>, std::io::Error> {
        // The log grows while it is checked: the head stays the one that was read first.
        if let (true, Some(first)) = (path == "checkpoint", self.checkpoint.get()) {
            return Ok(Some(first.clone()));
        }
        let path_there = format!("/v1/ledger/{path}{}", self.whose);
        let asked = self.client.send(http::Method::GET, &path_there, &[], bytes::Bytes::new());
        let answered = self.runtime.block_on(asked).map_err(std::io::Error::other)?;
        match answered.status {
            http::StatusCode::OK => {
                let bytes = answered.body.to_vec();
                if path == "checkpoint" {
                    let _ = self.checkpoint.set(bytes.clone());
                }
                Ok(Some(bytes))
            }
            http::StatusCode::NOT_FOUND => Ok(None),
            status => Err(std::io::Error::other(format!("the gate answered {status}"))),
        }
    }
}

/// Copies a log to a directory, as far as its checkpoint reaches: every tile and bundle, and the
/// checkpoint last.
pub(crate) fn export(store: &dyn ByteStore, key: &VerifierKey, directory: &Path) -> Result<u64> {
    let checkpoint = read_checkpoint(store, key).map_err(|error| anyhow!(chain(&error)))?;
    let mut progress = Progress::new("exporting tiles");
    let all = lockgate_ledger::tiles::paths_count(checkpoint.size);
    for (done, path) in (0..).zip(lockgate_ledger::tiles::paths(checkpoint.size)) {
        let bytes = store.get(&path)?.with_context(|| format!("the log has no `{path}`"))?;
        write(&directory.join(&path), &bytes)?;
        progress.at(done, all);
    }
    let note = store.get("checkpoint")?.context("the log has no checkpoint")?;
    write(&directory.join("checkpoint"), &note)?;
    Ok(checkpoint.size)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("writing `{}`", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    std::fs::write(path, bytes).with_context(failed)
}
