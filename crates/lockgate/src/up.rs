//! `lockgate up`: the gate, wired together and kept running.

use crate::announce;
use crate::output::Output;
use crate::place::Place;
use crate::reload::{Reloader, authenticator, compile};
use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use lockgate_core::World;
use lockgate_core::declare::{Gate as Declared, Secret};
use lockgate_core::world::Files;
use lockgate_effects::{EffectsSettings, Upstreams};
use lockgate_kernel::{Bringing, Clock, Kernel, Reader, system_now};
use lockgate_server::admin::Admin;
use lockgate_server::awake::{self, Awake};
use lockgate_server::console::Console;
use lockgate_server::lanes::Lanes;
use lockgate_server::listen::{Listener, serve};
use lockgate_server::mcp::McpFace;
use lockgate_server::route::Gate;
use lockgate_server::webhook;
use lockgate_store::{Durability, Options, Store};
use lockgate_types::{Code, Redacted, Tenant};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Bytes of a node's name.
const NODE_NAME_MAX: usize = 63;
/// How often it is looked for effects in doubt.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// The first argument of the process that reads documents, which is this program.
pub(crate) const READER: &str = "read-documents-confined";
/// This program, also where its file was replaced meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What that process's allocator is told: to start no thread. What is bounded and confined there is
/// one thread, and it has nothing to give back before it ends.
const ALLOCATOR: (&str, &str) = ("_RJEM_MALLOC_CONF", "background_thread:false");

/// How a gate is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The node's name in its fleet. `None`: the machine's.
    pub node: Option<String>,
    /// Whether commits wait for the disk. Off is for benchmarks, and printed as such.
    pub durability: Durability,
    /// How long processors are kept awake after a call has moved. `None`: if it is worth it here.
    pub awake: Option<Duration>,
    /// What ends it.
    pub stops: Stops,
}

impl Start {
    fn awake(&self) -> Option<Awake> {
        let usually = || if awake::is_worth_it() { awake::AWAKE_USUALLY } else { Duration::ZERO };
        let lasting = self.awake.unwrap_or_else(usually);
        (!lasting.is_zero()).then(|| Awake::start(lasting)).flatten()
    }
}

/// What ends a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    /// A signal, from the moment that it answers.
    BySignal,
    /// Whoever started it. A signal ends the program, until somebody waits for one.
    ByCaller,
}

/// A running gate.
pub(crate) struct Running {
    gate: Arc<Gate>,
    place: Place,
    listeners: Vec<(String, bool)>,
    signals: Option<Signals>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    watching: tokio::task::JoinHandle<()>,
    settling: tokio::task::JoinHandle<()>,
    telling: tokio::task::JoinHandle<()>,
    tending: tokio::task::JoinHandle<()>,
    bringing: tokio::task::JoinHandle<()>,
    lanes: Arc<Lanes>,
}

/// Starts a gate and returns once it answers.
pub(crate) async fn start(place: &Place, start: Start) -> Result<Running> {
    let files = place.read_bundle()?;
    let world = compile(&files)?;
    let declared = world.gate.clone();
    warn_of_unset(&declared);
    let state = place.state();
    let store = open_store(&declared, place, &start).await?;
    let upstreams = Upstreams::new(EffectsSettings::new(state.clone()));
    let kernel = Kernel::new(store, upstreams, Clock::system());
    kernel.keep_documents_in(state);
    kernel.bring_in(bringing(place));
    let declared = adopt_or_follow(&kernel, world, &files).await?;
    let channels = Arc::new(webhook::Channels::default());
    channels.check(&declared).await.context("reading the secrets of webhooks")?;
    let authenticator = Arc::new(ArcSwap::from_pointee(authenticator(&declared, place)?));
    let taken_along = (Arc::clone(&authenticator), Arc::clone(&channels));
    let reloader = Reloader::new(place.clone(), kernel.clone(), taken_along);
    // Whoever sees that it answers may ask it to stop.
    let signals = match start.stops {
        Stops::BySignal => Some(Signals::hear()?),
        Stops::ByCaller => None,
    };
    let listeners = listeners(&declared, place).await?;
    let gate = Arc::new(Gate {
        mcp: McpFace::new(kernel.clone(), "mcp")
            .map_err(|code| anyhow!("the MCP face cannot start: {code}"))?,
        admin: admin(&kernel, &reloader),
        console: Console::default(),
        channels: Arc::clone(&channels),
        authenticator,
        limits: declared.limits.clone(),
        kernel,
    });
    let stop = CancellationToken::new();
    let addresses: Vec<_> = listeners.iter().map(|one| (one.url(), one.is_fixed())).collect();
    write_running(place, &gate.kernel, &addresses)?;
    let lanes = Arc::new(
        Lanes::start(start.awake()).context("starting the threads that serve connections")?,
    );
    let serving =
        tokio::spawn(serve(Arc::clone(&gate), Arc::clone(&lanes), listeners, stop.clone()));
    let watching = tokio::spawn(Arc::clone(&reloader).watch(stop.clone()));
    tokio::spawn(Arc::clone(&reloader).follow(stop.clone()));
    let settling = tokio::spawn(settle(Arc::clone(&gate), stop.clone()));
    let telling = tokio::spawn(webhook::tell(gate.kernel.clone(), channels, stop.clone()));
    let (kernel, stopping) = (gate.kernel.clone(), stop.clone());
    let tending = tokio::spawn(async move { kernel.tend_runs(stopping).await });
    let (kernel, stopping) = (gate.kernel.clone(), stop.clone());
    let bringing = tokio::spawn(async move {
        tokio::join!(kernel.tend_sources(stopping.clone()), kernel.tend_vectors(stopping));
    });
    let (place, listeners) = (place.clone(), addresses);
    Ok(Running {
        gate,
        place,
        listeners,
        signals,
        stop,
        serving,
        watching,
        settling,
        telling,
        tending,
        bringing,
        lanes,
    })
}

