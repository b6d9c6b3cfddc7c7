//! The worked example tells its whole story before the built program: the same question is answered
//! to each within what they may see, and what is hidden, poisoned, taken back or made up is in no
//! answer. Without the public documentation, so that no network is needed.
#![cfg(test)]

mod support;

use lockgate_sim::setup;
use std::path::Path;
use std::process::Command;
use support::{PROGRAM, ended};

/// What is said where nothing was found, or nothing that can be cited.
const NOTHING: &str = "I have found nothing about that.";

/// An answer: who has asked, a part of the question, what stands in it, what does not.
struct Answer(&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// The answers of the story, in order.
const ANSWERS: [Answer; 9] = [
    Answer(
        "alice (support)",
        "How much of the travel budget is spent",
        &["\"Your team lead approves trips", "[1] Travel: documents/handbook/travel.md, people@"],
        &["71,400", "finance", "[2]"],
    ),
    Answer(
        "bob (finance)",
        "How much of the travel budget is spent",
        &["71,400 euros", "\"Your team lead", "[1] Travel budget 2026: documents/finance/travel-"],
        &[],
    ),
    Answer("alice (support)", "Who has a discount", &[NOTHING], &["15 percent", "[1]"]),
    Answer(
        "bob (finance)",
        "Who has a discount",
        &["15 percent as an apology", "documents/customers/accounts.csv#row-4#discount"],
        &[],
    ),
    Answer(
        "alice (support)",
        "Where is the travel desk",
        &["\"Trips are booked through the travel desk", "handbook/travel.md"],
        &["second floor", "no approval", "trips-update"],
    ),
    Answer("bob (finance)", "What is the salary band", &["61,000 to 79,000", "[1]"], &[]),
    Answer("bob (finance)", "What is the salary band", &[NOTHING], &["61,000", "[1]"]),
    Answer("bob (finance)", "How much of the travel budget", &["71,400", "[1]"], &[]),
    Answer("bob (finance)", "How much of the travel budget", &[NOTHING], &["71,400", "[1]"]),
];

/// What else is said, in order.
const SAID: [&str; 8] = [
    "published snapshot 1 of hr serves: 4 documents",
    "published snapshot 2 of wiki serves: 10 documents",
    "withheld: 1",
    "injected: trips-update.html: ",
    "told who may see what of hr",
    "The answer from before, said again now: refused LG-Q032",
    "of handbook/travel.md: refused LG-Q034",
    "verified ",
];

/// The answers that were printed: who asked, what, and what was said, in one line.
fn answers(text: &str) -> Vec<(&str, &str, String)> {
    text.split("\n\n").filter_map(answer_in).collect()
}

fn answer_in(block: &str) -> Option<(&str, &str, String)> {
    let (before, after) = block.split_once(" asks: ")?;
    let (question, answer) = after.split_once('\n')?;
    let words: Vec<&str> = answer.split_whitespace().collect();
    Some((before.rsplit("  ").next()?, question, words.join(" ")))
}

#[test]
fn each_is_told_what_they_may_see_and_what_is_taken_back_is_gone() {
    setup::require_program("python3", "python3").unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/chatbot/run");
    let mut command = Command::new("python3");
    command.arg(example).args(["--exit", "--no-public", "--port", "0", "--lockgate", PROGRAM]);
    command.env_remove("OPENAI_API_KEY");
    let (is_good, text) = ended(&mut command);
    assert!(is_good, "{text}");
    let answers = answers(&text);
    assert_eq!(answers.len(), ANSWERS.len(), "{text}");
    for (Answer(who, about, there, not_there), (asked_by, question, answer)) in
        ANSWERS.iter().zip(&answers)
    {
        assert_eq!(who, asked_by, "{text}");
        assert!(question.contains(about), "{question}\n{text}");
        for part in *there {
            assert!(answer.contains(part), "`{part}` is not in {answer}\n{text}");
        }
        for part in *not_there {
            assert!(!answer.contains(part), "`{part}` is in {answer}\n{text}");
        }
    }
    let mut rest = text.as_str();
    for said in SAID {
        let (_, after) = rest.split_once(said).unwrap_or_else(|| panic!("{said}\n{text}"));
        rest = after;
    }
    assert_eq!(text.matches(" ms from the command to the answer.").count(), 2, "{text}");
    // The chatbot is not cleared for what the board has decided, whoever asks.
    assert!(!text.contains("Kestrel"), "{text}");
}
