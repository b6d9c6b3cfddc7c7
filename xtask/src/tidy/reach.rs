//! What must be unreachable from the pure crates: async runtimes, networks, databases, random
//! sources, clocks.
//!
//! The graph is the one cargo would build, with the features actually on: once for the crate alone,
//! and once as part of the product, whose other crates may switch more features on. Procedural
//! macros and build scripts run on the developer's machine and are left out.

use super::Finding;
use crate::process::{cargo, output};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crates that decide, read, prove and detect: functions of their inputs.
pub(super) const PURE: &[&str] = &["types", "detect", "core", "wire", "ledger"];

/// The package whose build is the product.
pub(super) const PRODUCT: &str = "lockgate";

/// A package that may not be reached; with `features`, only while one of them is on.
struct Banned {
    kind: &'static str,
    name: &'static str,
    features: &'static [&'static str],
}

const fn always(kind: &'static str, name: &'static str) -> Banned {
    Banned { kind, name, features: &[] }
}

const BANNED: &[Banned] = &[
    always("an async runtime", "tokio"),
    always("an async runtime", "async-std"),
    always("an async runtime", "async-executor"),
    always("an async runtime", "smol"),
    always("an async runtime", "futures-executor"),
    always("a network", "hyper"),
    always("a network", "hyper-util"),
    always("a network", "h2"),
    always("a network", "reqwest"),
    always("a network", "ureq"),
    always("a network", "socket2"),
    always("a network", "mio"),
    always("a network", "rustls"),
    always("a database", "rusqlite"),
    always("a database", "libsqlite3-sys"),
    always("a database", "sqlx"),
    always("a database", "sqlx-core"),
    always("a database", "tokio-postgres"),
    always("a random source", "getrandom"),
    always("a random source", "rand"),
    always("a random source", "fastrand"),
    always("a random source", "oorandom"),
    always("a random source", "aws-lc-rs"),
    always("a random source", "ring"),
    Banned {
        kind: "a random source",
        name: "rand_core",
        features: &["getrandom", "os_rng", "std"],
    },
    Banned { kind: "a random source", name: "ahash", features: &["runtime-rng"] },
    Banned { kind: "a random source", name: "uuid", features: &["v1", "v4", "v6", "v7", "rng"] },
    Banned { kind: "a clock", name: "chrono", features: &["clock", "now"] },
    Banned { kind: "a clock", name: "time", features: &["std", "local-offset"] },
    always("a clock", "jiff"),
    always("a clock", "instant"),
    always("a clock", "web-time"),
    always("a clock", "quanta"),
    always("a clock", "coarsetime"),
    always("a clock", "iana-time-zone"),
];

/// Looks at what cargo would build.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let product = graph(root, PRODUCT)?;
    let mut findings = Vec::new();
    for short in PURE {
        let package = format!("lockgate-{short}");
        for graph in [&graph(root, &package)?, &product] {
            for message in reached(graph, &package) {
                let path = format!("crates/{short}/Cargo.toml");
                findings.push(Finding { path, line: 0, rule: "reach", message });
            }
        }
    }
    Ok(findings)
}

pub(super) fn graph(root: &Path, package: &str) -> Result<Graph> {
    let arguments = ["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "depth"];
    let mut command = cargo(root, &arguments);
    command.args(["--format", "|{p}|{f}|", "--package", package]);
    Graph::parse(&output(&mut command)?).context("`cargo tree` prints depths and packages")
}

/// The packages of a build: each with its features and the packages it uses.
#[derive(Default)]
pub(super) struct Graph {
    features: BTreeMap<Package, BTreeSet<String>>,
    uses: BTreeMap<Package, BTreeSet<Package>>,
}

/// Name and version.
type Package = (String, String);

impl Graph {
    /// The packages that are built with a feature of that name.
    pub(super) fn with_feature(&self, feature: &str) -> Vec<&str> {
        let has = self.features.iter().filter(|(_, features)| features.contains(feature));
        has.map(|(package, _)| package.0.as_str()).collect()
    }

    /// Reads lines like `2|serde v1.0.229|default,std| (*)`: a depth, a package, its features.
    fn parse(tree: &str) -> Option<Self> {
        let mut graph = Self::default();
        let mut path: Vec<Package> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let mut fields = line.split('|');
            let depth: usize = fields.next()?.parse().ok()?;
            let mut words = fields.next()?.split(' ');
            let package = (words.next()?.to_owned(), words.next()?.to_owned());
            let features = fields.next()?.split(',').filter(|it| !it.is_empty()).map(str::to_owned);
            graph.features.entry(package.clone()).or_default().extend(features);
            path.truncate(depth);
            if let Some(parent) = path.last() {
                graph.uses.entry(parent.clone()).or_default().insert(package.clone());
            }
            path.push(package);
        }
        Some(graph)
    }
}

