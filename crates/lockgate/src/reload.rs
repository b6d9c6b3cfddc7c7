//! A changed bundle, taken over without dropping a call; a broken one is refused and the last good
//! one stays.

use crate::announce;
use crate::place::Place;
use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use lockgate_core::declare::Gate as Declared;
use lockgate_core::world::Files;
use lockgate_core::{Mistake, World};
use lockgate_kernel::{Kernel, LoadError};
use lockgate_server::admin::ReloadError;
use lockgate_server::identity::{Authenticator, DevelopmentKey};
use lockgate_server::webhook::Channels;
use lockgate_types::{Code, Digest};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the bundle's directory is looked at for changes.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What follows a bundle.
pub(crate) struct Reloader {
    place: Place,
    kernel: Kernel,
    authenticator: Arc<ArcSwap<Authenticator>>,
    channels: Arc<Channels>,
    /// The digest that was tried last, good or not: a broken bundle is reported once. Held while
    /// one is loaded.
    tried: Mutex<Option<Digest>>,
}

impl Reloader {
    /// Follows the bundle that a kernel has loaded.
    pub(crate) fn new(
        place: Place,
        kernel: Kernel,
        (authenticator, channels): (Arc<ArcSwap<Authenticator>>, Arc<Channels>),
    ) -> Arc<Self> {
        // In a fleet another bundle may rule than the one on disk: that one counts as tried.
        let on_disk = place.read_bundle().ok().map(|files| lockgate_core::bundle::digest(&files));
        let tried = Mutex::new(on_disk.or(kernel.world().map(|world| world.digest)));
        Arc::new(Self { place, kernel, authenticator, channels, tried })
    }

    /// Loads the bundle as it is on disk now.
    pub(crate) async fn reload(&self) -> Result<Digest, ReloadError> {
        let mut tried = self.tried.lock().await;
        let (files, digest) = self.read().await?;
        *tried = Some(digest);
        self.load(files, false).await
    }

