//! How text looks to people: what they do not see, and what they take for something else.
//!
//! Two tables, and questions about one text or name. What becomes of an answer is for others to
//! say.

/// What is shown as nothing, as a space, or in another order: inclusive ranges.
const HIDDEN: [(u32, u32); 35] = [
    (0x00, 0x1f),
    (0x7f, 0xa0),
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x8e2, 0x8e2),
    (0x115f, 0x1160),
    (0x1680, 0x1680),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x206f),
    (0x2800, 0x2800),
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    // Private use: whatever a font makes of it.
    (0xe000, 0xf8ff),
    (0xfdd0, 0xfdef),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0xfffe, 0xffff),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d159, 0x1d159),
    (0x1d173, 0x1d17a),
    (0x1fffe, 0x1ffff),
    // Tags, which spell text that nobody sees.
    (0xe0000, 0xe0fff),
    (0xf0000, 0x10_ffff),
];

/// Letters of other scripts that look like a letter of this one: the letter, and those that do.
/// Lower case; capitals are made small first.
const LOOKING_LIKE: [(char, &str); 26] = [
    ('a', "аɑα"),
    ('b', "ьƅЬ"),
    ('c', "сϲᴄ"),
    ('d', "ԁɗ"),
    ('e', "еҽ℮"),
    ('f', "ғϝ"),
    ('g', "ɡց"),
    ('h', "һհ"),
    ('i', "іıιɩ"),
    ('j', "јϳ"),
    ('k', "кκ"),
    ('l', "ӏⅼǀ"),
    ('m', "мⅿ"),
    ('n', "ոп"),
    ('o', "оοօσ"),
    ('p', "рρ"),
    ('q', "ԛգ"),
    ('r', "гᴦ"),
    ('s', "ѕꜱ"),
    ('t', "тτ"),
    ('u', "υսᴜ"),
    ('v', "ѵνᴠ"),
    ('w', "ԝѡᴡ"),
    ('x', "хχ"),
    ('y', "уүγ"),
    ('z', "ᴢʐ"),
];

/// Characters of a name that are compared.
const NAME_CHARS_MAX: usize = 256;

/// Whether a character is not seen for what it is.
pub fn is_hidden(character: char) -> bool {
    let number = u32::from(character);
    HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&number))
}

/// The text, with a mark such as `<U+202E>` for every character that is not seen.
pub fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            out.push_str(&format!("<U+{:04X}>", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// The small ASCII letter that a character is taken for, if it is one of another script or width.
pub fn taken_for(character: char) -> Option<char> {
    // Latin letters and digits of full width.
    let number = u32::from(character);
    if (0xff01..=0xff5e).contains(&number) {
        return char::from_u32(number - 0xff01 + 0x21).map(|it| it.to_ascii_lowercase());
    }
    if character.is_ascii() {
        return None;
    }
    let small = character.to_lowercase().next().unwrap_or(character);
    let alike = |(_, others): &&(char, &str)| others.chars().any(|it| it == small);
    LOOKING_LIKE.iter().find(alike).map(|(letter, _)| *letter)
}

/// What a name looks like: small, without what is not seen and without separators, letters as what
/// they are taken for, and digits that stand for letters as these. Two names with one skeleton look
/// alike.
pub fn skeleton(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars().take(NAME_CHARS_MAX).filter(|it| !is_hidden(*it)) {
        match taken_for(character).unwrap_or(character) {
            '_' | '-' | '.' | ' ' | '/' | ':' => {}
            '0' => out.push('o'),
            '1' | 'I' | '|' => out.push('l'),
            other => out.extend(other.to_lowercase()),
        }
    }
    // What is read as one letter: `rn` and `vv`; and `i`, which capitals make an `l`.
    out.replace("rn", "m").replace("vv", "w").replace('i', "l")
}

/// Whether a word has letters of ASCII, and others that are taken for some.
pub fn mixes_scripts(word: &str) -> bool {
    word.chars().any(|it| it.is_ascii_alphabetic())
        && word.chars().any(|it| taken_for(it).is_some())
}

/// Insertions, deletions and replacements from one name to the other, by which they differ at most
/// by `max`.
pub fn is_within(a: &str, b: &str, max: usize) -> bool {
    let a: Vec<char> = a.chars().take(NAME_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(NAME_CHARS_MAX).collect();
    if a.len().abs_diff(b.len()) > max {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.iter().enumerate() {
        let mut diagonal = at;
        let mut previous = at + 1;
        let mut next = vec![previous];
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(left != right);
            previous = replaced.min(previous + 1).min(above + 1);
            next.push(previous);
            diagonal = *above;
        }
        if next.iter().all(|distance| *distance > max) {
            return false;
        }
        row = next;
    }
    row.last().is_some_and(|distance| *distance <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order() {
        assert!(HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn what_is_not_seen_is_marked() {
        assert_eq!(marked("a\u{202e}b\u{e0041}"), "a<U+202E>b<U+E0041>");
        for plain in ['a', ' ', 'é', '中', 'א', '😀', '"'] {
            assert!(!is_hidden(plain), "{plain}");
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        let alike = [
            ("fetch", "fet\u{441}h"),
            ("send_email", "Send-Email"),
            ("send_email", "send\u{200b}_email"),
            ("send_email", "sendEmai1"),
            ("list_items", "1ist_itens".replace('n', "m").as_str()),
            ("modem", "modern"),
            ("read", "\u{ff52}ead"),
            ("list", "Iist"),
        ]
        .map(|(a, b)| (skeleton(a), skeleton(b)));
        for (a, b) in alike {
            assert_eq!(a, b);
        }
        assert_ne!(skeleton("send_email"), skeleton("send_emails"));
        assert!(mixes_scripts("fet\u{441}h") && !mixes_scripts("fetch") && !mixes_scripts("поиск"));
    }

    #[test]
    fn distances_are_bounded() {
        assert!(is_within("kitten", "sitting", 3) && !is_within("kitten", "sitting", 2));
        assert!(is_within("", "ab", 2) && !is_within("", "abc", 2));
        assert!(is_within("get_user", "get_users", 1) && is_within("same", "same", 0));
    }
}
