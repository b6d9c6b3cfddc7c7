//! How random a value looks, and checks that some tokens carry.

/// Bytes of a value that are counted.
const COUNTED_MAX: usize = 256;

/// The binary logarithm in 256ths, by squaring.
const fn log2(value: u32) -> u32 {
    let whole = value.ilog2();
    let mut result = whole << 8;
    // The mantissa between one and two, with 30 bits after the point.
    let mut rest = ((value as u64) << 30) >> whole;
    let mut bit = 0x80;
    while bit > 0 {
        rest = (rest * rest) >> 30;
        if rest >= 2 << 30 {
            rest >>= 1;
            result |= bit;
        }
        bit >>= 1;
    }
    result
}

/// Shannon entropy of the bytes, in hundredths of a bit for each.
pub(super) fn entropy(bytes: &[u8]) -> u32 {
    let mut counts = [0_u32; 256];
    let counted = bytes.iter().take(COUNTED_MAX);
    for slot in counted.clone().map(|byte| usize::from(*byte)) {
        if let Some(count) = counts.get_mut(slot) {
            *count += 1;
        }
    }
    let total = u32::try_from(counted.len()).unwrap_or(0);
    if total == 0 {
        return 0;
    }
    let sum: u32 = counts.iter().filter(|count| **count > 0).map(|it| it * log2(*it)).sum();
    (log2(total) * total - sum) * 100 / total / 256
}

/// How many sorts of characters there are: small letters, capitals, digits, others.
pub(super) fn variety(value: &str) -> usize {
    let has = |is: fn(u8) -> bool| usize::from(value.bytes().any(is));
    has(|it| it.is_ascii_lowercase())
        + has(|it| it.is_ascii_uppercase())
        + has(|it| it.is_ascii_digit())
        + has(|it| !it.is_ascii_alphanumeric())
}

/// Whether the last six characters are the CRC-32 of those before, in base 62.
pub(super) fn passes_crc(body: &str) -> bool {
    let Some((random, check)) = body.len().checked_sub(6).and_then(|at| body.split_at_checked(at))
    else {
        return false;
    };
    let value = check.bytes().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        Some(value * 62 + u64::from(digit))
    });
    value == Some(u64::from(crc32(random.as_bytes())))
}

fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_the_textbook() {
        assert_eq!(entropy(b""), 0);
        assert_eq!(entropy(b"aaaa"), 0);
        assert_eq!(entropy(b"abab"), 100);
        assert_eq!(entropy(b"abcdefgh"), 300);
        assert!((149..=151).contains(&entropy(b"aabc")));
        assert!((157..=159).contains(&entropy(b"abc")));
    }

    #[test]
    fn the_check_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
        let mut value = crc32(body.as_bytes());
        let mut check = Vec::new();
        for _ in 0..6 {
            let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
            check.push(char::from(alphabet[(value % 62) as usize]));
            value /= 62;
        }
        let check: String = check.into_iter().rev().collect();
        assert!(passes_crc(&format!("{body}{check}")));
        assert!(!passes_crc(&format!("{body}000000")));
        assert!(!passes_crc("abc"));
    }
}