/// Opens every address of the bundle.
async fn listeners(declared: &Declared, place: &Place) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for listen in &declared.listen {
        listeners.push(Listener::open(listen, &place.bundle).await?);
    }
    if listeners.is_empty() {
        bail!(
            "`lockgate.toml` has no `[[listen]]` \
             (hint: add one with `address = \"127.0.0.1:7420\"`)"
        );
    }
    Ok(listeners)
}

/// Says which variables are to be passed on and are not there: a program without its credential
/// fails later, and in words of its own.
fn warn_of_unset(declared: &Declared) {
    for (upstream, it) in &declared.upstream {
        for name in it.pass_env.iter().filter(|name| std::env::var_os(name).is_none()) {
            tracing::warn!(%upstream, "`pass_env` names `{name}`, which is not set here");
        }
    }
}

/// What bringing documents in needs of this machine.
fn bringing(place: &Place) -> Bringing {
    Bringing {
        bundle: place.bundle.clone(),
        state: place.state(),
        reader: Reader {
            program: THIS_PROGRAM.into(),
            arguments: vec![READER.to_owned()],
            environment: vec![(ALLOCATOR.0.to_owned(), ALLOCATOR.1.to_owned())],
        },
    }
}

/// Opens the record, where the bundle says that it is.
async fn open_store(declared: &Declared, place: &Place, start: &Start) -> Result<Store> {
    let shared = match &declared.store {
        Some(store) => Some(address(store).await?),
        None => None,
    };
    let home = Tenant::new(&declared.tenant).context("reading the gate's tenant")?;
    let origin = match &shared {
        None => origin(declared),
        Some(_) => format!("{}/{}", origin(declared), node(start.node.as_deref())?),
    };
    let (store, opened) = Store::open(Options {
        shared,
        home: Some(home),
        lease: Duration::from_millis(declared.limits.lease_ms.into()),
        durability: start.durability,
        commit_queue_max: usize::try_from(declared.limits.commit_queue_max).unwrap_or(usize::MAX),
        ..Options::new(place.state(), origin, system_now)
    })
    .map_err(|error| {
        let code = error.code();
        anyhow::Error::new(error).context(format!("{code}: opening the record"))
    })?;
    if !opened.was_clean {
        tracing::warn!(size = opened.size, "the last stop was not clean; the ledger says so");
    }
    Ok(store)
}

/// Finds out what became of effects in doubt: at once after a start, and every now and then.
/// Forgets who was signed in, too.
async fn settle(gate: Arc<Gate>, stop: CancellationToken) {
    let kernel = &gate.kernel;
    let mut said = 0;
    loop {
        let left = tokio::select! {
            () = stop.cancelled() => return,
            left = kernel.settle_doubts() => left,
        };
        if left != std::mem::replace(&mut said, left) && left > 0 {
            tracing::info!(left, "effects are in doubt: see `lockgate effects`");
        }
        gate.console.forget_ended(kernel.clock().now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SETTLE_EVERY) => {}
        }
    }
}

fn admin(kernel: &Kernel, reloader: &Arc<Reloader>) -> Admin {
    let reloader = Arc::clone(reloader);
    let reload = move || -> BoxFuture<'static, _> {
        let reloader = Arc::clone(&reloader);
        Box::pin(async move { reloader.reload().await })
    };
    Admin::new(kernel.clone(), Arc::new(reload))
}

