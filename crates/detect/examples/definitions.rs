//! Looks at tool definitions in JSON files, in whatever way they are nested, and prints what is
//! found: `cargo run -p lockgate-detect --example definitions -- tools.json`. Fails if anything is.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use lockgate_detect::definition::scan_definition;
use lockgate_types::{Json, JsonLimits, Object};
use std::process::ExitCode;

/// Files of definitions are larger than messages.
const LIMITS: JsonLimits = JsonLimits { bytes_max: 64 << 20, depth_max: 256, members_max: 1 << 20 };

fn main() -> ExitCode {
    let (mut tools, mut flagged) = (0, 0);
    for path in std::env::args().skip(1) {
        let read = std::fs::read(&path).ok();
        let json = read.as_deref().and_then(|bytes| Json::parse(bytes, &LIMITS).ok());
        let Some(json) = json else {
            println!("{path}: not a JSON file");
            return ExitCode::FAILURE;
        };
        for (name, definition) in definitions(&json) {
            tools += 1;
            let findings = scan_definition(&definition);
            flagged += usize::from(!findings.is_empty());
            for finding in findings {
                let (class, severity) = (finding.class.as_str(), finding.severity().as_str());
                println!("{name}: {class} ({severity}) at {} {:?}", finding.pointer, finding.bytes);
            }
        }
    }
    println!("{tools} definitions, {flagged} flagged");
    if flagged == 0 && tools > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every object that describes a tool, with its name: its own, or the key under which it is.
fn definitions(json: &Json) -> Vec<(String, Json)> {
    match json {
        Json::Array(items) => items.iter().flat_map(definitions).collect(),
        Json::Object(members) if is_definition(members) => {
            let name = members.get("name").and_then(Json::as_str).unwrap_or("?");
            vec![(name.to_owned(), as_definition(members))]
        }
        Json::Object(members) => {
            let named = members.iter().flat_map(|(name, member)| {
                definitions(member).into_iter().map(move |(own, tool)| match own.as_str() {
                    "?" => (name.to_owned(), tool),
                    _ => (own, tool),
                })
            });
            named.collect()
        }
        _ => Vec::new(),
    }
}

fn is_definition(members: &Object) -> bool {
    ["schema", "inputSchema", "parameters"].iter().any(|key| members.contains(key))
}

/// The same, with a list of parameters as the properties of a schema: their names are arguments'.
fn as_definition(members: &Object) -> Json {
    let mut members = members.clone();
    if let Some(Json::Array(parameters)) = members.remove("parameters") {
        let named = parameters.into_iter().filter_map(|parameter| {
            let name = parameter.get("name")?.as_str()?.to_owned();
            Some((name, parameter))
        });
        let properties: Object = named.collect();
        members.set("inputSchema", Object::new().with("properties", properties));
    }
    members.into()
}
