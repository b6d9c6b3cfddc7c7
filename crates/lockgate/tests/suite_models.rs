//! The test suites that the SDKs' authors publish, through a gate with every guard on. They run
//! against the stand-in directly as well: what fails there is no fault of the gate's.
#![cfg(test)]

mod support;

use lockgate_sim::setup;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::ended;
use support::models::Models;

const OPENAI: &str = "3.51.0";
const ANTHROPIC: &str = "2.10.0";
/// What the suites import.
const BESIDE: [&str; 11] = [
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "pytest-xdist==3.8.0",
    "respx==0.23.1",
    "rich==15.0.0",
    "time-machine==3.6.0",
    "inline-snapshot==0.36.1",
    "dirty-equals==0.11",
    "http-snapshot==0.1.9",
    "opentelemetry-sdk==1.45.2",
    "httpx-aiohttp==0.2.0",
];

/// Everything that is looked for in prompts and answers is looked for.
const GUARDS: &str = "\
[guard.prompt]\nsecrets = \"redact\"\npersonal = [\"*\"]\nrestore = true\n\n\
[guard.answer]\nsecrets = \"redact\"\npersonal = [\"*\"]\nlinks = \"strip\"\n";

/// What some tests have the provider search for by itself: offered only where it is declared.
const HOSTED: &str = "\n[tool.web_search_options]\neffect = \"egress\"\naccepted = true\n";

/// A suite: where its tests are, which of them ask what the gate answers, and how many these are.
struct Suite {
    source: PathBuf,
    files: &'static [&'static str],
    which: &'static str,
    /// Behind the gate's address.
    path: &'static str,
    passed: u32,
}

fn suites() -> [Suite; 2] {
    [
        Suite {
            source: setup::python_source("openai", OPENAI).unwrap(),
            files: &["chat/test_completions.py", "test_responses.py", "test_embeddings.py"],
            which: "create",
            path: "/v1",
            passed: 100,
        },
        Suite {
            source: setup::python_source("anthropic", ANTHROPIC).unwrap(),
            files: &["test_messages.py"],
            which: "create or count_tokens",
            path: "",
            passed: 60,
        },
    ]
}

impl Suite {
    /// Runs the suite against an address; the last line of it says how many passed.
    fn run(&self, python: &Path, address: &str) -> (String, String) {
        let mut command = Command::new(python);
        command.args(["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]);
        command.args(["-k", self.which]);
        command.args(self.files.iter().map(|file| format!("tests/api_resources/{file}")));
        command.env("TEST_API_BASE_URL", format!("{address}{}", self.path));
        let (_, text) = ended(command.current_dir(&self.source));
        let last = text.lines().rev().find(|line| line.contains(" passed"));
        let counts = last.and_then(|line| line.split_once(" in ")).map(|(counts, _)| counts);
        (counts.unwrap_or_default().trim_matches(['=', ' ']).to_owned(), text)
    }
}

#[test]
fn every_published_test_passes_through_the_gate() {
    let (openai, anthropic) = (format!("openai=={OPENAI}"), format!("anthropic=={ANTHROPIC}"));
    let packages = [&[openai.as_str(), anthropic.as_str()][..], &BESIDE].concat();
    let python = setup::python_venv("models", &packages).unwrap().join("bin/python");
    let models = Models::for_any_name(GUARDS);
    models.world.gate.edit("operations/oai.toml", |text| text + HOSTED).unwrap();
    models.world.gate.command(&["reload"]).unwrap();
    for suite in suites() {
        let expected = format!("{} passed", suite.passed);
        let provider = format!("http://{}", models.provider);
        let (direct, text) = suite.run(&python, &provider);
        assert_eq!(direct, expected, "against the stand-in\n{text}");
        let asked = models.seen().len();
        let (through, text) = suite.run(&python, &format!("http://{}", models.fixed));
        assert_eq!(through, expected, "through the gate\n{text}\n{}", models.world.gate.log());
        assert!(models.seen().len() > asked, "it went by the gate");
    }
    let verified = models.world.gate.command(&["verify"]).unwrap();
    assert!(!verified.starts_with("verified 0 "), "{verified}");
    assert!(models.world.gate.command(&["replay"]).unwrap().contains(": 0 differences"));
}
