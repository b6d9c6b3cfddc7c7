//! How many tokens a text has, about: deterministic, of no provider's tokenizer, and for what
//! people write rather too many than too few.
//!
//! Counted in thirds of a token for each character: letters, digits and spaces of ASCII one, other
//! characters of ASCII two, those of two bytes three, of three bytes four, of four bytes nine. An
//! image counts as a fixed number, whatever its size.

use lockgate_types::model::TOKENS_MAX;
use lockgate_types::{Json, Object};

/// Tokens of one image: as many as providers count for a large one.
pub const IMAGE_TOKENS: i64 = 5_000;
/// Tokens of what stands around one message, tool or member.
const AROUND: i64 = 1;

/// Bytes that are added up side by side.
const LANES: usize = 32;
/// How many sums of one byte may have before they could overflow: 255 / 9.
const ROUNDS: usize = 28;

/// The tokens of a text, about.
pub fn tokens(text: &str) -> i64 {
    // Of fewer bytes than would overflow.
    let each = |bytes: &[u8]| {
        let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(thirds(*byte)));
        u64::from(bytes.iter().fold(0, add))
    };
    let mut sum = 0_u64;
    // Most texts are names and words, and shorter than what is added up at once.
    if text.len() < LANES {
        return i64::try_from(each(text.as_bytes()).div_ceil(3)).unwrap_or(TOKENS_MAX);
    }
    // Prompts are long: sums of single bytes are what processors add up many of at once.
    for block in text.as_bytes().chunks(LANES * ROUNDS) {
        let mut sums = [0_u8; LANES];
        let rows = block.chunks_exact(LANES);
        let rest = rows.remainder();
        for row in rows {
            for (sum, byte) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(thirds(*byte));
            }
        }
        sum += sums.iter().map(|sum| u64::from(*sum)).sum::<u64>() + each(rest);
    }
    i64::try_from(sum.div_ceil(3)).unwrap_or(TOKENS_MAX).min(TOKENS_MAX)
}

/// What a byte adds: the first one of a character stands for all of it. Without a branch, for the
/// same reason.
#[inline]
const fn thirds(byte: u8) -> u8 {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_plain = is_letter | (byte.wrapping_sub(b'0') < 10) | (byte == b' ');
    let ascii = (2 * (byte < 0x80) as u8).wrapping_sub(is_plain as u8);
    // A first byte of two, three or four; any other goes with its first.
    let others = 3 * (byte >= 0xc0) as u8 + (byte >= 0xe0) as u8 + 5 * (byte >= 0xf0) as u8;
    ascii.wrapping_add(others)
}

/// The tokens of everything that stands in a value, about: of messages and of tools.
pub fn tokens_of(json: &Json) -> i64 {
    let sum = match json {
        Json::Null | Json::Bool(_) => 1,
        Json::Number(number) => tokens(number.text()),
        Json::String(text) if is_image_address(text) => IMAGE_TOKENS,
        Json::String(text) => tokens(text),
        Json::Array(items) => {
            items.iter().fold(0, |sum: i64, item| sum.saturating_add(tokens_of(item) + AROUND))
        }
        Json::Object(members) => tokens_of_members(members),
    };
    sum.min(TOKENS_MAX)
}

/// The same, of an object.
pub fn tokens_of_members(members: &Object) -> i64 {
    let media = members.get("media_type").and_then(Json::as_str);
    let is_image = media.is_some_and(|media| media.starts_with("image/"));
    members.iter().fold(0, |sum: i64, (name, value)| {
        let own = match value {
            Json::String(_) if is_image && name == "data" => IMAGE_TOKENS,
            value => tokens_of(value),
        };
        sum.saturating_add(tokens(name) + own + AROUND)
    })
}

fn is_image_address(text: &str) -> bool {
    text.starts_with("data:image/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn texts_have_about_so_many() {
        for (text, expected) in [
            ("", 0),
            ("a", 1),
            ("the quick brown fox", 7),
            ("{\"a\":1}", 4),
            ("é", 1),
            ("漢字", 3),
            ("🦀", 3),
            ("a\nb", 2),
        ] {
            assert_eq!(tokens(text), expected, "{text}");
        }
    }

    #[test]
    fn bytes_count_as_the_characters_that_they_are_of() {
        let of_char = |it: char| match it {
            ' ' => 1,
            it if it.is_ascii_alphanumeric() => 1,
            it if it.is_ascii() => 2,
            it => [0, 0, 3, 4, 9][it.len_utf8()],
        };
        let all: String = (0..0x11_0000).filter_map(char::from_u32).collect();
        for text in [all.as_str(), "🦀".repeat(5000).as_str(), "~".repeat(896 * 2 + 31).as_str()]
        {
            let thirds: i64 = text.chars().map(of_char).sum();
            assert_eq!(tokens(text), (thirds + 2) / 3);
        }
    }

    #[test]
    fn values_have_those_of_all_that_stands_in_them() {
        for (text, expected) in [
            ("null", 1),
            ("[]", 0),
            ("12345", 2),
            (r#"["abc","abc"]"#, 4),
            (r#"{"role":"user"}"#, 5),
            (r#"{"url":"data:image/png;base64,AAAAAAAAAAAA"}"#, 5002),
            (r#"{"media_type":"image/png","data":"AAAA"}"#, 5000 + 2 + 1 + 4 + 4 + 1),
            (r#"{"media_type":"text/plain","data":"AAAA"}"#, 2 + 2 + 1 + 4 + 4 + 1),
        ] {
            let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            assert_eq!(tokens_of(&json), expected, "{text}");
        }
    }
}