/// What is banned and reached from a package, with the way to it.
fn reached(graph: &Graph, start: &str) -> Vec<String> {
    let Some(start) = graph.features.keys().find(|package| package.0 == start) else {
        return Vec::new();
    };
    let mut came_from: BTreeMap<&Package, &Package> = BTreeMap::new();
    let mut queue = vec![start];
    let mut messages = Vec::new();
    while let Some(package) = queue.pop() {
        messages.extend(breach(graph, package).map(|what| {
            format!(
                "{what} is reachable: {}; do without it, or switch the feature off",
                way(&came_from, package)
            )
        }));
        for used in graph.uses.get(package).into_iter().flatten() {
            if used != start && !came_from.contains_key(used) {
                came_from.insert(used, package);
                queue.push(used);
            }
        }
    }
    messages
}

fn breach(graph: &Graph, package: &Package) -> Option<String> {
    let banned = BANNED.iter().find(|banned| banned.name == package.0)?;
    if banned.features.is_empty() {
        return Some(banned.kind.to_owned());
    }
    let on = graph.features.get(package)?;
    let feature = banned.features.iter().find(|feature| on.contains(**feature))?;
    Some(format!("{} (feature `{feature}`)", banned.kind))
}

fn way(came_from: &BTreeMap<&Package, &Package>, end: &Package) -> String {
    let mut names = vec![end.0.as_str()];
    let mut package = end;
    while let Some(before) = came_from.get(package) {
        names.push(before.0.as_str());
        package = before;
    }
    names.reverse();
    names.join(" > ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(tree: &str) -> Vec<String> {
        reached(&Graph::parse(tree).unwrap(), "lockgate-core")
    }

    #[test]
    fn a_runtime_two_steps_away_is_found_with_its_way() {
        let tree = "0|lockgate-core v0.1.0 (/somewhere)||\n1|left v1.0.0||\n2|tokio v1.2.3|rt|\n";
        let found = messages(tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("lockgate-core > left > tokio"), "{found:?}");
    }

    #[test]
    fn a_clock_is_banned_by_its_feature() {
        let tree = |features| format!("0|lockgate-core v0.1.0||\n1|chrono v0.4.45|{features}|\n");
        assert_eq!(messages(&tree("")), Vec::<String>::new());
        assert_eq!(messages(&tree("alloc,std")), Vec::<String>::new());
        assert!(messages(&tree("clock,std"))[0].contains("feature `clock`"));
    }

    #[test]
    fn a_package_that_was_printed_before_still_leads_on() {
        let tree = "0|lockgate v0.1.0||\n1|shared v1.0.0||\n2|mio v1.0.0||\n1|lockgate-core v0.1.0||\n2|shared v1.0.0|| (*)\n";
        assert!(messages(tree)[0].contains("lockgate-core > shared > mio"));
    }

    #[test]
    fn what_others_use_is_not_reached() {
        let tree =
            "0|lockgate v0.1.0||\n1|tokio v1.0.0||\n1|lockgate-core v0.1.0||\n2|serde v1.0.0||\n";
        assert_eq!(messages(tree), Vec::<String>::new());
    }
}
