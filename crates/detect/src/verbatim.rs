//! Whether a text says over again, word for word, what is not to be said.
//!
//! Words are compared in small letters and without what stands between them, five in a row at a
//! time: so that other spaces, marks or lines make no difference, and a text may arrive in pieces.
//! Of scripts without spaces every character is a word.

/// Words in a row that are compared at once.
const ROW: usize = 5;
/// Words in a row that are a reproduction. Of something shorter all of it is.
pub const VERBATIM_WORDS: usize = 24;
/// Words of which fewer are no text of their own.
const SHORTEST: usize = 8;
/// Words of what is protected that are looked for: what is beyond is not.
pub const PROTECTED_WORDS_MAX: usize = 1 << 16;

/// Texts that are not to be said over again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    /// Every row of words, sorted, and how many words in a row are a reproduction of its text.
    rows: Vec<(u64, usize)>,
}

/// What is found of them in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, or no more than anybody would say.
    Little,
    /// It may be saying one over again from this byte on: more of it would show.
    Perhaps(usize),
    /// It does.
    Again,
}

impl Protected {
    /// These texts. `None`: there is none that is long enough.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut rows = Vec::new();
        for text in texts {
            let all: Vec<Word> = Words::of(text).collect();
            if all.len() < SHORTEST {
                continue;
            }
            let words = all.len().min(VERBATIM_WORDS);
            let room = PROTECTED_WORDS_MAX.saturating_sub(rows.len());
            rows.extend(all.windows(ROW).map(|it| (row(it), words)).take(room));
        }
        rows.sort_unstable();
        // Of what stands in two texts the shorter one counts.
        rows.dedup_by_key(|(row, _)| *row);
        (!rows.is_empty()).then_some(Self { rows })
    }

    /// What is found of them in a text, of which more may follow if it is not final.
    pub fn said(&self, text: &str, is_final: bool) -> Said {
        let mut all: Vec<Word> = Words::of(text).collect();
        if !is_final && all.last().is_some_and(|word| word.end == text.len()) {
            // Nobody knows yet which word it is.
            all.pop();
        }
        // Since which word all rows are known, and how many of their words are a reproduction.
        let (mut since, mut wanted) = (None, 0);
        for (at, words) in all.windows(ROW).enumerate() {
            let Some(needs) = self.needs(row(words)) else {
                (since, wanted) = (None, 0);
                continue;
            };
            let first = *since.get_or_insert(at);
            wanted = needs.max(wanted);
            if at + ROW - first >= wanted {
                return Said::Again;
            }
        }
        let begins = since.and_then(|first| all.get(first)).map(|word| word.start);
        match begins {
            Some(start) if !is_final => Said::Perhaps(start),
            Some(_) | None => Said::Little,
        }
    }
}

impl Protected {
    /// How many words in a row are a reproduction, of a row that is known.
    fn needs(&self, row: u64) -> Option<usize> {
        let at = self.rows.binary_search_by_key(&row, |(it, _)| *it).ok()?;
        self.rows.get(at).map(|(_, words)| *words)
    }
}

/// A word: where it stands, and what it is, by a hash.
#[derive(Clone, Copy, Debug)]
struct Word {
    start: usize,
    end: usize,
    hash: u64,
}

struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    const fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        let rest = self.text.get(self.at..)?;
        let start = self.at + rest.find(char::is_alphanumeric)?;
        let (mut end, mut hash) = (start, 0xcbf2_9ce4_8422_2325_u64);
        for character in self.text.get(start..)?.chars().take_while(|it| it.is_alphanumeric()) {
            if is_wide(character) && end > start {
                break;
            }
            end += character.len_utf8();
            for small in character.to_lowercase() {
                hash = (hash ^ u64::from(small)).wrapping_mul(0x0100_0000_01b3);
            }
            if is_wide(character) {
                break;
            }
        }
        self.at = end;
        Some(Word { start, end, hash })
    }
}

/// Whether a character is of a script that writes no spaces.
const fn is_wide(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn row(words: &[Word]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |row: u64, word| {
        (row.rotate_left(7) ^ word.hash).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "You are the desk of a small bank. Never tell anybody which limits hold for \
                        them, nor that there are any. If somebody asks for a refund of more than \
                        forty, send them to a person, and say nothing of the reason for it.";

    fn protected() -> Protected {
        Protected::of([TEXT, "too short"].into_iter()).unwrap()
    }

    #[test]
    fn what_is_said_over_again_is_found_whatever_stands_between_its_words() {
        let protected = protected();
        assert_eq!(protected.said(TEXT, true), Said::Again);
        let other = TEXT.replace(' ', "\n * ").replace('.', " ...").to_uppercase();
        assert_eq!(protected.said(&format!("It says: {other}"), true), Said::Again);
        let few: Vec<&str> = TEXT.split(' ').take(12).collect();
        assert_eq!(protected.said(&few.join(" "), true), Said::Little, "half of that is none");
        let other = "Refunds of more than forty are looked at by a person. Shall I ask one?";
        assert_eq!(protected.said(other, true), Said::Little);
        assert_eq!(Protected::of(["a b c"].into_iter()), None);
    }

    #[test]
    fn all_of_a_short_text_is_a_reproduction() {
        let short =
            Protected::of(["Answer in rhymes and never say why you do"].into_iter()).unwrap();
        assert_eq!(short.said("answer in rhymes, and never say why you do!", true), Said::Again);
        assert_eq!(short.said("Answer in rhymes and never say why", true), Said::Little);
        // That one text is short makes no more of a long one.
        let short = "Answer in rhymes and never say why you do";
        let both = Protected::of([TEXT, short].into_iter()).unwrap();
        let few: Vec<&str> = TEXT.split(' ').take(12).collect();
        assert_eq!(both.said(&few.join(" "), true), Said::Little);
        assert_eq!(both.said(TEXT, true), Said::Again);
        assert_eq!(both.said(short, true), Said::Again);
    }

    #[test]
    fn scripts_without_spaces_have_a_word_for_each_character() {
        let text =
            "你是银行的柜台助手不要告诉任何人他们的限额也不要说有限额如果有人要求退款请转给同事";
        let protected = Protected::of([text].into_iter()).unwrap();
        assert_eq!(protected.said(&format!("好的。{text}"), true), Said::Again);
        assert_eq!(protected.said("银行的退款由同事处理", true), Said::Little);
    }

    proptest! {
        /// However a text arrives, no more than the first words of it get out.
        #[test]
        fn what_is_released_of_a_reproduction_is_little(step in 1_usize..9, before in "[a-z ]{0,40}") {
            let (protected, text) = (protected(), format!("{before} {TEXT}"));
            let (mut released, mut at) = (0, 0);
            let mut is_found = false;
            while at < text.len() && !is_found {
                at = (at + step).min(text.len());
                let seen = text.get(..at).unwrap();
                match protected.said(seen, at == text.len()) {
                    Said::Little => released = seen.rfind(' ').map_or(0, |it| it + 1),
                    Said::Perhaps(from) => released = released.max(from),
                    Said::Again => is_found = true,
                }
            }
            prop_assert!(is_found);
            let out = text.get(before.len().min(released)..released).unwrap();
            prop_assert!(out.split_whitespace().count() <= ROW, "{out}");
        }
    }
}
