//! What is found out of a catalogue once it is there: how it differs from what was accepted, what
//! people do not see in it, how long it is fresh.

use super::{Catalogue, FRESH, ListMeta};
use crate::findings::Findings;
use crate::trouble::{EffectError, Trouble};
use lockgate_core::World;
use lockgate_core::quarantine::{Assessment, Offer, assess};
use lockgate_types::appearance::marked;
use lockgate_types::{Code, Json, Object, UpstreamName};
use lockgate_wire::era;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Within what an upstream may say of how long its lists are fresh.
const FRESH_MIN: Duration = Duration::from_secs(1);
const FRESH_MAX: Duration = Duration::from_secs(3600);

impl Catalogue {
    /// What of it is not as the bundle accepted it. Found out once for each bundle.
    pub fn assessment(&self, upstream: &UpstreamName, world: &World) -> Arc<Assessment> {
        let mut assessed = self.assessed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((digest, assessment)) = &*assessed
            && *digest == world.digest
        {
            return Arc::clone(assessment);
        }
        let assessment = Arc::new(assess(world, upstream, &self.offer()));
        for (tool, differences) in &assessment.tools {
            let kind = differences.first().map_or("", |it| it.kind.as_str());
            tracing::warn!(%upstream, tool = marked(tool), kind, "a tool is quarantined");
        }
        if !assessment.server.is_empty() {
            tracing::warn!(%upstream, "the server's instructions are withheld");
        }
        *assessed = Some((world.digest, Arc::clone(&assessment)));
        assessment
    }

    fn offer(&self) -> Offer<'_> {
        Offer {
            tools: &self.tools,
            ambiguous: &self.ambiguous,
            instructions: self.instructions.as_deref(),
            found: &self.findings.blocking,
            found_in_server: &self.findings.blocking_server,
        }
    }

    /// The same, without what the server says of itself beyond its name.
    pub fn without_instructions(&self, upstream: &UpstreamName) -> Self {
        let info = Object::new().with("name", upstream.as_str()).with("version", "0");
        let withheld = |opening: &Json| {
            let Json::Object(mut opening) = opening.clone() else { return Json::Null };
            opening.remove("instructions");
            if opening.contains("serverInfo") {
                opening.set("serverInfo", info.clone());
            }
            if opening.remove("_meta").is_some() {
                opening.set("_meta", Object::new().with(era::meta::SERVER_INFO, info.clone()));
            }
            opening.into()
        };
        Self {
            instructions: None,
            server_info: info.clone().into(),
            opening: withheld(&self.opening),
            discover: self.discover.as_ref().map(withheld),
            ..self.clone()
        }
    }
}

/// The same, with what is found in it: away from the threads that serve calls, since lists can be
/// long.
pub(super) async fn looked_at(mut catalogue: Catalogue) -> Result<Catalogue, EffectError> {
    let looking = tokio::task::spawn_blocking(move || {
        catalogue.findings = Arc::new(Findings::of(&catalogue));
        catalogue
    });
    looking.await.map_err(|_| {
        let detail = "what the upstream offers could not be looked at";
        Trouble::after(Code::UpstreamProtocol, detail).into()
    })
}

/// How long a catalogue is fresh: as long as the list that is so for the shortest.
pub(super) fn fresh(meta: &ListMeta) -> Duration {
    let lists = [&meta.tools, &meta.resources, &meta.templates, &meta.prompts];
    let said = lists.iter().filter_map(|list| list.get("ttlMs")?.as_i64()).min();
    match said.and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => Duration::from_millis(ms).clamp(FRESH_MIN, FRESH_MAX),
        None => FRESH,
    }
}
