//! What an answer is checked by before anybody sees it: that what it cites is there, and that what
//! it quotes stands so.

use crate::declare::Verify;

/// Characters of the shortest quotation that is looked for: a word in quotation marks is none.
const QUOTE_CHARS_MIN: usize = 12;
/// Findings that are kept of one answer.
const FINDINGS_MAX: usize = 16;
/// Characters of a quotation in a finding.
const SHOWN_CHARS: usize = 60;

/// What speaks against relying on an answer.
pub type Finding = String;

/// Checks an answer against the texts that stood in its prompt, as blocks from 1.
pub fn rule_check(rules: &Verify, answer: &str, blocks: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    let cited = citations(answer);
    for number in cited.iter().filter(|number| !(1..=blocks.len()).contains(*number)) {
        found.push(format!("it cites [{number}], which is not there"));
    }
    let wanted = usize::try_from(rules.citations_min.unwrap_or(0)).unwrap_or(usize::MAX);
    let there = cited.iter().filter(|number| (1..=blocks.len()).contains(*number)).count();
    if there < wanted {
        found.push(format!("it cites {there} of the data, and {wanted} are wanted"));
    }
    if rules.quotes {
        let stands = |quote: &str| blocks.iter().any(|block| plain(block).contains(&plain(quote)));
        for quote in quotes(answer).filter(|quote| !stands(quote)) {
            let shown: String = quote.chars().take(SHOWN_CHARS).collect();
            found.push(format!("nothing of the data says \"{shown}\""));
        }
    }
    found.truncate(FINDINGS_MAX);
    found
}

/// The numbers that an answer cites, each once, in order.
fn citations(answer: &str) -> Vec<usize> {
    let mut cited: Vec<usize> = Vec::new();
    for piece in answer.split('[').skip(1) {
        let Some((inside, _)) = piece.split_once(']') else { continue };
        let numbers = inside.split(',').map(|number| number.trim().parse::<usize>().ok());
        for number in numbers.collect::<Option<Vec<_>>>().unwrap_or_default() {
            if !cited.contains(&number) {
                cited.push(number);
            }
        }
    }
    cited
}

fn quotes(answer: &str) -> impl Iterator<Item = &str> {
    let marked = answer.split(['"', '\u{201c}', '\u{201d}', '\u{201e}']);
    let inside = marked.enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, quote)| quote.trim());
    inside.filter(|quote| quote.chars().count() >= QUOTE_CHARS_MIN)
}

/// Without what differs by layout alone.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cited_has_to_be_there_and_what_is_quoted_to_stand_so() {
        let blocks = ["The customer  has paid\nin March.", "Nothing else."];
        let rules = Verify { citations_min: Some(1), quotes: true, ..Verify::default() };
        for (answer, findings) in [
            ("It was paid [1].", 0),
            ("It was paid [1, 2], \"the customer has paid in march\".", 0),
            ("It was paid.", 1),
            ("It was paid [3].", 2),
            ("It was paid [1]: \"the customer has never paid\".", 1),
            ("A \"word\" [1].", 0),
            ("An array [x] is no citation [2].", 0),
        ] {
            assert_eq!(rule_check(&rules, answer, &blocks).len(), findings, "{answer}");
        }
    }
}
