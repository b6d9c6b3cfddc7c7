//! Resources of an upstream, listed and read for the source that a bundle registers for it.
//!
//! Nobody calls: they are asked for in a session of the gate's own, as lists are, with what the
//! gate itself shows to the upstream. There is no other method that is asked so, and no other
//! upstream than the one that a source names. Bounds, switches and circuit breakers over it hold.
//! What is in a resource is not looked at here.

use super::accepted::looked_at;
use super::{Catalogue, Lister, introduction};
use crate::caller::Caller;
use crate::credential::{Speaker, SwitchesOn};
use crate::health;
use crate::perform::{admit, note};
use crate::trouble::{EffectError, Trouble};
use crate::upstream::{Upstream, Voice};
use crate::upstreams::Upstreams;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_core::World;
use lockgate_types::{Code, Json, Object, OperationName, UpstreamName};
use lockgate_wire::{Era, RpcError, numbers};
use std::sync::Arc;
use std::time::Duration;

/// What lists resources.
const LIST: &str = "resources/list";
/// What reads one.
const READ: &str = "resources/read";
/// How long a list may take, all its pages together.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// The resources of one upstream.
pub struct Resources {
    upstream: Arc<Upstream>,
    switches: SwitchesOn,
    caller: Caller,
}

/// What is in a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceContent {
    /// Its bytes.
    Bytes {
        /// All of them.
        bytes: Vec<u8>,
        /// What the upstream says they are.
        media_type: Option<String>,
    },
    /// There is no such resource any more.
    Gone,
}

impl Upstreams {
    /// The resources of the upstream that a source of the bundle names.
    ///
    /// # Errors
    ///
    /// If the bundle has no such source, or the source names no upstream that is there.
    pub fn resources_of(&self, world: &World, source: &str) -> Result<Resources, EffectError> {
        let named = world.sources.get(source).and_then(|it| it.connector.mcp.as_ref());
        let named = named.and_then(|it| UpstreamName::new(&it.upstream).ok());
        let named = named.ok_or_else(|| {
            let detail = format!("the source `{source}` names no upstream");
            Trouble::before(Code::FactsMoved, detail)
        })?;
        let (upstream, switches) = (self.get(&named)?, self.switches());
        Ok(Resources { upstream, switches, caller: Caller::default().for_catalogue() })
    }
}

impl Resources {
    /// All that the upstream lists now, with what was found in how it describes them. One that
    /// offers no resources has none.
    ///
    /// # Errors
    ///
    /// If it may not be asked, does not answer, or lists more than may be.
    pub async fn list(&self) -> Result<Catalogue, EffectError> {
        let (speaker, caller) = (Speaker::gate(), &self.caller);
        let listing = async {
            let voice = self.upstream.voice(caller, &speaker).await?;
            let opening = self.upstream.opening(&voice, caller).await?;
            let mut catalogue = introduction(voice.era(), opening);
            if catalogue.capabilities.contains("resources") {
                let list = Lister { upstream: &self.upstream, voice: &voice, caller };
                (catalogue.resources, catalogue.list_meta.resources) =
                    list.all(LIST, "resources").await?;
            }
            looked_at(catalogue).await
        };
        self.within(LIST, LISTED_WITHIN, listing).await
    }

