//! Every code has its page, every page its code, and head and index say what the table says.

use super::{File, Finding};
use crate::codegen::{ERRORS, errors_index, page_head};
use lockgate_types::Code;

/// Lines of a page: a reader has an incident at hand.
const PAGE_LINES_MAX: usize = 25;
/// What every page answers.
const SECTIONS: &[&str] = &["## Cause", "## What to do", "## Example"];

/// Looks at the pages among the files.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for code in Code::ALL {
        let path = format!("{ERRORS}/{code}.md");
        match files.iter().find(|file| file.path == path) {
            Some(file) => findings.extend(check_page(*code, file)),
            None => findings.push(finding(&path, format!("`{code}` has no page: write one"))),
        }
    }
    for file in files.iter().filter(|file| file.path.starts_with(&format!("{ERRORS}/"))) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let code = name.strip_suffix(".md").and_then(Code::from_code);
        if code.is_none() && name != "README.md" {
            let message = "no code has this page: remove it, or add the code to the table";
            findings.push(finding(&file.path, message.into()));
        }
    }
    let index = format!("{ERRORS}/README.md");
    if files.iter().find(|file| file.path == index).is_none_or(|file| file.text != errors_index()) {
        findings.push(finding(&index, "the index is old: run `cargo xtask codegen`".into()));
    }
    findings
}

fn check_page(code: Code, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with(&page_head(code)) {
        let message = "the head differs from the table: run `cargo xtask codegen`";
        findings.push(finding(&file.path, message.into()));
    }
    for section in SECTIONS.iter().filter(|it| !file.text.lines().any(|line| line == **it)) {
        findings.push(finding(&file.path, format!("the page lacks `{section}`: write it")));
    }
    let lines = file.text.lines().count();
    if lines > PAGE_LINES_MAX {
        findings.push(finding(&file.path, format!("{lines} lines, {PAGE_LINES_MAX} at most: cut")));
    }
    findings
}

fn finding(path: &str, message: String) -> Finding {
    Finding { path: path.to_owned(), line: 0, rule: "error-page", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<File> {
        let page = |code: &Code| File {
            path: format!("{ERRORS}/{code}.md"),
            text: format!("{}\n{}\n", page_head(*code), SECTIONS.join("\n\ntext\n\n")),
        };
        let mut files: Vec<File> = Code::ALL.iter().map(page).collect();
        files.push(File { path: format!("{ERRORS}/README.md"), text: errors_index() });
        files
    }

    #[test]
    fn a_complete_set_is_accepted() {
        assert_eq!(check(&complete()), []);
    }

    #[test]
    fn missing_superfluous_and_changed_pages_are_found() {
        let mut files = complete();
        files.remove(0);
        files.push(File { path: format!("{ERRORS}/LG-Z999.md"), text: String::new() });
        for file in &mut files {
            if file.path.ends_with("LG-W002.md") {
                file.text = file.text.replace("Blame", "Fault").replace("## Cause", "## Why");
            }
            if file.path.ends_with("LG-W003.md") {
                file.text.push_str(&"more\n".repeat(PAGE_LINES_MAX));
            }
            if file.path.ends_with("README.md") {
                file.text.push('x');
            }
        }
        let paths: Vec<String> = check(&files).into_iter().map(|it| it.path).collect();
        let expected = ["LG-W001", "LG-W002", "LG-W002", "LG-W003", "LG-Z999", "README"];
        assert_eq!(paths, expected.map(|name| format!("{ERRORS}/{name}.md")));
    }
}
