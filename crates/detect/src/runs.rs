//! Long runs of the characters that tokens and encodings are made of.

use std::ops::Range;

/// Whether a byte may stand in a token: letters, digits and `_ - . / + ~`.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'~')
}

/// Every run of at least `least` such bytes, in order. A run that long covers one of every `least`
/// bytes, so only those are looked at.
pub(crate) fn runs(text: &str, least: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let probe = at + least - 1;
            let byte = bytes.get(probe)?;
            if !is_token(*byte) {
                at = probe + 1;
                continue;
            }
            let before = bytes.get(at..probe).unwrap_or_default();
            let start = probe - before.iter().rev().take_while(|byte| is_token(**byte)).count();
            let after = bytes.get(probe..).unwrap_or_default();
            let end = probe + after.iter().take_while(|byte| is_token(**byte)).count();
            at = end;
            if end - start >= least {
                return Some(start..end);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_run_is_found(text in "[a b.=é]{0,60}", least in 1_usize..6) {
            let found: Vec<Range<usize>> = runs(&text, least).collect();
            let mut expected = Vec::new();
            let mut start = 0;
            for (at, byte) in text.bytes().chain([b' ']).enumerate() {
                if !is_token(byte) {
                    if at - start >= least {
                        expected.push(start..at);
                    }
                    start = at + 1;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