    /// Takes up what other nodes of the fleet publish, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Some(mut ruling) = self.kernel.store().ruling() else { return };
        loop {
            let published = *ruling.borrow_and_update();
            let caught_up = match published {
                Some(digest) => self.catch_up(digest).await.map_err(|error| (error, digest)),
                None => Ok(()),
            };
            let is_behind = caught_up.is_err();
            if let Err((error, digest)) = caught_up {
                tracing::error!(%error, bundle = %digest.short(),
                    "the bundle that rules the fleet cannot be taken up: nothing is allowed here");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = ruling.changed() => if changed.is_err() { return },
                // The way to the database may have been lost for a moment.
                () = tokio::time::sleep(WATCH_EVERY), if is_behind => {}
            }
        }
    }

    async fn catch_up(&self, digest: Digest) -> Result<(), ReloadError> {
        let _turn = self.tried.lock().await;
        if self.kernel.world().is_some_and(|world| world.digest == digest) {
            return Ok(());
        }
        let failed = |error: lockgate_store::StoreError| ReloadError::Failed(error.code());
        let files = self.kernel.store().bundle(&digest).await.map_err(failed)?;
        let files = files.ok_or(ReloadError::Failed(Code::RecordNotFound))?;
        self.load(files, true).await?;
        tracing::info!(bundle = %digest.short(), "a bundle that another node published rules now");
        Ok(())
    }

    /// Looks for changes until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(WATCH_EVERY) => self.look().await,
            }
        }
    }

    async fn look(&self) {
        let mut tried = self.tried.lock().await;
        // A file that is being written is read whole at the next look.
        let Ok((files, digest)) = self.read().await else { return };
        if *tried == Some(digest) {
            return;
        }
        *tried = Some(digest);
        if self.has_ruled(digest).await {
            tracing::warn!(
                bundle = %digest.short(),
                "the directory holds a bundle that ruled before: `lockgate reload` has it \
                 rule again"
            );
            return;
        }
        match self.load(files, false).await {
            Ok(digest) => tracing::info!(bundle = %digest.short(), "a changed bundle rules now"),
            Err(ReloadError::Mistakes(mistakes)) => {
                for mistake in &mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("the changed bundle was refused; the last good one stays");
            }
            Err(error) => {
                // It may be the record's trouble, and not the bundle's.
                *tried = None;
                tracing::error!(%error, "the last good bundle stays");
            }
        }
    }

    /// Whether a bundle has ruled the fleet: a directory that is copied late does not turn it back.
    async fn has_ruled(&self, digest: Digest) -> bool {
        let store = self.kernel.store();
        store.ruling().is_some() && store.bundle(&digest).await.is_ok_and(|known| known.is_some())
    }

    /// Reads the bundle, and its digest: away from the threads that serve calls.
    async fn read(&self) -> Result<(Files, Digest), ReloadError> {
        let place = self.place.clone();
        let reading = tokio::task::spawn_blocking(move || {
            place.read_bundle().map(|files| {
                let digest = lockgate_core::bundle::digest(&files);
                (files, digest)
            })
        });
        let read = reading.await.map_err(|_| ReloadError::Failed(Code::BundleRefused))?;
        read.map_err(|error| {
            ReloadError::Mistakes(vec![Mistake {
                file: "lockgate.toml".to_owned(),
                line: None,
                what: format!("{error:#}"),
                hint: String::new(),
            }])
        })
    }

    async fn load(&self, files: Files, rules_already: bool) -> Result<Digest, ReloadError> {
        let compiling =
            tokio::task::spawn_blocking(move || (lockgate_effects::load(&files), files));
        let (world, files) =
            compiling.await.map_err(|_| ReloadError::Failed(Code::BundleRefused))?;
        let world = world.map_err(ReloadError::Mistakes)?;
        let authenticator = authenticator(&world.gate, &self.place).map_err(|error| {
            tracing::error!("keys of the changed bundle cannot be used: {error:#}");
            ReloadError::Failed(Code::BundleRefused)
        })?;
        self.channels.check(&world.gate).await.map_err(|error| {
            tracing::error!(%error, "secrets of the changed bundle cannot be used");
            ReloadError::Failed(Code::BundleRefused)
        })?;
        let signs_for = announce::signs_for(&world);
        let taken = match rules_already {
            true => self.kernel.follow(world, &files).await,
            false => self.kernel.adopt(world, &files).await,
        };
        let digest = taken.map_err(|error| match error {
            LoadError::Mistakes(mistakes) => ReloadError::Mistakes(mistakes),
            LoadError::Store(error) => ReloadError::Failed(error.code()),
            LoadError::Corpus(error) => ReloadError::Failed(error.code()),
            LoadError::Cancelled => ReloadError::Failed(Code::BundleRefused),
        })?;
        self.authenticator.store(Arc::new(authenticator));
        if let Err(error) = announce::update(&self.place, signs_for) {
            tracing::warn!("commands on this machine go by what was so before: {error:#}");
        }
        Ok(digest)
    }
}

/// Compiles a bundle, or says everything that is wrong with it.
pub(crate) fn compile(files: &Files) -> Result<World> {
    lockgate_effects::load(files).map_err(|mistakes| anyhow!(crate::check::report(&mistakes)))
}

/// Who may come in, as a bundle says.
pub(crate) fn authenticator(declared: &Declared, place: &Place) -> Result<Authenticator> {
    let development = development_key(declared, &place.state())?;
    Authenticator::new(declared, &place.bundle, development.as_ref()).context("reading the issuers")
}

fn development_key(declared: &Declared, state: &Path) -> Result<Option<DevelopmentKey>> {
    if declared.development.is_none() {
        return Ok(None);
    }
    DevelopmentKey::open(state).context("opening the development issuer's key").map(Some)
}
