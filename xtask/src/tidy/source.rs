//! What a Rust file of ours may look like, and what the pure crates may not mention.

use super::lexer::code_of;
use super::reach::PURE;
use super::{File, Finding, is_allowed};

/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 500;
/// Columns of a line.
const COLUMNS_MAX: usize = 100;

/// Modules of the standard library that do I/O, read the environment or depend on scheduling.
const IMPURE_MODULES: &[&str] = &["env", "fs", "os", "process", "thread"];
/// Types of the standard library that reach the network; addresses are values like any other.
const SOCKETS: &[&str] = &["TcpListener", "TcpStream", "ToSocketAddrs", "UdpSocket"];
/// Types of the standard library that read the clock.
const CLOCKS: &[&str] = &["Instant", "SystemTime"];
/// Types whose iteration order changes from run to run.
const UNORDERED: &[&str] = &["HashMap", "HashSet", "RandomState"];

/// A file, with what every rule asks of it.
struct Source<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    /// The lines without comments and literals.
    code: Vec<&'a str>,
    /// The index of the first line of tests.
    tests_from: usize,
    is_pure: bool,
}

/// Looks at one Rust file.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let code = code_of(&file.text);
    let code: Vec<&str> = code.lines().collect();
    let source = Source {
        path: &file.path,
        lines: file.text.lines().collect(),
        tests_from: tests_from(&file.path, &code),
        code,
        is_pure: PURE.iter().any(|it| file.path.starts_with(&format!("crates/{it}/src/"))),
    };
    let mut findings = Vec::new();
    source.check_size(&mut findings);
    for index in 0..source.code.len() {
        source.check_columns(index, &mut findings);
        source.check_unfinished(index, &mut findings);
        if source.is_pure && index < source.tests_from {
            source.check_purity(index, &mut findings);
        }
    }
    findings
}

/// Tests are whole files under `tests/`, `fuzz/` and `benches/`, files named `tests.rs`, and
/// whatever follows a test module's attribute at the left margin.
fn tests_from(path: &str, code: &[&str]) -> usize {
    let is_test_directory = |it: &str| matches!(it, "tests" | "fuzz" | "benches" | "tests.rs");
    if path.split('/').any(is_test_directory) {
        return 0;
    }
    let begins_module = |line: Option<&&str>| line.is_some_and(|it| it.starts_with("mod "));
    let found = code.iter().enumerate().position(|(index, line)| {
        line.trim_end() == "#[cfg(test)]"
            && (begins_module(code.get(index + 1)) || begins_module(code.get(index + 2)))
    });
    found.unwrap_or(code.len())
}

impl Source<'_> {
    fn report(
        &self,
        index: usize,
        rule: &'static str,
        message: String,
        findings: &mut Vec<Finding>,
    ) {
        if !is_allowed(&self.lines, index, rule) {
            findings.push(Finding { path: self.path.to_owned(), line: index + 1, rule, message });
        }
    }

    /// Whether the file gives, in any line, a reason for breaking a rule throughout: a table of
    /// uniform items.
    fn is_excused(&self, rule: &str) -> bool {
        (0..self.lines.len()).any(|index| is_allowed(&self.lines, index, rule))
    }

    fn check_size(&self, findings: &mut Vec<Finding>) {
        let lines = self.tests_from.min(self.lines.len());
        if lines > FILE_LINES_MAX && !self.is_excused("file-size") {
            let message = format!(
                "{lines} lines before the tests, {FILE_LINES_MAX} at most: split it where the idea \
                 changes; a table of uniform items says `// tidy: allow file-size: <why>`"
            );
            self.report(FILE_LINES_MAX, "file-size", message, findings);
        }
    }

    fn check_columns(&self, index: usize, findings: &mut Vec<Finding>) {
        let line = self.lines.get(index).copied().unwrap_or_default();
        let columns = line.chars().count();
        let is_comment = line.trim_start().starts_with("//");
        let is_test_fixture = index >= self.tests_from && !is_comment;
        if columns <= COLUMNS_MAX
            || is_test_fixture
            || (is_comment && line.contains("://"))
            || self.is_excused("line-length")
        {
            return;
        }
        let message = format!("{columns} columns, {COLUMNS_MAX} at most: break the line");
        self.report(index, "line-length", message, findings);
    }

    fn check_unfinished(&self, index: usize, findings: &mut Vec<Finding>) {
        let code = self.code.get(index).copied().unwrap_or_default();
        let is_test = index >= self.tests_from;
        if code.contains("#[ignore") {
            let message = "an ignored test proves nothing: make it run everywhere, or delete it";
            self.report(index, "ignored-test", message.into(), findings);
        }
        if is_test && code.contains("sleep(") {
            let message = "a test that sleeps is slow or wrong: wait for the condition itself \
                           (`lockgate_sim::wait`)";
            self.report(index, "sleep", message.into(), findings);
        }
        if has_word(code, concat!("to", "do")) && code.contains(concat!("to", "do!")) {
            self.report(index, "unfinished", "finish it, or refuse with a code".into(), findings);
        }
    }

    fn check_purity(&self, index: usize, findings: &mut Vec<Finding>) {
        let code = self.code.get(index).copied().unwrap_or_default();
        let statement = self.statement(index);
        for module in IMPURE_MODULES {
            let is_named = code.contains(&format!("std::{module}"));
            let is_grouped = statement.starts_with("use std::{") && has_word(&statement, module);
            if is_named || is_grouped {
                let message =
                    format!("`std::{module}` in a pure crate: take the value as an argument");
                self.report(index, "pure", message, findings);
            }
        }
        for socket in SOCKETS.iter().filter(|it| has_word(code, it)) {
            let message = format!("`{socket}` in a pure crate: leave the network to `effects`");
            self.report(index, "pure", message, findings);
        }
        for clock in CLOCKS {
            if has_word(code, clock) {
                let message = format!("`{clock}` in a pure crate: time is a fact, take `Micros`");
                self.report(index, "clock", message, findings);
            }
        }
        for float in ["f32", "f64"] {
            if has_word(code, float) {
                let message =
                    format!("`{float}` in a pure crate: use integers, or `Number`'s text");
                self.report(index, "float", message, findings);
            }
        }
        for unordered in UNORDERED {
            if has_word(code, unordered)
                && !statement.starts_with("use ")
                && !self.is_order_free(index)
            {
                let message = format!(
                    "`{unordered}` in a pure crate: use the `BTree` one, or say on the line above \
                     why its order cannot reach an answer: `// order-free: <why>`"
                );
                self.report(index, "order", message, findings);
            }
        }
    }

    fn is_order_free(&self, index: usize) -> bool {
        let above = index.checked_sub(1).and_then(|it| self.lines.get(it));
        let lines = self.lines.get(index).into_iter().chain(above);
        lines.into_iter().any(|line| line.contains("// order-free: "))
    }

    /// The `use` statement that begins here, over as many lines as it takes; else the line.
    fn statement(&self, index: usize) -> String {
        let line = self.code.get(index).copied().unwrap_or_default().trim();
        let statement = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if !statement.starts_with("use ") {
            return statement.to_owned();
        }
        let mut joined = statement.to_owned();
        for line in self.code.iter().skip(index + 1) {
            if joined.contains(';') {
                break;
            }
            joined.push_str(line.trim());
        }
        joined
    }
}

