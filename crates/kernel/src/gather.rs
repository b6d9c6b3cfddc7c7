//! Facts: everything that a decision depends on, gathered before deciding.

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use crate::reverse::Origin;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::{World, exposure, risk};
use lockgate_effects::AnotherBundle;
use lockgate_store::Scopes;
use lockgate_types::Code;
use lockgate_types::call::Call;
use lockgate_types::facts::{Facts, LiveDifference, SessionState};
use lockgate_types::history::History;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for the bundle that another node of the fleet has published.
pub(crate) const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks for it.
const CATCH_UP_LOOK: Duration = Duration::from_millis(5);

impl Kernel {
    /// Everything the decision depends on, gathered before deciding, and the world that rules now.
    pub(crate) async fn gather(
        &self,
        origin: &Origin,
        call: Call,
    ) -> Result<(Arc<World>, Box<Facts>), Refusal> {
        match self.try_gather(origin, call).await {
            Ok(gathered) => Ok(gathered),
            Err(refusal) => Err(Box::pin(self.undecided(&origin.identity, refusal)).await),
        }
    }

    /// Waits for the bundle that rules the fleet, if this node does not have it yet.
    pub(crate) async fn catch_up(&self) {
        let until = tokio::time::Instant::now() + CAUGHT_UP_WITHIN;
        while self.is_behind() && tokio::time::Instant::now() < until {
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
    }

    /// Whether another bundle rules the fleet than the one that this node has.
    pub(crate) fn is_behind(&self) -> bool {
        self.world().is_some_and(|world| !self.parts.store.rules(&world.digest))
    }

    /// The bundle that rules. Another node of the fleet may just have published one.
    async fn caught_up(&self, call: &Call) -> Result<Arc<World>, Refusal> {
        // Stopping things does not wait for a bundle.
        let waits = call.upstream.as_str() != RESERVED;
        if waits && self.is_behind() {
            Box::pin(self.catch_up()).await;
        }
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        match waits && !self.parts.store.rules(&world.digest) {
            true => Err(Refusal::of(Code::BundleBehind)),
            false => Ok(world),
        }
    }

    async fn try_gather(
        &self,
        origin: &Origin,
        mut call: Call,
    ) -> Result<(Arc<World>, Box<Facts>), Refusal> {
        let no_bundle = || Refusal::of(Code::NoBundle);
        let mut world = self.caught_up(&call).await?;
        let mut live_difference = self.live_difference(&world, &origin.caller, &call).await?;
        let mut before = self.before(&world, origin, &call).await?;
        // An upstream may take seconds to describe itself: another bundle may rule by now.
        let now = self.world().ok_or_else(no_bundle)?;
        if now.digest != world.digest {
            world = now;
            (before, live_difference) = Box::pin(self.anew(&world, origin, &call)).await?;
        }
        call.reading = match self.parts.upstreams.reading(&world.digest, &call) {
            Ok(reading) => reading,
            Err(AnotherBundle) => {
                // Another bundle is taking over: once it rules, it is the one to ask.
                drop(self.parts.adopting.lock().await);
                world = self.world().ok_or_else(no_bundle)?;
                (before, live_difference) = Box::pin(self.anew(&world, origin, &call)).await?;
                let read = self.parts.upstreams.reading(&world.digest, &call);
                read.map_err(|AnotherBundle| Refusal::of(Code::FactsMoved))?
            }
        };
        let Before { mut session, tenant, history } = before;
        let at = self.parts.clock.now();
        let risk = risk::seen(world.risk.as_deref(), &session, &tenant, at);
        session.risk = None;
        let mut facts = Box::new(Facts {
            identity: Arc::clone(&origin.identity),
            session,
            now: at,
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference,
            earlier: None,
            exhausted: Vec::new(),
            plan: None,
            preview: None,
            broken: None,
            cited: None,
            flow: None,
            history,
            risk,
            call,
        });
        facts.switches = self.parts.store.switches_about(&Scopes::of(&facts));
        facts.broken = self.broken(&world.digest, &facts);
        facts.flow = self.provenance(&world, origin, &facts).await?;
        if world.operations.get(&facts.call.operation).is_some_and(|it| it.cite.is_some()) {
            Box::pin(self.rest(&world, origin, &mut facts)).await?;
        }
        Ok((world, facts))
    }

    /// What was before a call, and what its upstream says of itself, under another bundle.
    async fn anew(
        &self,
        world: &World,
        origin: &Origin,
        call: &Call,
    ) -> Result<(Before, Option<LiveDifference>), Refusal> {
        let before = self.before(world, origin, call).await?;
        Ok((before, self.live_difference(world, &origin.caller, call).await?))
    }

    /// On what a call rests that has to cite. What has become too old meanwhile tightens the
    /// session, and the call is decided in the mode that follows.
    async fn rest(
        &self,
        world: &Arc<World>,
        origin: &Origin,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(cites) = self.cited(world, facts).await? else { return Ok(()) };
        facts.cited = Some(Box::new(cites.cited));
        if cites.tighten {
            let Before { mut session, tenant, history } =
                self.before(world, origin, &facts.call).await?;
            facts.risk = risk::seen(world.risk.as_deref(), &session, &tenant, facts.now);
            session.risk = None;
            (facts.session, facts.history) = (session, history);
        }
        Ok(())
    }

    /// What was before a call: read in one go.
    async fn before(&self, world: &World, origin: &Origin, call: &Call) -> Result<Before, Refusal> {
        let key = self.session_key(&origin.identity, origin.session.as_ref());
        let look = exposure::look(world, &origin.identity, call);
        let found = self.settled(world, &key, look).await;
        let (session, tenant, past) = found.map_err(|error| not_recorded(&error))?;
        let (session, history) = match past {
            Some(past) => {
                let (session, history) = past.of(session);
                (session, Some(Arc::new(history)))
            }
            None => (session, None),
        };
        Ok(Before { session, tenant, history })
    }
}

/// What was before a call.
struct Before {
    session: SessionState,
    tenant: SessionState,
    /// As far as the bundle looks back.
    history: Option<Arc<History>>,
}