impl Running {
    /// The first address that reads tokens, else the first.
    pub(crate) fn url(&self) -> &str {
        let with_tokens = self.listeners.iter().find(|(_, is_fixed)| !is_fixed);
        with_tokens.or(self.listeners.first()).map_or("", |(url, _)| url.as_str())
    }

    /// Waits for a signal, then stops.
    pub(crate) async fn until_signal(mut self) -> Result<()> {
        let signals = self.signals.take().map_or_else(Signals::hear, Ok);
        signals?.wait().await;
        self.stop().await
    }

    /// Lets calls finish, closes the record.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.watching.await.context("the watch ended badly")?;
        self.settling.await.context("settling effects ended badly")?;
        self.telling.await.context("telling webhooks ended badly")?;
        self.tending.await.context("driving runs ended badly")?;
        self.bringing.await.context("running sources ended badly")?;
        self.serving.await.context("serving ended badly")?;
        let _ = std::fs::remove_file(self.place.running_file());
        // What is still under way there, and awaited by nobody, gets its outcome as it is dropped.
        drop(self.lanes);
        self.gate.kernel.store().clone().close().await.context("closing the record")
    }

    /// Prints where the gate is and what it protects.
    pub(crate) fn print(&self, output: &Output) {
        let world = self.gate.kernel.world();
        for (url, is_fixed) in &self.listeners {
            let note = if *is_fixed { " (one fixed identity)" } else { "" };
            output.line(&format!("listening at {url}/mcp{note}"));
        }
        let Some(world) = world else { return };
        for (name, upstream) in &world.gate.upstream {
            if upstream.model.is_some() {
                let models = world.models.iter();
                let own = models.filter(|(_, model)| model.upstream.as_str() == name).count();
                let line =
                    format!("asking models of `{name}` for {}/v1: {own} declared", self.url());
                output.line(&line);
                continue;
            }
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

/// What asks a gate to stop. What comes before anybody waits for it is not lost.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn hear() -> Result<Self> {
        let hear = |kind| signal(kind).context("listening for signals");
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: hear(interrupt)?, terminate: hear(terminate)? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Has the bundle rule, or takes up the one that rules the fleet: a node that starts with an older
/// directory does not turn the others back.
async fn adopt_or_follow(kernel: &Kernel, world: World, files: &Files) -> Result<Declared> {
    let store = kernel.store();
    let ruling = store.fleets_bundle().await.context("reading which bundle rules")?;
    let (world, files) = match ruling {
        None => {
            let declared = world.gate.clone();
            kernel.adopt(world, files).await.context("recording the bundle")?;
            return Ok(declared);
        }
        Some(ruling) if ruling == world.digest => (world, files.clone()),
        Some(ruling) => {
            tracing::warn!(
                bundle = %ruling.short(),
                "another bundle rules the fleet and is taken up: `lockgate reload` has the one \
                 in the directory rule"
            );
            let files = store.bundle(&ruling).await.context("reading the fleet's bundle")?;
            let files = files.ok_or_else(|| anyhow!("the fleet's bundle is not there"))?;
            (compile(&files)?, files)
        }
    };
    let declared = world.gate.clone();
    kernel.follow(world, &files).await.context("recording the bundle")?;
    Ok(declared)
}

/// The address of the fleet's database, from where the bundle says it is.
async fn address(store: &Secret) -> Result<Redacted<String>> {
    let address = lockgate_effects::read_secret(store).await;
    address.map_err(|why| anyhow!("{}: the address in `store`: {why}", Code::SecretUnreadable))
}

/// A node's name: part of the name of its log.
fn node(given: Option<&str>) -> Result<String> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("reading the machine's name (hint: give the node one with `--node`)")?,
    };
    let name = name.trim().to_owned();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > NODE_NAME_MAX || !name.bytes().all(is_plain) {
        bail!("`{name}` is no name for a node (hint: letters, digits, `-`, `_` and `.`)");
    }
    Ok(name)
}

fn origin(declared: &Declared) -> String {
    let named = declared.origin.clone();
    named.unwrap_or_else(|| format!("lockgate.local/{}/{}", declared.tenant, declared.environment))
}

/// Leaves the address where other commands on this machine look for it.
fn write_running(place: &Place, kernel: &Kernel, listeners: &[(String, bool)]) -> Result<()> {
    let with_tokens = listeners.iter().find(|(_, is_fixed)| !is_fixed).or(listeners.first());
    let Some((url, _)) = with_tokens else { return Ok(()) };
    announce::write(place, url, kernel.world().as_deref())
}
