//! Documentation that is nobody's attack: pages of packages, fetched by name and version. From some
//! the model learns; the others are held out as whole packages, to be measured by.

use super::texts::{Source, benign};
use crate::process::run;
use anyhow::{Context, Result};
use regex::Regex;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package with documentation.
pub(crate) struct Package {
    /// What it is called, and where it is fetched from by that name.
    pub(crate) name: &'static str,
    /// The version that is read: with another one other weights come of it.
    pub(crate) version: &'static str,
    /// What its pages may be used under. None of them is in this repository.
    pub(crate) licence: &'static str,
    /// Whether the model may learn from it.
    pub(crate) is_learnt: bool,
}

const fn learnt(name: &'static str, version: &'static str, licence: &'static str) -> Package {
    Package { name, version, licence, is_learnt: true }
}

const fn apart(name: &'static str, version: &'static str, licence: &'static str) -> Package {
    Package { name, version, licence, is_learnt: false }
}

/// Every one: frameworks, tools, services, and one whose pages are about prompts.
pub(crate) const PACKAGES: [Package; 22] = [
    learnt("@modelcontextprotocol/sdk", "1.32.2", "MIT"),
    learnt("aedes", "1.2.0", "MIT"),
    learnt("axios", "1.21.1", "MIT"),
    learnt("commander", "14.0.3", "MIT"),
    learnt("ember-cli", "7.3.0", "MIT"),
    learnt("eslint-plugin-import", "2.32.0", "MIT"),
    learnt("hubot", "14.1.0", "MIT"),
    learnt("markdownlint", "0.40.0", "MIT"),
    learnt("next", "16.4.6", "MIT"),
    learnt("nodemailer", "10.6.1", "MIT-0"),
    learnt("nodemon", "3.1.14", "MIT"),
    learnt("sails", "1.5.18", "MIT"),
    learnt("verdaccio", "6.8.0", "MIT"),
    learnt("ws", "8.23.0", "MIT"),
    apart("ai", "6.0.326", "Apache-2.0"),
    apart("fastify", "5.12.8", "MIT"),
    apart("mercurius", "16.10.1", "MIT"),
    apart("npm", "11.6.2", "Artistic-2.0"),
    apart("pino", "10.4.0", "MIT"),
    apart("react-router", "7.18.6", "MIT"),
    apart("serverless", "3.40.0", "MIT"),
    apart("undici", "7.30.2", "MIT"),
];

/// What a page that is learnt counts for, beside another text: there are many, and the model is to
/// know orders before it knows documentation.
const WEIGHT: f64 = 0.3;

/// The pages of every package, by package; those that are learnt as one source.
pub(crate) fn load(folder: &Path) -> Result<Vec<Source>> {
    let mut together = Vec::new();
    let mut sources = Vec::new();
    for package in &PACKAGES {
        let texts = pages(&fetched(folder, package)?)?;
        if package.is_learnt {
            together.extend(texts);
        } else {
            let source = benign(package.name, texts);
            sources.push(Source { is_learnt: false, is_page: true, ..source });
        }
    }
    sources
        .insert(0, Source { is_page: true, weight: WEIGHT, ..benign("documentation", together) });
    Ok(sources)
}

/// The folder of a package, which is fetched if it is not there.
fn fetched(folder: &Path, package: &Package) -> Result<PathBuf> {
    let file =
        format!("{}-{}", package.name.trim_start_matches('@').replace('/', "-"), package.version);
    let place = folder.join(&file);
    if place.is_dir() {
        return Ok(place);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {folder:?}"))?;
    let wanted = format!("{}@{}", package.name, package.version);
    let mut pack = Command::new("npm");
    run(pack.current_dir(folder).args(["pack", "--ignore-scripts", "--silent"]).arg(wanted))?;
    let packed = folder.join(format!("{file}.tgz"));
    // Unpacked beside its place first: what is there is there whole.
    let beside = folder.join(format!("{file}.part"));
    std::fs::create_dir_all(&beside)?;
    let mut unpack = Command::new("tar");
    run(unpack.arg("xzf").arg(&packed).arg("-C").arg(&beside))?;
    std::fs::remove_file(&packed)?;
    std::fs::rename(&beside, &place)?;
    Ok(place)
}

/// The Markdown beneath a folder, as it looks when it is shown, in the order of paths. What the
/// package has brought along of others is not its own.
fn pages(folder: &Path) -> Result<Vec<String>> {
    let (mut waiting, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(&directory);
        for entry in entries.with_context(|| format!("reading {directory:?}"))? {
            let path = entry?.path();
            let kind = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            if path.is_dir() && !path.ends_with("node_modules") {
                waiting.push(path);
            } else if path.is_file() && matches!(kind, "md" | "mdx") {
                files.push(path);
            }
        }
    }
    files.sort();
    let hidden = Regex::new(
        r"(?x) \A---\n(?s:.*?)\n---\n   # what a page says of itself
        | <!--(?s:.*?)-->               # comments
        | </?[A-Za-z][^<>\n]{0,300}>    # markup
        | \]\([^()\s]*\)                # where links lead",
    )?;
    let read = |path: &PathBuf| -> Result<String> {
        let text = std::fs::read(path).with_context(|| format!("reading {path:?}"))?;
        Ok(hidden.replace_all(&String::from_utf8_lossy(&text), " ").into_owned())
    };
    files.iter().map(read).collect()
}
