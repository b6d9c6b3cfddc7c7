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

/// The tokens of a text, about.
pub fn tokens(text: &str) -> i64 {
    let thirds: u64 = text.bytes().map(|byte| u64::from(thirds(byte))).sum();
    i64::try_from(thirds.div_ceil(3)).unwrap_or(TOKENS_MAX).min(TOKENS_MAX)
}

/// What a byte adds: the first one of a character stands for all of it. Prompts are long, and bytes
/// are counted several times as fast as characters.
const fn thirds(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' => 1,
        0..=0x7f => 2,
        0x80..=0xbf => 0,
        0xc0..=0xdf => 3,
        0xe0..=0xef => 4,
        0xf0..=0xff => 9,
    }
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
        Json::Object(members) => of_members(members),
    };
    sum.min(TOKENS_MAX)
}

fn of_members(members: &Object) -> i64 {
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
