//! Named values in SQL that the operator wrote: `:name`, for values that are bound.
//!
//! Pure, and not a parser: it only tells names from text in quotations, so that a value never
//! becomes part of a statement. What the statement means is read by `effects::sql`, after the names
//! have become numbers.

/// Names in one text. More is a program.
pub const NAMES_MAX: usize = 64;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `--` or `/*`: another reader may end a comment elsewhere.
    Comment,
    /// `$1`, `?`: numbers are given here.
    Number,
    /// More than [`NAMES_MAX`] names.
    TooMany,
    /// `;`: one statement has no use for it.
    Semicolon,
}

impl Fault {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "it has a comment",
            Self::Number => "it has a parameter without a name: write `:name`",
            Self::TooMany => "it has more than 64 different names",
            Self::Semicolon => "it has a `;`: one statement needs none",
        }
    }
}

/// A text in which names have become numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The text, with the mark and a number for each name.
    pub text: String,
    /// The names, in the order of their numbers, each once.
    pub names: Vec<String>,
}

/// Gives every name a number: `:id` becomes `$1` with the mark `$`.
pub fn number(text: &str, mark: char) -> Result<Numbered, Fault> {
    let mut names: Vec<String> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut within: Option<char> = None;
    while let Some(here) = rest.next() {
        let next = rest.peek().copied();
        match (within, here, next) {
            (Some(quote), _, _) => {
                // A doubled quotation mark ends and begins again, which comes to the same.
                within = (here != quote).then_some(quote);
                out.push(here);
            }
            (None, '\'' | '"', _) => {
                within = Some(here);
                out.push(here);
            }
            (None, '-', Some('-')) | (None, '/', Some('*')) => return Err(Fault::Comment),
            (None, '?' | '$', _) => return Err(Fault::Number),
            (None, ';', _) => return Err(Fault::Semicolon),
            // A cast of PostgreSQL's.
            (None, ':', Some(':')) => {
                rest.next();
                out.push_str("::");
            }
            (None, ':', Some(next)) if next.is_ascii_alphabetic() || next == '_' => {
                let mut name = String::new();
                while let Some(letter) = rest.next_if(|it| it.is_ascii_alphanumeric() || *it == '_')
                {
                    name.push(letter);
                }
                let at = names.iter().position(|known| *known == name);
                let at = at.unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                out.push(mark);
                out.push_str(&(at + 1).to_string());
            }
            (None, _, _) => out.push(here),
        }
    }
    if names.len() > NAMES_MAX {
        return Err(Fault::TooMany);
    }
    Ok(Numbered { text: out, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_texts_stay() {
        for (text, numbered, names) in [
            ("a = :a and b = :b or a > :a", "a = $1 and b = $2 or a > $1", vec!["a", "b"]),
            ("a = ':a' and \"b:c\" = :x", "a = ':a' and \"b:c\" = $1", vec!["x"]),
            ("a = 'it''s :a' || :a", "a = 'it''s :a' || $1", vec!["a"]),
            ("a::text = :a", "a::text = $1", vec!["a"]),
            ("a = :a::date", "a = $1::date", vec!["a"]),
            ("a - -1 / 2", "a - -1 / 2", vec![]),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(number(text, '$'), Ok(Numbered { text: numbered.to_owned(), names }));
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_a_fault() {
        assert_eq!(number("a -- :a", '$'), Err(Fault::Comment));
        assert_eq!(number("a /* :a */", '$'), Err(Fault::Comment));
        assert_eq!(number("a = $1", '$'), Err(Fault::Number));
        assert_eq!(number("a = ?", '?'), Err(Fault::Number));
        assert_eq!(number("a; b", '$'), Err(Fault::Semicolon));
        let many: String = (0..=NAMES_MAX).map(|at| format!(":a{at} ")).collect();
        assert_eq!(number(&many, '$'), Err(Fault::TooMany));
    }
}
