//! Probes: prompts of one subject that are nearly the same, over and over, as somebody sends who
//! wants to learn what a model knows, or how it decides.
//!
//! A prompt is known by a sketch: the least hashes of all its short pieces, under several hash
//! functions. As many of them as two texts share, as much alike are their pieces. Digits count as
//! the same digit, so that counting through numbers is one probe. Bounded, and of integers.

/// Hash functions.
const HASHES: usize = 16;
/// How many of them agree about texts that are nearly the same.
const NEAR: usize = 9;
/// Characters of a piece.
const PIECE: usize = 4;
/// Characters of a text that are looked at.
pub const PROBED_MAX: usize = 2048;
/// A text of fewer says nothing by being like another: `yes`, `go on`.
const PROBED_MIN: usize = 16;
/// Kinds of prompts that are told apart at once: the one that was quiet for longest goes.
pub const KINDS_MAX: usize = 16;

/// What a prompt is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch([u32; HASHES]);

impl Sketch {
    /// The sketch of a text. `None`: it is too short.
    pub fn of(text: &str) -> Option<Self> {
        let mut least = [u32::MAX; HASHES];
        let mut piece = [0_u32; PIECE];
        let mut length = 0_usize;
        for character in plain(text).take(PROBED_MAX) {
            piece.rotate_left(1);
            if let Some(last) = piece.last_mut() {
                *last = u32::from(character);
            }
            length += 1;
            if length < PIECE {
                continue;
            }
            let whole = piece.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, it| {
                (hash ^ u64::from(*it)).wrapping_mul(0x0100_0000_01b3)
            });
            for (seed, least) in (1_u64..).zip(&mut least) {
                *least = mixed(whole ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).min(*least);
            }
        }
        (length >= PROBED_MIN).then_some(Self(least))
    }

    /// Whether two texts are nearly the same.
    pub fn is_near(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).filter(|(one, two)| one == two).count() >= NEAR
    }
}

/// The text in small letters, with one space where there are several, and one digit for all.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut was_space = true;
    text.chars().filter_map(move |it| {
        let is_space = it.is_whitespace();
        let is_repeated = is_space && was_space;
        was_space = is_space;
        let it = match it {
            _ if is_space => ' ',
            '0'..='9' => '0',
            it => it.to_lowercase().next().unwrap_or(it),
        };
        (!is_repeated).then_some(it)
    })
}

/// The upper half, after the bits were mixed.
fn mixed(mut hash: u64) -> u32 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

/// Which prompts came in a window, and how often.
#[derive(Clone, Debug, Default)]
pub struct Probes(Vec<(Sketch, u32)>);

impl Probes {
    /// Counts a prompt. How many like it there were before it.
    pub fn count(&mut self, sketch: Sketch) -> u32 {
        let known = self.0.iter().position(|(it, _)| it.is_near(&sketch));
        let (first, before) = match known {
            Some(at) => self.0.remove(at),
            None => (sketch, 0),
        };
        if self.0.len() >= KINDS_MAX {
            self.0.remove(0);
        }
        self.0.push((first, before.saturating_add(1)));
        before
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(one: &str, two: &str) -> bool {
        Sketch::of(one).unwrap().is_near(&Sketch::of(two).unwrap())
    }

    #[test]
    fn what_is_nearly_the_same_is_near_and_other_prompts_are_not() {
        let asked = "What is the yearly salary of employee number 17 in the sales department?";
        for other in [
            "What is the yearly salary of employee number 4711 in the sales department?",
            "what is the  yearly salary of employee number 17 in the sales department",
            "What is the yearly salary of employee number 17 in the sales department? Answer.",
        ] {
            assert!(near(asked, other), "{other}");
        }
        for other in [
            "Which customers have not paid their invoices since the beginning of March?",
            "Please write a short poem about a lock, a boat and the water between two gates.",
            "Summarise the ticket and say who has to do what until when, in three sentences.",
        ] {
            assert!(!near(asked, other), "{other}");
        }
        assert_eq!(Sketch::of("go on"), None);
    }

    #[test]
    fn probes_are_counted_among_other_prompts() {
        let mut probes = Probes::default();
        for at in 0..30_u32 {
            let probe = format!("What is the yearly salary of employee number {at} in sales?");
            assert_eq!(probes.count(Sketch::of(&probe).unwrap()), at);
            let words = ["apples", "bridges", "candles", "doors", "engines", "fields"];
            let word = words[at as usize % words.len()].repeat(3 + at as usize / words.len());
            probes.count(Sketch::of(&format!("{word} {word}")).unwrap());
        }
        assert!(probes.0.len() <= KINDS_MAX);
    }

    proptest! {
        #[test]
        fn any_text_has_a_sketch_that_is_near_itself(text in "\\PC{16,200}") {
            let sketch = Sketch::of(&text);
            if let Some(sketch) = sketch {
                prop_assert!(sketch.is_near(&Sketch::of(&text).unwrap()));
            }
        }
    }
}
