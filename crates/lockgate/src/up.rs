//! `lockgate up`: the gate, wired together and kept running.

use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use lockgate_core::World;
use lockgate_core::declare::Gate as Declared;
use lockgate_core::world::Files;
use lockgate_effects::{EffectsSettings, Upstreams};
use lockgate_kernel::{Clock, Kernel, LoadError};
use lockgate_server::admin::Admin;
use lockgate_server::identity::{Authenticator, DevelopmentKey};
use lockgate_server::listen::{Listener, serve};
use lockgate_server::mcp::McpFace;
use lockgate_server::route::Gate;
use lockgate_store::{Durability, Options, Store};
use lockgate_types::Object;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the bundle's directory is looked at for changes.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How a gate is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whether commits wait for the disk. Off is for benchmarks, and printed as such.
    pub durability: Durability,
}

/// A running gate.
pub struct Running {
    gate: Arc<Gate>,
    place: Place,
    listeners: Vec<(String, bool)>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    watching: tokio::task::JoinHandle<()>,
}

/// Starts a gate and returns once it answers.
pub async fn start(place: &Place, start: Start) -> Result<Running> {
    let files = place.read_bundle()?;
    let world = compile(&files)?;
    let declared = world.gate.clone();
    let state = place.state();
    let (store, opened) = Store::open(Options {
        origin: origin(&declared),
        durability: start.durability,
        commit_queue_max: usize::try_from(declared.limits.commit_queue_max).unwrap_or(usize::MAX),
        ..Options::at(&state)
    })
    .context("opening the record")?;
    if !opened.was_clean {
        tracing::warn!(entries = opened.size, "the gate did not stop cleanly last time; the ledger says so");
    }
    let upstreams = Upstreams::new(EffectsSettings {
        state_directory: state.clone(),
        answer_bytes_max: usize::try_from(declared.limits.answer_bytes_max).unwrap_or(usize::MAX),
    });
    let kernel = Kernel::new(store, upstreams, Clock::system());
    kernel.adopt(world, &files).await.context("recording the bundle")?;
    let development = development_key(&declared, &state)?;
    let authenticator = Authenticator::new(&declared, &place.bundle, development.as_ref())
        .context("reading the issuers")?;
    let mut listeners = Vec::new();
    for listen in &declared.listen {
        listeners.push(Listener::open(listen, &place.bundle).await?);
    }
    if listeners.is_empty() {
        bail!("`lockgate.toml` has no `[[listen]]` (hint: add one with `address = \"127.0.0.1:7420\"`)");
    }
    let gate = Arc::new(Gate {
        mcp: McpFace::new(kernel.clone(), &declared.limits),
        admin: Admin::new(kernel.clone()),
        authenticator: ArcSwap::from_pointee(authenticator),
        limits: declared.limits.clone(),
        kernel,
    });
    let stop = CancellationToken::new();
    let addresses: Vec<_> = listeners.iter().map(|one| (one.url(), one.is_fixed())).collect();
    write_running(place, &addresses)?;
    let serving = tokio::spawn(serve(Arc::clone(&gate), listeners, stop.clone()));
    let watching = tokio::spawn(watch(Arc::clone(&gate), place.clone(), stop.clone()));
    Ok(Running { gate, place: place.clone(), listeners: addresses, stop, serving, watching })
}

impl Running {
    /// The first address that reads tokens, else the first.
    pub fn url(&self) -> &str {
        let with_tokens = self.listeners.iter().find(|(_, is_fixed)| !is_fixed);
        with_tokens.or(self.listeners.first()).map_or("", |(url, _)| url.as_str())
    }

    /// Waits for a signal, then stops.
    pub async fn until_signal(self) -> Result<()> {
        wait_for_signal().await?;
        self.stop().await
    }

