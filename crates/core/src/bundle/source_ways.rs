//! What the declaration of a source can say and its connector cannot do: refused by name, so that
//! nothing that is declared is passed over.

use super::document::Findings;
use crate::declare::{SecretPlace, Source};
use crate::retrieve::source::server;
use std::collections::BTreeSet;

pub(super) fn check(source: &Source, found: &mut Findings<'_>) {
    let it = &source.connector;
    let mut no = |path: &[&str], what: &str, hint: &str| found.at(path, what, hint);
    if source.permissions.synced && (it.http.is_some() || it.s3.is_some()) {
        let what = "pages and buckets do not say who may see what";
        no(&["permissions", "synced"], what, "name `readers` under `[permissions]`");
    }
    if let Some(http) = &it.http {
        if !http.follow.is_empty() || http.depth_max > 0 {
            let hint = "name the pages in `urls`, or a list of them in `site_map`";
            no(&["connector", "http"], "links are not followed: `follow` and `depth_max`", hint);
        }
        let addresses = http.urls.iter().chain(&http.site_map);
        let servers: BTreeSet<&str> = addresses.map(|url| server(url)).collect();
        if servers.len() > 1 {
            let hint = "one source for each server";
            no(&["connector", "http", "urls"], "the pages are of several servers", hint);
        }
    }
    if it.mcp.is_some() {
        let hint = "other connectors: `directory`, `git`, `http`, `s3`, and `query` of SQLite";
        no(&["connector", "mcp"], "resources of an upstream are not brought in yet", hint);
    }
    if let Some(query) = &it.query {
        let is_postgres = matches!(query.address.place(),
            SecretPlace::Here(address) if address.starts_with("postgres"));
        if is_postgres {
            let hint = "`sqlite:PATH`";
            no(&["connector", "query", "address"], "PostgreSQL is not brought in yet", hint);
        }
        if !query.allow_networks.is_empty() {
            let what = "an SQLite database is in no network";
            no(&["connector", "query", "allow_networks"], what, "take it out");
        }
        if source.permissions.synced && query.readers.is_none() {
            let hint = "name the column with `readers`, or declare them under `[permissions]`";
            no(&["connector", "query"], "no column says who may see a row", hint);
        }
    }
}
