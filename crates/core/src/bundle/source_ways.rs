//! What the declaration of a source can say and its connector cannot do: refused by name, so that
//! nothing that is declared is passed over.

use super::document::Findings;
use crate::declare::{
    CurationWord, HttpConnector, QueryConnector, SecretPlace, Source, is_postgres,
};
use crate::model::confidentiality;
use crate::retrieve::source::server;
use crate::world::Operation;
use lockgate_types::flow::Author;
use lockgate_types::label::Confidentiality;
use lockgate_types::{OperationName, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(source: &Source, found: &mut Findings<'_>) {
    let it = &source.connector;
    let mut no = |path: &[&str], what: &str, hint: &str| found.at(path, what, hint);
    if source.permissions.synced && (it.http.is_some() || it.s3.is_some() || it.mcp.is_some()) {
        let what = "pages, buckets and resources do not say who may see what";
        no(&["permissions", "synced"], what, "name `readers` under `[permissions]`");
    }
    if let Some(http) = &it.http {
        let addresses = http.urls.iter().chain(&http.site_map);
        let servers: BTreeSet<&str> = addresses.map(|url| server(url)).collect();
        if servers.len() > 1 {
            let hint = "one source for each server";
            no(&["connector", "http", "urls"], "the pages are of several servers", hint);
        }
        check_follow(http, &mut no);
    }
    if let Some(query) = &it.query {
        check_query(source, query, &mut no);
    }
}

fn check_follow(http: &HttpConnector, no: &mut dyn FnMut(&[&str], &str, &str)) {
    let own = http.urls.first().map(|url| server(url)).unwrap_or_default();
    for (at, place) in http.follow.iter().enumerate() {
        let at = at.to_string();
        let path = ["connector", "http", "follow", at.as_str()];
        if server(place) != own {
            let what = format!("`{place}` is of another server than the pages");
            no(&path, &what, "links are followed on one server: one source for each");
        }
        if !place.ends_with('/') || place.contains(['?', '#', '\\']) || place.contains("/.") {
            let what = format!("`{place}` is no place that addresses lie beneath");
            no(&path, &what, "such as `https://docs.example/handbook/`");
        }
    }
    for (key, is_there) in
        [("depth_max", http.depth_max.is_some()), ("pages_max", http.pages_max.is_some())]
    {
        if is_there && http.follow.is_empty() {
            let what = format!("`{key}` is said, and no links are followed");
            no(&["connector", "http", key], &what, "name places in `follow`, or take it out");
        }
    }
}

fn check_query(source: &Source, query: &QueryConnector, no: &mut dyn FnMut(&[&str], &str, &str)) {
    // Where the address stands elsewhere, it is known when it is read.
    let is_sqlite = matches!(query.address.place(),
        SecretPlace::Here(address) if !is_postgres(address));
    if is_sqlite && !query.allow_networks.is_empty() {
        let what = "an SQLite database is in no network";
        no(&["connector", "query", "allow_networks"], what, "take it out");
    }
    if is_sqlite && !query.functions.is_empty() {
        let what = "functions are named for PostgreSQL only";
        no(&["connector", "query", "functions"], what, "take it out");
    }
    if source.permissions.synced && query.readers.is_none() {
        let hint = "name the column with `readers`, or declare them under `[permissions]`";
        no(&["connector", "query"], "no column says who may see a row", hint);
    }
}

/// That a source says no more of the resources of an upstream than what is declared of reading
/// them: whose words they are, and how confidential.
pub(super) fn check_resources(
    source: &Source,
    operations: &BTreeMap<OperationName, Operation>,
    found: &mut Findings<'_>,
) {
    let Some(mcp) = &source.connector.mcp else { return };
    let Ok(upstream) = UpstreamName::new(&mcp.upstream) else { return };
    let Ok(name) = OperationName::builtin(&upstream, "resources/read") else { return };
    let returns = operations.get(&name).map(|it| &it.flow.returns);
    let author = returns.map_or(Author::Anyone, |it| it.author);
    if source.curation == CurationWord::Curated && author == Author::Anyone {
        let what = format!("what `{name}` returns is anybody's words, and no person curates it");
        let hint = format!(
            "leave `curation` out, or say whose words they are: `[method.\"resources/read\"]` \
             with `returns` in `operations/{upstream}.toml`"
        );
        found.at(&["curation"], what, hint);
    }
    let least = returns.map_or(Confidentiality::Public, |it| it.confidentiality);
    if confidentiality(source.classification) < least {
        let what = format!("the source is less confidential than what `{name}` returns");
        found.at(&["classification"], what, format!("at least `{}`", least.as_str()));
    }
}
