//! Names as a reader sees them that ignores case, such as Go's `encoding/json`.

/// One character, folded: ASCII letters, the long s and the Kelvin sign.
pub const fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// Whether two names are the same to a reader that ignores case.
pub fn folds_equal(a: &str, b: &str) -> bool {
    // Nearly every two names differ in length or are ASCII; the rest is for the rare others.
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    a.chars().map(fold).eq(b.chars().map(fold))
}
