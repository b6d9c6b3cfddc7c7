//! What databases and HTTP APIs have in common: their tools are the bundle's, so that nothing has
//! to be asked for a list, and a result is made here.

use crate::catalogue::{Catalogue, definitions, introduction};
use crate::exchange::End;
use lockgate_types::{Json, Object, UpstreamName};
use lockgate_wire::{Era, RpcError, era, numbers};

impl Catalogue {
    /// What an upstream offers whose tools are the bundle's.
    pub(crate) fn of_bundle(upstream: &UpstreamName, tools: Vec<Json>, era: Era) -> Self {
        let info = Object::new().with("name", upstream.as_str()).with("version", "1");
        let capabilities = Object::new().with("tools", Object::new());
        let opening = match era {
            Era::Sessions => Object::new()
                .with("protocolVersion", era::V2025_11_25)
                .with("capabilities", capabilities)
                .with("serverInfo", info),
            Era::Stateless => Object::new()
                .with("capabilities", capabilities)
                .with("_meta", Object::new().with(era::meta::SERVER_INFO, info)),
        };
        let mut catalogue = introduction(era, opening.into());
        catalogue.tools = tools;
        catalogue.definitions = definitions(&catalogue.tools);
        catalogue
    }
}

/// What the protocol asks besides tools of an upstream that has only those.
pub(crate) fn besides_tools(method: &str) -> End {
    match method {
        "ping" | "logging/setLevel" => End::Result(Object::new().into()),
        _ => End::Error(RpcError::new(numbers::METHOD_NOT_FOUND, "this upstream has tools only")),
    }
}

/// A tool's result as the caller's era has it.
pub(crate) fn in_era(mut result: Object, era: Era) -> Json {
    if era == Era::Stateless {
        result.set("resultType", "complete");
    }
    result.into()
}
