//! How an upstream is reached: the ways there are, and which one a declaration says.

use crate::api::{self, Api};
use crate::children::Children;
use crate::credential::Credentials;
use crate::database::{Database, Plan};
use crate::http::Http;
use crate::memory::{self, Memory};
use crate::model::Provider;
use crate::outbound::networks;
use crate::search::{self, Library};
use crate::session::{Session, Slots};
use lockgate_core::{World, declare};
use lockgate_types::{Digest, Json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How it is reached.
pub(crate) enum Way {
    Http {
        http: Arc<Http>,
        sessions: Slots<Session>,
    },
    Child(Children),
    /// It has no lines: each statement has a connection of its own.
    Database(Box<Database>),
    /// It has none either: each request stands for itself.
    Api(Api),
    /// A memory of the gate's own: there is nothing to reach.
    Memory(Box<Memory>),
    /// The gate's own search in registered sources.
    Library(Library),
    /// A provider of models: so is each of its requests.
    Model(Box<Provider>),
    /// Its configuration cannot work, and why.
    Broken(String),
}

/// What a bundle says of an upstream whose tools are its own.
pub(crate) enum Plans {
    Database(Plan),
    Api(api::Plan),
    Memory(memory::Plan),
    /// The definitions of its tools.
    Library(Vec<Json>),
}

/// What a bundle says of its upstreams whose tools are its own.
pub(crate) fn plans(world: &World) -> BTreeMap<String, (Digest, Plans)> {
    let plan = |(name, declared): (&String, &declare::Upstream)| {
        if declared.search {
            return Some((name.clone(), (world.digest, Plans::Library(search::tools(world)))));
        }
        let plan = match (&declared.database, &declared.memory, &declared.api) {
            (Some(database), _, _) => match Plan::new(world, name, database) {
                Ok(plan) => Plans::Database(plan),
                Err(error) => {
                    // The bundle was loaded, so this was tried before.
                    tracing::error!(upstream = name, %error, "no grants");
                    return None;
                }
            },
            (None, Some(memory), _) => Plans::Memory(memory::Plan::new(world, name, memory)),
            (None, None, Some(_)) => Plans::Api(api::Plan::new(world, name)),
            (None, None, None) => return None,
        };
        Some((name.clone(), (world.digest, plan)))
    };
    world.gate.upstream.iter().filter_map(plan).collect()
}

/// The connections to an upstream that is reached by HTTP.
pub(crate) fn http(
    url: &str,
    declared: &declare::Upstream,
    (credentials, answer_bytes_max): Shown,
) -> Result<Http, String> {
    let credentials = credentials.ok_or("it is not reached by HTTP")??;
    let allowed = networks(&declared.allow_networks);
    Http::new(url, credentials, &allowed, declared.in_flight_max, answer_bytes_max)
}

/// What is shown to an upstream, if it is reached by HTTP, and how long its answers may be.
pub(crate) type Shown = (Option<Result<Arc<Credentials>, String>>, usize);

/// The way to an upstream whose tools are the bundle's.
pub(crate) fn of_bundle(
    declared: &declare::Upstream,
    plan: Option<(Digest, Plans)>,
    timeout: Duration,
    shown: Shown,
) -> Result<Way, String> {
    if let Some(model) = &declared.model {
        let http = http(&model.base_url, declared, shown)?;
        return Ok(Way::Model(Box::new(Provider::new(http, model, timeout))));
    }
    if let Some((bundle, Plans::Memory(plan))) = plan {
        return Ok(Way::Memory(Box::new(Memory::new(bundle, plan))));
    }
    if let Some((bundle, Plans::Library(tools))) = plan {
        return Ok(Way::Library(Library::new(bundle, tools)));
    }
    match (&declared.database, &declared.api, plan) {
        (Some(database), None, Some((bundle, Plans::Database(plan)))) => {
            let allowed = networks(&declared.allow_networks);
            Ok(Way::Database(Box::new(Database::new(bundle, plan, database, &allowed, timeout))))
        }
        (None, Some(declared_api), Some((bundle, Plans::Api(plan)))) => {
            let http = http(&declared_api.base_url, declared, shown)?;
            Ok(Way::Api(Api::new(bundle, plan, http)))
        }
        (Some(_), _, _) => Err("its grants could not be made".to_owned()),
        (_, _, _) => Err("nothing says what it is".to_owned()),
    }
}

/// Two configurations with the same fingerprint are the same upstream. A database or an API is one
/// of its bundle, since its tools are.
pub(crate) fn fingerprint(
    declared: &declare::Upstream,
    answer_bytes_max: usize,
    bundle: Option<&Digest>,
) -> String {
    format!("{answer_bytes_max} {bundle:?} {declared:?}")
}
