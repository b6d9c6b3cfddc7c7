//! What is found in everything that an upstream offers, once for each time that it is fetched.

use crate::catalogue::Catalogue;
use lockgate_detect::definition::{Finding, Severity, scan_definition};
use lockgate_types::{Digest, Json};
use std::collections::{BTreeMap, BTreeSet};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In tools, by name.
    pub tools: BTreeMap<String, Vec<Finding>>,
    /// In what the server says of itself, its instructions among it.
    pub server: Vec<Finding>,
    /// In resources, templates and prompts, by the digest of the item.
    pub items: BTreeMap<Digest, Vec<Finding>>,
    /// The words for what blocks a tool.
    pub(crate) blocking: BTreeMap<String, BTreeSet<&'static str>>,
    /// The words for what blocks the instructions.
    pub(crate) blocking_server: BTreeSet<&'static str>,
}

impl Findings {
    /// Looks at everything that a catalogue has.
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let mut found = Self { server: scan_definition(&catalogue.opening), ..Self::default() };
        found.blocking_server = blocking(&found.server);
        for tool in &catalogue.tools {
            let name = tool.get("name").and_then(Json::as_str).unwrap_or_default();
            let findings = scan_definition(tool);
            if !findings.is_empty() {
                found.blocking.entry(name.to_owned()).or_default().extend(blocking(&findings));
                found.tools.entry(name.to_owned()).or_default().extend(findings);
            }
        }
        let lists = [&catalogue.resources, &catalogue.templates, &catalogue.prompts];
        for item in lists.into_iter().flatten() {
            let findings = scan_definition(item);
            if !findings.is_empty() {
                found.items.insert(item.digest(), findings);
            }
        }
        found
    }

    /// Whether something was found in a prompt, a resource or a template that blocks it.
    pub fn blocks(&self, item: &Json) -> Option<Digest> {
        // Most catalogues have nothing of the kind: then nothing is digested.
        let digest = (!self.items.is_empty()).then(|| item.digest())?;
        let findings = self.items.get(&digest)?;
        (!blocking(findings).is_empty()).then_some(digest)
    }
}

fn blocking(findings: &[Finding]) -> BTreeSet<&'static str> {
    let grave = findings.iter().filter(|finding| finding.severity() == Severity::Block);
    grave.map(|finding| finding.class.as_str()).collect()
}
