//! What an answer cites: sources by their number in brackets, sentence by sentence.

use crate::declare::Cites;

/// What speaks against what an answer cites, of so many sources.
pub(super) fn against(rules: &Cites, sources: usize, text: &str, against: &mut Vec<String>) {
    let cited = numbers(text);
    for number in cited.iter().filter(|number| !(1..=sources).contains(*number)) {
        against.push(format!("it cites [{number}], which is not there"));
    }
    let there = cited.iter().filter(|number| (1..=sources).contains(*number)).count();
    let wanted = usize::try_from(rules.sources_min).unwrap_or(usize::MAX);
    if there < wanted {
        against.push(format!("it cites {there} of the sources, and {wanted} are wanted"));
    }
    if rules.every_sentence {
        let is_bare = |sentence: &&String| numbers(sentence).is_empty();
        let all = sentences(text);
        let bare = all.iter().filter(is_bare).count();
        if bare > 0 || all.is_empty() {
            against.push(format!("{bare} of {} sentences cite nothing", all.len()));
        }
    }
}

/// The numbers that a text cites, each once.
fn numbers(text: &str) -> Vec<usize> {
    let mut cited = Vec::new();
    for piece in text.split('[').skip(1) {
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

/// The sentences of a text. What stands in brackets behind the stop belongs to the sentence before;
/// what has no letters is none, and neither is a line that ends in a colon.
fn sentences(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut open = String::new();
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            open.push(c);
            let is_end =
                matches!(c, '.' | '!' | '?') && rest.peek().is_none_or(|c| c.is_whitespace());
            if is_end {
                all.push(std::mem::take(&mut open));
                continue;
            }
            if c == ']' && is_only_a_citation(&open) {
                let citation = std::mem::take(&mut open);
                match all.last_mut() {
                    Some(before) => before.push_str(&citation),
                    None => open = citation,
                }
            }
        }
        if !open.trim_end().ends_with(':') {
            all.push(open);
        }
    }
    all.retain(|sentence| sentence.chars().any(char::is_alphabetic));
    all
}

/// Whether a text is a citation and nothing else.
fn is_only_a_citation(text: &str) -> bool {
    let inside = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inside.is_some_and(|it| {
        !it.is_empty() && it.chars().all(|c| c.is_ascii_digit() || " ,".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cited_has_to_be_there_and_every_sentence_to_cite() {
        let every = Cites { sources_min: 1, every_sentence: true };
        let some = Cites { sources_min: 2, every_sentence: false };
        for (rules, text, wrong) in [
            (&every, "It was paid [1]. Twice [2].", 0),
            (&every, "It was paid. [1] Twice. [2]", 0),
            (&every, "It was paid [1]. Nobody knows.", 1),
            (&every, "What is known:\n- paid [1]\n- twice [2]", 0),
            (&every, "Version 2.1 is out [1].", 0),
            (&every, "", 2),
            (&every, "It was paid [3].", 2),
            (&some, "It was paid [1, 2].", 0),
            (&some, "It was paid [1].", 1),
            (&some, "It was paid [1] [2] [0].", 1),
            (&some, "An array [x] is none [1][2].", 0),
        ] {
            let mut found = Vec::new();
            against(rules, 2, text, &mut found);
            assert_eq!(found.len(), wrong, "{text}: {found:?}");
        }
    }
}
