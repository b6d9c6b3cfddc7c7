//! A text as whoever renders Markdown or HTML shows it: an address may be written so that it is one
//! only there.

/// A text as markup shows it: without the strokes that escape a sign, references read.
pub(crate) struct Shown {
    pub(crate) text: String,
    /// For each byte, and the end, where it comes from.
    from: Vec<usize>,
}

/// References by name that can stand in an address.
const REFERENCES: [(&str, char); 14] = [
    ("amp", '&'),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("equals", '='),
    ("hyphen", '-'),
    ("lowbar", '_'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("quest", '?'),
    ("semi", ';'),
    ("sol", '/'),
];
/// Bytes of a reference.
const REFERENCE_BYTES_MAX: usize = 12;

impl Shown {
    /// `None`: it is shown as it is written.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !bytes.contains(&b'&') && !bytes.contains(&b'\\') {
            return None;
        }
        let mut shown = Self { text: String::with_capacity(text.len()), from: Vec::new() };
        let mut at = 0;
        let mut is_changed = false;
        while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = text.get(at + character.len_utf8()..).unwrap_or_default();
            let next = rest.chars().next();
            let (read, bytes) = match character {
                // Two strokes are how a path of a web address is written in other places.
                '\\' if next.is_some_and(|it| it.is_ascii_punctuation() && it != '\\') => (next, 2),
                '&' => reference(rest).map_or((None, 0), |(read, bytes)| (Some(read), bytes + 1)),
                _ => (None, 0),
            };
            is_changed |= read.is_some();
            shown.push(at, read.unwrap_or(character));
            at += if read.is_some() { bytes } else { character.len_utf8() };
        }
        shown.from.push(text.len());
        is_changed.then_some(shown)
    }

    fn push(&mut self, at: usize, character: char) {
        self.text.push(character);
        self.from.extend(std::iter::repeat_n(at, character.len_utf8()));
    }

    /// Where a byte of it stands in what is written.
    pub(crate) fn before(&self, at: usize) -> usize {
        self.from.get(at).or(self.from.last()).copied().unwrap_or_default()
    }
}

/// What a reference stands for that follows `&`, and how many bytes it has.
fn reference(rest: &str) -> Option<(char, usize)> {
    let end = rest.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';')?;
    let name = rest.get(..end)?;
    let read = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
        None => REFERENCES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((read, end + 1))
}
