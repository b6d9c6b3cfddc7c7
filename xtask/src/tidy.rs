//! `cargo xtask tidy`: the rules that the compiler does not know.
//!
//! Each rule is a pure function from text to findings, tested on fixtures; this file reads the
//! repository and runs them. A finding names a place, the rule, and what to do. A line that must
//! break a rule carries the reason on itself or above: `// tidy: allow <rule>: <reason>`.

mod edges;
mod faults;
mod lexer;
mod manifest;
mod pages;
mod reach;
mod source;
mod words;

use crate::process::{cargo, output};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::Path;

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root of the repository.
    pub(crate) path: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    /// The rule's name, as `// tidy: allow` writes it.
    pub(crate) rule: &'static str,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.message)
    }
}

/// A file of the repository.
pub(crate) struct File {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// Runs every rule and prints what it found.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let mut findings = edges::check(root)?;
    findings.extend(reach::check(root)?);
    findings.extend(faults::check(root)?);
    findings.extend(pages::check(&files));
    for file in &files {
        findings.extend(words::check(file));
        if file.path.ends_with(".rs") {
            findings.extend(source::check(file));
        }
        if file.path == "Cargo.toml" {
            findings.extend(manifest::check(file));
        }
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing to say", files.len());
            Ok(())
        }
        count => bail!("tidy: {count} findings, each with what to do about it above"),
    }
}

/// Every file that is, or would be, under version control and is text.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let listed = output(&mut git).context("hint: tidy reads the list of files from git")?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file that was deleted but is still listed, or that is no text, has no lines to look at.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// What `cargo metadata` says of the workspace, from the lock file as it is.
fn metadata(root: &Path) -> Result<serde_json::Value> {
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let text = output(&mut cargo(root, &arguments))?;
    serde_json::from_str(&text).context("`cargo metadata` prints JSON")
}

/// Whether this line, or the one above it, gives a reason for breaking the rule.
fn is_allowed(lines: &[&str], index: usize, rule: &str) -> bool {
    let marker = format!("tidy: allow {rule}: ");
    let above = index.checked_sub(1).and_then(|it| lines.get(it));
    lines.get(index).into_iter().chain(above).any(|line| line.contains(&marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_needs_its_rule_and_a_reason() {
        let lines = ["// tidy: allow clock: the demo prints it", "now()", "now()"];
        assert!(is_allowed(&lines, 1, "clock"));
        assert!(!is_allowed(&lines, 1, "float"));
        assert!(!is_allowed(&lines, 2, "clock"));
        assert!(!is_allowed(&["// tidy: allow clock:", "now()"], 1, "clock"));
    }
}
