//! `cargo xtask codegen`: generated files that are checked in, and that may not drift from their
//! source.

use crate::process::{cargo, output, run, target};
use anyhow::{Context, Result, bail};
use lockgate_types::Code;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Where the pages of the error codes are.
pub(crate) const ERRORS: &str = "docs/errors";

/// A generated file: its path from the root, and what it should contain.
struct Generated {
    path: String,
    text: String,
}

/// What the gate prints about itself, so that it cannot drift from the program: file, and the
/// argument of `lockgate reference`.
const REFERENCES: &[(&str, &str)] = &[
    ("docs/reference/cli.md", "cli"),
    ("docs/reference/openapi.json", "openapi"),
    ("docs/reference/config.schema.json", "config"),
    ("docs/reference/principals.schema.json", "principals"),
    ("docs/reference/operations.schema.json", "operations"),
    ("docs/reference/tasks.schema.json", "tasks"),
    ("docs/reference/workflows.schema.json", "workflows"),
    ("docs/reference/models.schema.json", "models"),
    ("docs/reference/prompts.schema.json", "prompts"),
    ("docs/reference/evals.schema.json", "evals"),
    ("docs/reference/sources.schema.json", "sources"),
];

/// Writes every generated file that differs.
pub(crate) fn write(root: &Path) -> Result<()> {
    write_all(root, from_source(root)?)?;
    build_binary(root)?;
    write_all(root, references(root)?)
}

/// Fails if a generated file differs.
pub(crate) fn check(root: &Path) -> Result<()> {
    build_binary(root)?;
    check_built(root)
}

/// Fails if a generated file differs from what the gate that was built last says.
pub(crate) fn check_built(root: &Path) -> Result<()> {
    let mut all = from_source(root)?;
    all.extend(references(root)?);
    let mut count = 0_usize;
    for Generated { path, .. } in all.iter().filter(|it| it.differs(root)) {
        println!("{path}:0: [codegen] differs from its source: run `cargo xtask codegen`");
        count += 1;
    }
    match count {
        0 => Ok(()),
        count => bail!("codegen: {count} files are out of date"),
    }
}

impl Generated {
    fn differs(&self, root: &Path) -> bool {
        std::fs::read_to_string(root.join(&self.path)).ok().as_ref() != Some(&self.text)
    }
}

fn write_all(root: &Path, all: Vec<Generated>) -> Result<()> {
    for generated in all.iter().filter(|it| it.differs(root)) {
        let Generated { path, text } = generated;
        let file = root.join(path);
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).with_context(|| format!("creating `{path}`"))?;
        }
        std::fs::write(&file, text).with_context(|| format!("writing `{path}`"))?;
        println!("codegen: wrote {path}");
    }
    Ok(())
}

fn build_binary(root: &Path) -> Result<()> {
    run(&mut cargo(root, &["build", "--quiet", "--package", "lockgate"]))
}

fn references(root: &Path) -> Result<Vec<Generated>> {
    let program = target(root).join("debug/lockgate");
    let mut all = Vec::new();
    for (path, which) in REFERENCES {
        // Without environment: help texts show the values of variables they read.
        let text = output(Command::new(&program).env_clear().args(["reference", which]))?;
        let text = if path.ends_with(".json") { sorted_json(&text)? } else { text };
        let text = format!("{}\n", text.trim_end());
        all.push(Generated { path: (*path).to_owned(), text });
    }
    Ok(all)
}

/// JSON with its members in order: in which order the gate prints them depends on the features of
/// `serde_json` that other crates of the same build switch on.
fn sorted_json(text: &str) -> Result<String> {
    let value: Value = serde_json::from_str(text).context("the reference is JSON")?;
    serde_json::to_string_pretty(&sorted(value)).context("JSON can be written")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            members.into_iter().map(|(name, value)| (name, sorted(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        value => value,
    }
}

/// What is read from the source.
fn from_source(root: &Path) -> Result<Vec<Generated>> {
    let mut all = error_pages(root);
    all.push(Generated { path: "docs/limits.md".to_owned(), text: crate::limits::page(root)? });
    all.push(Generated { path: format!("{ERRORS}/README.md"), text: errors_index() });
    Ok(all)
}

/// The pages there are, with the head the table asks for.
fn error_pages(root: &Path) -> Vec<Generated> {
    let page = |code: &Code| {
        let path = format!("{ERRORS}/{code}.md");
        let text = std::fs::read_to_string(root.join(&path)).ok()?;
        let (_, body) = text.split_once("\n## ")?;
        Some(Generated { path, text: format!("{}\n## {body}", page_head(*code)) })
    };
    Code::ALL.iter().filter_map(page).collect()
}

/// The first lines of a code's page.
pub(crate) fn page_head(code: Code) -> String {
    let (title, blame, retry) = (code.title(), code.blame().as_str(), code.retry());
    let remedy = code.remedy();
    format!("# {code}: {title}\n\nBlame: {blame} · Retry: {retry} · Remedy: {remedy}\n")
}

/// The index of the pages.
pub(crate) fn errors_index() -> String {
    let mut text = String::from(
        "# Error codes\n\n\
         Every refusal and failure carries one of these codes. A code never changes its meaning\n\
         and is never used again. `blame` says who has to act; `retry` whether the same request\n\
         may succeed later.\n\n\
         | code | what happened | blame | retry |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let (title, blame, retry) = (code.title(), code.blame().as_str(), code.retry());
        // Writing to a string does not fail.
        let _ = writeln!(text, "| [{code}]({code}.md) | {title} | {blame} | {retry} |");
    }
    text.push_str("\nGenerated from `crates/types/src/code.rs` by `cargo xtask codegen`.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_do_not_depend_on_the_order_of_members() {
        let one = sorted_json(r#"{"b": [{"d": 1, "c": 2}], "a": 3}"#).unwrap();
        assert_eq!(one, sorted_json(r#"{"a": 3, "b": [{"c": 2, "d": 1}]}"#).unwrap());
        assert!(one.find("\"a\"") < one.find("\"b\""));
    }

    #[test]
    fn the_index_lists_every_code_once() {
        let index = errors_index();
        for code in Code::ALL {
            assert_eq!(index.matches(&format!("| [{code}]")).count(), 1, "{code}");
        }
    }
}
