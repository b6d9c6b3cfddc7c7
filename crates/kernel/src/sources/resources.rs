//! The resources of an upstream as a source: listed and read on the gate's own behalf, under the
//! upstream's bounds, switches and breakers.
//!
//! The upstream does not say who may see what: that is declared. A resource whose description was
//! found to give orders, and that nobody has accepted, is not read.

use crate::listing::withheld;
use lockgate_core::retrieve::path::{matches, slashed};
use lockgate_core::{World, declare};
use lockgate_effects::{EffectError, ResourceContent, Resources, Upstreams};
use lockgate_retrieval::connect::{
    ConnectError, Connector, Content, Entry, FOLDERS_DEPTH_MAX, Listing, PLACE_BYTES_MAX, ROOT,
    folders_of,
};
use lockgate_retrieval::format::DOCUMENT_BYTES_MAX;
use lockgate_types::{Code, Json, Micros, UpstreamName};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The resources of one upstream.
pub(super) struct Server {
    resources: Resources,
    upstream: UpstreamName,
    world: Arc<World>,
    include: Vec<String>,
    runtime: Handle,
}

impl Server {
    /// Those of the upstream that a source of this bundle names.
    pub(super) fn new(
        (upstreams, world): (&Upstreams, Arc<World>),
        (source, declared): (&str, &declare::McpConnector),
        runtime: Handle,
    ) -> Result<Self, ConnectError> {
        let resources = upstreams.resources_of(&world, source).map_err(failed)?;
        let upstream = UpstreamName::new(&declared.upstream);
        let upstream = upstream.map_err(|error| ConnectError::Away { why: error.to_string() })?;
        let include = declared.include.iter().map(|pattern| slashed(pattern)).collect();
        Ok(Self { resources, upstream, world, include, runtime })
    }

    fn is_included(&self, uri: &str) -> bool {
        let place = slashed(uri);
        self.include.is_empty() || self.include.iter().any(|pattern| matches(pattern, &place))
    }
}

impl Connector for Server {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let catalogue = self.runtime.block_on(self.resources.list()).map_err(failed)?;
        let mut listing = Listing { is_whole: true, ..Listing::default() };
        let mut entries = BTreeMap::new();
        for item in &catalogue.resources {
            let uri = item.get("uri").and_then(Json::as_str).unwrap_or_default();
            if !self.is_included(uri) {
                continue;
            }
            let why = if !is_address(uri) {
                "its address is none that is kept"
            } else if withheld(&self.world, &self.upstream, &catalogue, item).is_some() {
                "its description gives orders, and nobody has accepted it"
            } else if entries.insert(uri.to_owned(), entry(uri, item)).is_some() {
                "two resources have its address"
            } else {
                continue;
            };
            listing.skipped.push((shown(uri), why.to_owned()));
        }
        listing.entries = entries.into_values().collect();
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, _known: Option<&str>) -> Result<Content, ConnectError> {
        match self.runtime.block_on(self.resources.read(&entry.id)).map_err(failed)? {
            ResourceContent::Gone => Ok(Content::Gone),
            ResourceContent::Bytes { bytes, .. } if bytes.len() > DOCUMENT_BYTES_MAX => {
                let (what, max) = ("bytes in a resource", DOCUMENT_BYTES_MAX);
                Err(ConnectError::TooMuch { what, max })
            }
            ResourceContent::Bytes { bytes, media_type } => {
                Ok(Content::Bytes { bytes, media_type, version: None, changed: None })
            }
        }
    }
}

/// A resource as it is listed.
fn entry(uri: &str, item: &Json) -> Entry {
    let text = |path: &[&str]| item.at(path).and_then(Json::as_str);
    let changed = text(&["annotations", "lastModified"]);
    let folders = folders_of(&slashed(uri));
    Entry {
        id: uri.to_owned(),
        folders: std::iter::once(ROOT.to_owned()).chain(folders).collect(),
        // With another size it is another text, whatever the date says.
        version: changed.map(|date| format!("{date} {}", item.get("size").unwrap_or(&Json::Null))),
        changed: changed.and_then(moment),
        link: Some(uri.to_owned()),
        media_type: text(&["mimeType"]).map(str::to_owned),
        ..Entry::default()
    }
}

fn moment(date: &str) -> Option<Micros> {
    let moment = date.parse::<jiff::Timestamp>().ok()?;
    Some(Micros(moment.as_microsecond()))
}

/// Whether an address may be what a document is called by.
fn is_address(uri: &str) -> bool {
    let is_odd = |it: char| it.is_control() || it.is_whitespace();
    !uri.is_empty()
        && uri.len() <= PLACE_BYTES_MAX
        && uri.split('/').count() <= FOLDERS_DEPTH_MAX
        && !uri.chars().any(is_odd)
}

/// As much of an address as a report shows.
fn shown(uri: &str) -> String {
    uri.chars().filter(|it| !it.is_control()).take(200).collect()
}

fn failed(error: EffectError) -> ConnectError {
    let why = error.to_string();
    match error.code() {
        Code::AddressRefused => ConnectError::Elsewhere { why },
        Code::UpstreamTooLarge => {
            ConnectError::TooMuch { what: "resources or bytes", max: DOCUMENT_BYTES_MAX }
        }
        _ => ConnectError::Away { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn a_resource_is_called_by_its_address_and_lies_in_folders() {
        let item = r#"{"uri":"file:///a/b.md","mimeType":"text/markdown","size":3,
            "annotations":{"lastModified":"2026-01-02T03:04:05Z"}}"#;
        let item = Json::parse(item.as_bytes(), &JsonLimits::MESSAGE).unwrap();
        let entry = entry("file:///a/b.md", &item);
        assert_eq!(entry.folders, [".", "file:", "file:/a"]);
        assert_eq!(entry.version.as_deref(), Some("2026-01-02T03:04:05Z 3"));
        assert_eq!(entry.changed, Some(Micros(1_767_323_045_000_000)));
        assert_eq!(entry.media_type.as_deref(), Some("text/markdown"));
        assert!(is_address("a://b/c") && !is_address("a://b c") && !is_address(""));
    }
}