/// Whether a word stands in the text, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|it| it.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|it| it.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let file = File { path: path.into(), text: text.into() };
        check(&file).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn long_files_are_found_and_their_tests_are_not_counted() {
        let code = "fn f() {}\n".repeat(500);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(rules("crates/store/src/a.rs", &format!("{code}{tests}")), []);
        assert_eq!(rules("crates/store/src/a.rs", &format!("{code}{code}")), [(501, "file-size")]);
        assert_eq!(rules("crates/store/tests/a.rs", &format!("{code}{code}")), []);
        let excused = format!("// tidy: allow file-size: one row per code\n{code}{code}");
        assert_eq!(rules("crates/store/src/a.rs", &excused), []);
    }

    #[test]
    fn long_lines_are_found_except_test_data_and_addresses() {
        let long = "x".repeat(101);
        assert_eq!(rules("crates/store/src/a.rs", &format!("// {long}\n")), [(1, "line-length")]);
        assert_eq!(rules("crates/store/src/a.rs", &format!("// https://{long}\n")), []);
        assert_eq!(rules("crates/store/tests/a.rs", &format!("f(\"{long}\");\n")), []);
        assert_eq!(rules("crates/store/tests/a.rs", &format!("// {long}\n")), [(1, "line-length")]);
        assert_eq!(rules("crates/store/src/a.rs", &format!("// {}\n", "ä".repeat(97))), []);
    }

    #[test]
    fn unfinished_work_and_tests_that_do_not_test_are_found() {
        assert_eq!(rules("a/src/a.rs", "#[ignore]\n"), [(1, "ignored-test")]);
        assert_eq!(rules("a/src/a.rs", "#[ignore = \"slow\"]\n"), [(1, "ignored-test")]);
        assert_eq!(rules("a/src/a.rs", concat!("fn f() { to", "do!() }\n")), [(1, "unfinished")]);
        assert_eq!(rules("a/tests/a.rs", "thread::sleep(SECOND);\n"), [(1, "sleep")]);
        assert_eq!(rules("a/src/a.rs", "thread::sleep(SECOND);\n"), []);
        let inside = "#[cfg(test)]\nmod tests {\n    sleep(SECOND).await;\n}\n";
        assert_eq!(rules("a/src/a.rs", inside), [(3, "sleep")]);
        assert_eq!(rules("a/src/a.rs", concat!("// to", "do! and #[ignore] in prose\n")), []);
    }

    #[test]
    fn the_pure_crates_are_pure() {
        let pure = |text| rules("crates/core/src/a.rs", text);
        assert_eq!(pure("use std::time::Instant;\n"), [(1, "clock")]);
        assert_eq!(pure("use std::time::Duration;\n"), []);
        assert_eq!(pure("let x = std::fs::read(path);\n"), [(1, "pure")]);
        assert_eq!(pure("use std::{\n    collections::BTreeMap,\n    env,\n};\n"), [(1, "pure")]);
        assert_eq!(pure("use std::net::{IpAddr, TcpStream};\n"), [(1, "pure")]);
        assert_eq!(pure("use std::net::{IpAddr, SocketAddr};\n"), []);
        assert_eq!(pure("let x: f64 = y;\n"), [(1, "float")]);
        assert_eq!(pure("// f64 would lose digits\nlet x = \"f64\";\n"), []);
        assert_eq!(pure("use std::collections::HashMap;\n"), []);
        assert_eq!(pure("let x: HashMap<A, B> = y;\n"), [(1, "order")]);
        assert_eq!(pure("// order-free: only looked up\nlet x: HashMap<A, B> = y;\n"), []);
        assert_eq!(pure("#[cfg(test)]\nmod tests {\n    let x: f64;\n}\n"), []);
        assert_eq!(rules("crates/kernel/src/a.rs", "let x: f64 = Instant::now();\n"), []);
    }

    #[test]
    fn a_test_module_is_not_any_attribute() {
        let text = "#[cfg(test)]\nuse x::y;\nlet x: f64;\n";
        assert_eq!(rules("crates/core/src/a.rs", text), [(3, "float")]);
    }
}