    /// Lets calls finish, closes the record.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.watching.await.context("the watch ended badly")?;
        self.serving.await.context("serving ended badly")?;
        let _ = std::fs::remove_file(self.place.running_file());
        self.gate.kernel.upstreams().close().await;
        self.gate.kernel.store().clone().close().await.context("closing the record")
    }

    /// Prints where the gate is and what it protects.
    pub fn print(&self, output: &Output) {
        let world = self.gate.kernel.world();
        for (url, is_fixed) in &self.listeners {
            let note = if *is_fixed { " (one fixed identity)" } else { "" };
            output.line(&format!("listening at {url}/mcp{note}"));
        }
        let Some(world) = world else { return };
        for name in world.gate.upstream.keys() {
            let prefix = format!("{name}/");
            let tools = world.operations.iter().filter(|(o, _)| o.as_str().starts_with(&prefix));
            let (mut all, mut accepted) = (0, 0);
            for (_, operation) in tools {
                all += 1;
                accepted += usize::from(operation.accepted);
            }
            output.line(&format!(
                "protecting `{name}` at {}/mcp/{name}: {all} tools declared, {accepted} accepted",
                self.url()
            ));
        }
        output.line(&format!("bundle {}", world.digest.short()));
    }
}

async fn wait_for_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for signals"),
        _ = terminate.recv() => Ok(()),
    }
}

fn compile(files: &Files) -> Result<World> {
    World::load(files).map_err(|mistakes| anyhow!(crate::check::report(&mistakes)))
}

fn origin(declared: &Declared) -> String {
    let named = declared.origin.clone();
    named.unwrap_or_else(|| format!("lockgate.local/{}/{}", declared.tenant, declared.environment))
}

fn development_key(declared: &Declared, state: &Path) -> Result<Option<DevelopmentKey>> {
    if declared.development.is_none() {
        return Ok(None);
    }
    DevelopmentKey::open(state).context("opening the development issuer's key").map(Some)
}

/// Loads a changed bundle; a broken one is refused and the last good one stays.
async fn watch(gate: Arc<Gate>, place: Place, stop: CancellationToken) {
    let mut seen = gate.kernel.world().map(|world| world.digest);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        let read = tokio::task::spawn_blocking({
            let place = place.clone();
            move || place.read_bundle()
        });
        let Ok(Ok(files)) = read.await else { continue };
        let digest = lockgate_core::world::digest_of(&files);
        if seen == Some(digest) {
            continue;
        }
        seen = Some(digest);
        reload(&gate, &place, files).await;
    }
}

async fn reload(gate: &Gate, place: &Place, files: Files) {
    match gate.kernel.load(files).await {
        Ok(digest) => tracing::info!(bundle = %digest.short(), "a changed bundle rules now"),
        Err(LoadError::Mistakes(mistakes)) => {
            for mistake in &mistakes {
                tracing::error!("{mistake}");
            }
            tracing::error!("the changed bundle was refused; the last good one stays");
            return;
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the bundle was not loaded");
            return;
        }
    }
    let Some(world) = gate.kernel.world() else { return };
    let Ok(development) = development_key(&world.gate, &place.state()) else { return };
    match Authenticator::new(&world.gate, &place.bundle, development.as_ref()) {
        Ok(authenticator) => gate.authenticator.store(Arc::new(authenticator)),
        Err(error) => {
            tracing::error!(%error, "the issuers were not changed");
        }
    }
}

/// Leaves the addresses where other commands on this machine look for them.
fn write_running(place: &Place, listeners: &[(String, bool)]) -> Result<()> {
    let with_tokens = listeners.iter().find(|(_, is_fixed)| !is_fixed).or(listeners.first());
    let Some((url, _)) = with_tokens else { return Ok(()) };
    let running = Object::new().with("pid", i64::from(std::process::id())).with("url", url.as_str());
    let path = place.running_file();
    std::fs::write(&path, lockgate_types::Json::from(running).to_bytes())
        .with_context(|| format!("writing `{}`", path.display()))
}