    /// What is in a resource now.
    ///
    /// # Errors
    ///
    /// If the upstream may not be asked, does not answer, or answers what is none.
    pub async fn read(&self, uri: &str) -> Result<ResourceContent, EffectError> {
        let (speaker, caller) = (Speaker::gate(), &self.caller);
        let reading = async {
            let voice: Voice = self.upstream.voice(caller, &speaker).await?;
            let params = Object::new().with("uri", uri);
            match self.upstream.ask(&voice, caller, READ, params).await {
                Ok(result) => Ok(Some(result)),
                Err(EffectError::Answered { error }) if is_gone(voice.era(), &error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        match self.within(READ, self.upstream.timeout, reading).await? {
            Some(result) => Ok(content(uri, &result)?),
            None => Ok(ResourceContent::Gone),
        }
    }

    /// Asks within the bounds of the upstream, if it may be asked now.
    async fn within<T>(
        &self,
        method: &str,
        time: Duration,
        asking: impl Future<Output = Result<T, EffectError>>,
    ) -> Result<T, EffectError> {
        self.may(method)?;
        let _place = admit(&self.upstream, &Speaker::gate(), false)?;
        let asked = tokio::time::timeout(time, asking).await.unwrap_or_else(|_| {
            let detail = format!("`{method}` was not answered in time");
            Err(Trouble::after(Code::UpstreamTimeout, detail).into())
        });
        match &asked {
            Ok(_) | Err(EffectError::Answered { .. } | EffectError::Unknown { .. }) => {
                self.upstream.pulse.is_well();
            }
            Err(EffectError::Failed { code, detail, .. }) => {
                note(&self.upstream, &Trouble::before(*code, detail.clone()));
            }
        }
        asked
    }

    /// Whether nothing stops it: the bundle still names the upstream, no switch is thrown over it,
    /// and no breaker is open.
    fn may(&self, method: &str) -> Result<(), Trouble> {
        let name = self.upstream.name.as_str();
        if self.upstream.removed.is_cancelled() {
            return Err(Trouble::before(Code::FactsMoved, "another bundle rules"));
        }
        let switches = self.switches.get().map_or_else(Vec::new, |on| on());
        if switches.iter().any(|switch| Speaker::gate().is_in(switch, name)) {
            let detail = format!("a switch is thrown over `{name}`");
            return Err(Trouble::before(Code::SwitchEngaged, detail));
        }
        let operation = OperationName::builtin(&self.upstream.name, method);
        let (breaker, now) = (&self.upstream.breaker, health::now());
        if breaker.is_open(now) || operation.is_ok_and(|it| breaker.stops(&it, now)) {
            let detail = format!("`{name}` is left alone for a while, because it fails");
            return Err(Trouble::before(Code::UpstreamBroken, detail));
        }
        Ok(())
    }
}

/// Whether an error says that there is no such resource. In the stateless era it has the number of
/// params that make no sense, and ours do.
fn is_gone(era: Era, error: &RpcError) -> bool {
    match era {
        Era::Sessions => error.number == numbers::RESOURCE_NOT_FOUND,
        Era::Stateless => {
            [numbers::RESOURCE_NOT_FOUND, numbers::INVALID_PARAMS].contains(&error.number)
        }
    }
}

/// The bytes of a resource, of what was answered for it.
fn content(uri: &str, result: &Json) -> Result<ResourceContent, Trouble> {
    let odd = |what: &str| Trouble::after(Code::UpstreamProtocol, format!("`{READ}`: {what}"));
    let contents = result.get("contents").and_then(Json::as_array);
    let contents = contents.ok_or_else(|| odd("there are no `contents`"))?;
    let text = |it: &Json, member: &str| it.get(member).and_then(Json::as_str).map(str::to_owned);
    // What else comes along is another resource, and is read when it is listed.
    let mut own = contents.iter().filter(|it| text(it, "uri").as_deref() == Some(uri));
    let (Some(own), None) = (own.next(), own.next()) else {
        return Err(odd("it has not one content of the address that was asked for"));
    };
    let media_type = text(own, "mimeType");
    if let Some(text) = text(own, "text") {
        return Ok(ResourceContent::Bytes { bytes: text.into_bytes(), media_type });
    }
    let blob = text(own, "blob").ok_or_else(|| odd("a content is neither text nor a blob"))?;
    let bytes = STANDARD.decode(blob).map_err(|_| odd("a blob is not in base64"))?;
    Ok(ResourceContent::Bytes { bytes, media_type })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn read(contents: &str) -> Option<(String, Option<String>)> {
        let result = format!(r#"{{"contents":{contents}}}"#);
        let result = Json::parse(result.as_bytes(), &JsonLimits::MESSAGE).unwrap();
        match content("a://b", &result) {
            Ok(ResourceContent::Bytes { bytes, media_type }) => {
                Some((String::from_utf8(bytes).unwrap(), media_type))
            }
            Ok(ResourceContent::Gone) | Err(_) => None,
        }
    }

    #[test]
    fn a_resource_is_the_one_content_of_its_address() {
        let html = Some("text/html".to_owned());
        for (contents, found) in [
            (r#"[{"uri":"a://b","mimeType":"text/html","text":"x"}]"#, Some(("x", html))),
            (r#"[{"uri":"a://c","text":"y"},{"uri":"a://b","blob":"eA=="}]"#, Some(("x", None))),
            (r#"[{"uri":"a://b","text":"x"},{"uri":"a://b","text":"y"}]"#, None),
            (r#"[{"uri":"a://c","text":"y"}]"#, None),
            (r#"[{"uri":"a://b","blob":"?"}]"#, None),
            (r#"[{"uri":"a://b"}]"#, None),
            ("[]", None),
            ("3", None),
        ] {
            let found = found.map(|(text, media_type)| (text.to_owned(), media_type));
            assert_eq!(read(contents), found, "{contents}");
        }
    }
}
