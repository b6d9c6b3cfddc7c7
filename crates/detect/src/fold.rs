//! How a character reads: without accents, styles and disguises.
//!
//! Detectors compare what a model would understand, not what was typed. The tables are small and
//! our own: the letters that attackers borrow, not all of Unicode.

use std::sync::LazyLock;

/// How one character reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// As this ASCII letter or digit, in lower case.
    Ascii(u8),
    /// As itself: a letter of another script.
    Letter(char),
    /// As a character that is a word by itself, in scripts without spaces.
    Ideograph(char),
    /// Not at all: it takes no room.
    Nothing,
    /// As the end of a word.
    Gap,
}

/// Letters that look like Latin ones, each beside the one it looks like.
const LOOKALIKES: &str = "аaвbсcеeһhіiјjкkмmоoрpѕsтtуyхxԁdԛqԝwАaВbСcЕeНhІiЈjКkМmОoРpЅsТtУyХxӀi\
    ɡgɑaαa\
    βbεeηnιiκkνvοoρpτtυuχxΑaΒbΕeΖzΗhΙiΚkΜmΝnΟoΡpΤtΥyΧxօoսuոnհhցgқkԍgьbպwıi";
/// Letters with marks, each beside the one without.
const MARKED: &str = "àaáaâaãaäaåaæaāaăaąaçcćcčcĉcċcďdđdèeéeêeëeēeĕeėeęeěeĝgğgġgģgĥhħh\
    ìiíiîiïiĩiīiĭiįi\
    ĵjķkĺlļlľlŀlłlñnńnņnňnòoóoôoõoöoøoōoŏoőoœoŕrŗrřrśsŝsşsšsßsţtťtŧtùuúuûuüuũuūuŭuůuűuųuŵwýyÿyŷy\
    źzżzžzÀaÁaÂaÃaÄaÅaÇcÈeÉeÊeËeÌiÍiÎiÏiÑnÒoÓoÔoÕoÖoØoÙuÚuÛuÜuÝyŠsŽzČcŚsŁlŻzŹzĄaĘeŃnĆcĎdŘrŤtŮuĞgŞs";

/// Characters of the tables stand before this one.
const TABLE: usize = 0x600;

/// The tables by character, 0 where they say nothing.
struct Tables {
    alike: Vec<u8>,
    marked: Vec<u8>,
}

static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables { alike: by_character(LOOKALIKES), marked: by_character(MARKED) });

fn by_character(pairs: &str) -> Vec<u8> {
    let mut table = vec![0; TABLE];
    let mut all = pairs.chars();
    while let (Some(from), Some(to)) = (all.next(), all.next()) {
        if let (Some(slot), Ok(to)) = (table.get_mut(index(from)), u8::try_from(to)) {
            *slot = to;
        }
    }
    table
}

fn index(character: char) -> usize {
    usize::try_from(u32::from(character)).unwrap_or(usize::MAX)
}

/// The Latin letter that a character of another script looks like.
pub(crate) fn lookalike(character: char) -> Option<u8> {
    TABLES.alike.get(index(character)).copied().filter(|letter| *letter != 0)
}

/// The letter below a mark.
fn unmarked(character: char) -> Option<u8> {
    TABLES.marked.get(index(character)).copied().filter(|letter| *letter != 0)
}

/// How a character reads.
pub(crate) fn fold(character: char) -> Fold {
    let code = u32::from(character);
    match code {
        0..=0x7f => ascii(code),
        // Tag characters shadow ASCII, unseen.
        0xe0020..=0xe007e => ascii(code - 0xe0000),
        0xad | 0x34f | 0x61c | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e => Fold::Nothing,
        0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe007f | 0xe0100..=0xe01ef => {
            Fold::Nothing
        }
        // Combining marks: what is under them reads the same.
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff => Fold::Nothing,
        0xff01..=0xff5e => ascii(code - 0xff01 + 0x21),
        // Mathematical alphabets: 26 capitals and 26 small letters for each style.
        0x1d400..=0x1d6a3 => letter((code - 0x1d400) % 26),
        0x1d7ce..=0x1d7ff => ascii(0x30 + (code - 0x1d7ce) % 10),
        0x24b6..=0x24e9 => letter((code - 0x24b6) % 26),
        0x1f130..=0x1f149 => letter(code - 0x1f130),
        0x1f150..=0x1f169 => letter(code - 0x1f150),
        0x1f170..=0x1f189 => letter(code - 0x1f170),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0x20000..=0x2ffff => {
            Fold::Ideograph(character)
        }
        _ => match unmarked(character).or_else(|| lookalike(character)) {
            Some(byte) => Fold::Ascii(byte),
            None if character.is_alphanumeric() => {
                Fold::Letter(character.to_lowercase().next().unwrap_or(character))
            }
            None => Fold::Gap,
        },
    }
}

fn letter(index: u32) -> Fold {
    ascii(0x61 + index)
}

fn ascii(code: u32) -> Fold {
    match u8::try_from(code) {
        Ok(byte) if byte.is_ascii_alphanumeric() => Fold::Ascii(byte.to_ascii_lowercase()),
        _ => Fold::Gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_read_as_what_they_look_like() {
        for (disguised, plain) in [
            ("IGNORE", "ignore"),
            ("іgnоrе", "ignore"),
            ("ｉｇｎｏｒｅ", "ignore"),
            ("𝐢𝗴𝘯𝙤𝚛𝖊", "ignore"),
            ("ⓘⓖⓝⓞⓡⓔ", "ignore"),
            ("ig\u{200b}no\u{ad}re", "ignore"),
            ("i\u{301}gnòrė", "ignore"),
            ("\u{e0049}\u{e0067}nore", "ignore"),
        ] {
            let read: String = disguised
                .chars()
                .filter_map(|it| match fold(it) {
                    Fold::Ascii(byte) => Some(char::from(byte)),
                    Fold::Letter(letter) | Fold::Ideograph(letter) => Some(letter),
                    Fold::Nothing => None,
                    Fold::Gap => Some(' '),
                })
                .collect();
            assert_eq!(read, plain, "{disguised}");
        }
        assert_eq!(fold('忽'), Fold::Ideograph('忽'));
        assert_eq!(fold('Ж'), Fold::Letter('ж'));
        assert_eq!(fold('-'), Fold::Gap);
    }

    #[test]
    fn tables_are_pairs_of_a_letter_and_an_ascii_letter() {
        for table in [LOOKALIKES, MARKED] {
            let letters: Vec<char> = table.chars().collect();
            for pair in letters.chunks(2) {
                assert!(!pair[0].is_ascii() && pair[1].is_ascii_lowercase(), "{pair:?}");
                assert!(index(pair[0]) < TABLE, "{pair:?}");
            }
        }
    }
}
