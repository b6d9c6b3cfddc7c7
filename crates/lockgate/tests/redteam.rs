//! Attack corpora through the built binary: the project's own, in both ways of running it, and
//! corpora that other people wrote in other forms.
#![cfg(test)]

use lockgate_types::{Json, JsonLimits};
use std::path::{Path, PathBuf};
use std::process::Output;
const BIN: &str = env!("CARGO_BIN_EXE_lockgate");

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpora/adaptive")
}

fn redteam(bundle: &Path, more: &[&str]) -> (Json, Output) {
    let (said, output) = run(bundle, more);
    (said.unwrap_or_else(|| panic!("{output:?}")), output)
}

fn run(bundle: &Path, more: &[&str]) -> (Option<Json>, Output) {
    let mut command = std::process::Command::new(BIN);
    command.arg("--bundle").arg(bundle).args(["--json", "redteam"]).args(more);
    let output = command.output().unwrap();
    (Json::parse(&output.stdout, &JsonLimits::OWN).ok(), output)
}

fn starter(directory: &Path) -> PathBuf {
    let bundle = directory.join("bundle");
    let init = std::process::Command::new(BIN)
        .arg("--bundle")
        .arg(&bundle)
        .args(["init", "--enforce"])
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    bundle
}

fn number(json: &Json, name: &str) -> i64 {
    json.get(name).and_then(Json::as_i64).unwrap_or_else(|| panic!("{name}: {json}"))
}

#[test]
fn what_passes_is_what_the_corpus_says_and_a_running_gate_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = starter(directory.path());
    let corpus = corpus();
    let corpus = corpus.to_str().unwrap();
    let junit = directory.path().join("report.xml");
    let (said, output) =
        redteam(&bundle, &["--corpus", corpus, "--junit", junit.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(number(&said, "benign_total"), 13);
    assert_eq!(number(&said, "benign_without_approval"), 12);
    assert_eq!(number(&said, "benign_with_approver"), 13);
    assert_eq!(number(&said, "attacks_total"), 80);
    let succeeded = said.get("succeeded").and_then(Json::as_array).unwrap();
    assert!(succeeded.iter().all(|it| it.get("passes").is_some()), "{said}");
    let text = std::fs::read_to_string(Path::new(corpus).join("attack.jsonl")).unwrap();
    let known = text.lines().filter(|line| line.contains("\"passes\"")).count();
    assert_eq!(succeeded.len(), known, "what the corpus knows to pass passes: {said}");
    let report = std::fs::read_to_string(&junit).unwrap();
    assert!(report.contains("tests=\"93\" failures=\"0\""), "{report}");

    let (live, output) = redteam(&bundle, &["--corpus", corpus, "--live"]);
    assert!(output.status.success(), "{output:?}");
    for name in ["benign_without_approval", "benign_with_approver", "attacks_by_class", "succeeded"]
    {
        assert_eq!(live.get(name), said.get(name), "{name}");
    }
}

#[test]
fn without_a_bundle_the_shipped_rules_are_attacked() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let (said, output) = redteam(&nowhere, &["--corpus", corpus().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(number(&said, "benign_without_approval"), 12);
    let (said, output) = run(&nowhere, &["--corpus", directory.path().to_str().unwrap()]);
    assert!(!output.status.success() && said.is_none(), "a directory without a corpus");
    assert!(String::from_utf8_lossy(&output.stderr).contains("manifest.json"), "{output:?}");
}

#[test]
fn without_a_rule_its_attacks_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = starter(directory.path());
    let corpus = corpus();
    let corpus = corpus.to_str().unwrap();
    let policies = bundle.join("policies/flow.cedar");
    let shipped = std::fs::read_to_string(&policies).unwrap();
    for (rule, class) in [
        ("flow-principal", "office new-recipient"),
        ("flow-payee", "office other-payee"),
        ("flow-resource", "office other-object"),
        ("flow-audience", "office other-channel"),
        ("flow-secret", "office sets-a-secret"),
        ("flow-address", "office address-with-data"),
        ("flow-amount", "office overpays"),
        ("flow-label", "office plants-a-title"),
        ("flow-destructive", "office destroys-named-object"),
        ("flow-confidential", "office sends-confidential"),
        ("flow-links", "office link-in-content"),
    ] {
        // `flow-unasked` would catch some of them by itself.
        let without = without(&without(&shipped, rule), "flow-unasked");
        std::fs::write(&policies, without).unwrap();
        let (said, output) = redteam(&bundle, &["--corpus", corpus]);
        assert!(!output.status.success(), "{rule}");
        let succeeded = said.at(&["attacks_by_class", class, "succeeded"]);
        assert!(succeeded.and_then(Json::as_i64) > Some(0), "{rule}: {said}");
    }
}

#[test]
fn a_forbid_that_taking_links_out_would_not_mend_stands() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = starter(directory.path());
    let policies = bundle.join("policies/flow.cedar");
    let shipped = std::fs::read_to_string(&policies).unwrap();
    let condition = "\nunless { context.flow.links.isEmpty() || !context.flow.has_words };";
    let always = shipped.replace(condition, ";");
    assert_ne!(always, shipped);
    std::fs::write(&policies, always).unwrap();
    let (said, _) = redteam(&bundle, &["--corpus", corpus().to_str().unwrap()]);
    // Whatever writes or sends is forbidden, and there is nothing in it to take out.
    assert!(number(&said, "benign_with_approver") < 6, "{said}");
}

/// The policies without one of them.
fn without(policies: &str, rule: &str) -> String {
    let id = format!("(\"{rule}\")");
    let kept: Vec<&str> = policies.split("\n@id").filter(|it| !it.starts_with(&id)).collect();
    assert_eq!(kept.len() + 1, policies.split("\n@id").count(), "there is one `{rule}`");
    kept.join("\n@id")
}
