//! `subscriptions/listen`: which notifications a client asked for, and how they are marked.
//!
//! With sessions a client hears of every change and subscribes to single resources; in the
//! stateless era it names what it wants when it opens the stream, and gets nothing else.

use crate::era::meta;
use crate::error::{Problem, WireError};
use crate::message::RequestId;
use lockgate_types::{Json, Object};

/// Resources that one stream may watch.
pub const RESOURCES_MAX: usize = 1024;

/// What a stream carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `notifications/tools/list_changed`
    pub tools: bool,
    /// `notifications/prompts/list_changed`
    pub prompts: bool,
    /// `notifications/resources/list_changed`
    pub resources: bool,
    /// `notifications/resources/updated` for these addresses.
    pub updated: Vec<String>,
}

impl Filter {
    /// Reads the parameters of `subscriptions/listen`, or of its acknowledgement.
    pub fn from_params(params: &Object) -> Result<Self, WireError> {
        let wrong = |expected| {
            let problem = Problem::Param { member: "notifications", expected };
            Err(WireError::new(problem))
        };
        let Some(Json::Object(wanted)) = params.get("notifications") else {
            return wrong("an object");
        };
        let is_true = |name: &str| wanted.get(name).and_then(Json::as_bool).unwrap_or(false);
        let updated = match wanted.get("resourceSubscriptions") {
            None => Some(Vec::new()),
            Some(Json::Array(uris)) if uris.len() <= RESOURCES_MAX => {
                uris.iter().map(|uri| uri.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        let Some(updated) = updated else {
            return wrong("an object whose `resourceSubscriptions` are strings within bounds");
        };
        Ok(Self {
            tools: is_true("toolsListChanged"),
            prompts: is_true("promptsListChanged"),
            resources: is_true("resourcesListChanged"),
            updated,
        })
    }

    /// The part of it that a server with these capabilities can honour.
    #[must_use]
    pub fn honoured_by(mut self, capabilities: &Object) -> Self {
        let can = |name: &str, what: &str| {
            let capability = capabilities.get(name).and_then(|value| value.get(what));
            capability.and_then(Json::as_bool).unwrap_or(false)
        };
        self.tools &= can("tools", "listChanged");
        self.prompts &= can("prompts", "listChanged");
        self.resources &= can("resources", "listChanged");
        if !can("resources", "subscribe") {
            self.updated.clear();
        }
        self
    }

    /// As in the parameters.
    pub fn to_json(&self) -> Json {
        let flag = |is_wanted: bool| is_wanted.then_some(true);
        let updated: Vec<Json> = self.updated.iter().map(|uri| uri.as_str().into()).collect();
        Object::new()
            .with_some("toolsListChanged", flag(self.tools))
            .with_some("promptsListChanged", flag(self.prompts))
            .with_some("resourcesListChanged", flag(self.resources))
            .with_some("resourceSubscriptions", (!updated.is_empty()).then_some(updated))
            .into()
    }

    /// Whether the stream carries this notification. A resource that is watched covers what lies
    /// beneath it.
    pub fn carries(&self, method: &str, params: &Object) -> bool {
        match method {
            "notifications/tools/list_changed" => self.tools,
            "notifications/prompts/list_changed" => self.prompts,
            "notifications/resources/list_changed" => self.resources,
            "notifications/resources/updated" => {
                let uri = params.get("uri").and_then(Json::as_str).unwrap_or_default();
                self.updated.iter().any(|watched| covers(watched, uri))
            }
            _ => false,
        }
    }
}

/// The revision lets a server report a part of what is watched: `file:///a/b` for `file:///a`.
fn covers(watched: &str, uri: &str) -> bool {
    match uri.strip_prefix(watched) {
        Some(rest) => {
            rest.is_empty() || watched.ends_with('/') || rest.starts_with(['/', '#', '?'])
        }
        None => false,
    }
}

/// The parameters of a notification, marked with the stream it is sent on.
pub fn tag(mut params: Object, subscription: &RequestId) -> Object {
    if !matches!(params.get("_meta"), Some(Json::Object(_))) {
        params.set("_meta", Object::new());
    }
    if let Some(meta) = params.get_mut("_meta").and_then(Json::as_object_mut) {
        meta.set(meta::SUBSCRIPTION_ID, subscription.to_json());
    }
    params
}

/// Takes the mark off, and gives the stream it named.
pub fn untag(params: &mut Object) -> Option<RequestId> {
    let meta = params.get_mut("_meta")?.as_object_mut()?;
    let id = meta.remove(meta::SUBSCRIPTION_ID);
    if meta.is_empty() {
        params.remove("_meta");
    }
    RequestId::from_json(&id?)
}
