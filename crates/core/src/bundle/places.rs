//! Where files belong in a bundle. A file that has no place is a mistake: nothing is ignored
//! silently.

use super::{Files, Gate, Mistake, suggest};

/// Directories that later parts of a bundle will read. Their files are kept and digested.
const LATER: [&str; 1] = ["tests/"];

/// Where private keys and certificates may lie beside a bundle: never read into it, since bundles
/// are recorded.
const TLS: &str = "tls/";

/// The place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'p> {
    Gate,
    Principals,
    /// With the name of the upstream.
    Operations(&'p str),
    /// With the name of the upstream.
    Pins(&'p str),
    Policy,
    /// With its name.
    Task(&'p str),
    /// With its name.
    Model(&'p str),
    /// With its name.
    Prompt(&'p str),
    /// With its name.
    Workflow(&'p str),
    /// With its name.
    Eval(&'p str),
    /// With its name.
    Source(&'p str),
    Later,
    Note,
    Unknown,
}

impl<'p> Place<'p> {
    pub(super) fn of(path: &'p str) -> Self {
        let in_directory = |directory: &str, extension: &str| {
            let name = path.strip_prefix(directory)?.strip_suffix(extension)?;
            (!name.is_empty() && !name.contains('/')).then_some(name)
        };
        if path == super::GATE {
            Self::Gate
        } else if path == super::PRINCIPALS {
            Self::Principals
        } else if let Some(name) = in_directory("operations/", ".pins.json") {
            Self::Pins(name)
        } else if let Some(name) = in_directory("operations/", ".toml") {
            Self::Operations(name)
        } else if in_directory("policies/", ".cedar").is_some() {
            Self::Policy
        } else if let Some(name) = in_directory("tasks/", ".toml") {
            Self::Task(name)
        } else if let Some(name) = in_directory("models/", ".toml") {
            Self::Model(name)
        } else if let Some(name) = in_directory("prompts/", ".toml") {
            Self::Prompt(name)
        } else if let Some(name) = in_directory("workflows/", ".toml") {
            Self::Workflow(name)
        } else if let Some(name) = in_directory("evals/", ".toml") {
            Self::Eval(name)
        } else if let Some(name) = in_directory("sources/", ".toml") {
            Self::Source(name)
        } else if LATER.iter().any(|directory| path.starts_with(directory)) {
            Self::Later
        } else if path == ".gitignore" || (path.starts_with("README") && !path.contains('/')) {
            Self::Note
        } else {
            Self::Unknown
        }
    }
}

/// Whether a file in the bundle's directory is part of the bundle: hidden files and directories,
/// copies that editors leave behind (`name~`), and `tls/` are not. Whoever reads the directory asks
/// this first.
pub fn belongs(path: &str) -> bool {
    let is_hidden = path.split('/').any(|part| part.starts_with('.') || part.ends_with('~'));
    (!is_hidden || path == ".gitignore") && !path.starts_with(TLS)
}

pub(super) fn check(files: &Files, gate: Option<&Gate>, mistakes: &mut Vec<Mistake>) {
    let listen = || gate.into_iter().flat_map(|gate| &gate.listen);
    for path in files.keys().filter(|path| Place::of(path) == Place::Unknown) {
        // The gate's file may name it, and cannot be read.
        if gate.is_none() && files.contains_key(super::GATE) && path.ends_with(".json") {
            continue;
        }
        let mut tls = listen().filter_map(|listen| listen.tls.as_ref());
        let mut issuers = gate.into_iter().flat_map(|gate| &gate.issuer);
        if issuers.any(|issuer| issuer.jwks_file.as_deref() == Some(path)) {
            continue;
        }
        let mut apis = gate.into_iter().flat_map(|gate| gate.upstream.values());
        if apis.any(|it| it.api.as_ref().is_some_and(|it| it.openapi.as_deref() == Some(path))) {
            continue;
        }
        let (what, hint) = if tls.any(|tls| tls.key == *path || tls.certificate == *path) {
            let what =
                "a listener's key or certificate is inside the bundle, and bundles are recorded";
            (what, "move it to `tls/`, which is never read into a bundle".to_owned())
        } else {
            ("unknown file", hint(path))
        };
        mistakes.push(Mistake { file: path.clone(), line: None, what: what.to_owned(), hint });
    }
}

fn hint(path: &str) -> String {
    const KNOWN: [&str; 11] = [
        "lockgate.toml",
        "principals.toml",
        "operations",
        "policies",
        "tasks",
        "tests",
        "sources",
        "models",
        "prompts",
        "workflows",
        "evals",
    ];
    if path.starts_with("operations/") {
        return "declarations are `operations/<upstream>.toml`, what was accepted is kept in \
                `operations/<upstream>.pins.json`"
            .to_owned();
    }
    if path.starts_with("apis/") {
        return "an upstream's `api` names its OpenAPI document: `openapi = \"apis/…\"`".to_owned();
    }
    if path.starts_with("policies/") {
        return "policies are `policies/<name>.cedar`".to_owned();
    }
    if path.starts_with("tasks/") {
        return "tasks are `tasks/<task>.toml`".to_owned();
    }
    if path.starts_with("models/") {
        return "models are `models/<name>.toml`".to_owned();
    }
    if path.starts_with("prompts/") {
        return "prompts are `prompts/<name>.toml`".to_owned();
    }
    if path.starts_with("workflows/") {
        return "workflows are `workflows/<name>.toml`".to_owned();
    }
    if path.starts_with("evals/") {
        return "suites of behaviour tests are `evals/<suite>.toml`".to_owned();
    }
    if path.starts_with("sources/") {
        return "sources of documents are `sources/<name>.toml`".to_owned();
    }
    let first = path.split('/').next().unwrap_or_default();
    suggest::among(first, &KNOWN)
}
