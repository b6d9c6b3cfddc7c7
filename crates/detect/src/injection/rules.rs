//! Orders to a model, as sequences of roles.
//!
//! A rule is read backwards from its last word: each step is a role and how many words before the
//! next step it may stand. One rule is seldom enough; what several say within a stretch of the text
//! adds up.

use super::lexicon::Role as R;
use std::sync::LazyLock;

/// Words that a step may stand before the next one, at most.
#[cfg(test)]
const GAP_MAX: usize = 12;

/// A sequence of words, and what it counts for.
pub(super) struct Rule {
    pub(super) class: &'static str,
    pub(super) score: u16,
    /// The role of the last word.
    pub(super) last: R,
    /// The steps before it, the nearest first: a role, and how many words back at most.
    pub(super) steps: &'static [(R, usize)],
}

const fn rule(class: &'static str, score: u16, last: R, steps: &'static [(R, usize)]) -> Rule {
    Rule { class, score, last, steps }
}

/// The rules by the place of their last word's role.
static BY_LAST: LazyLock<Vec<Vec<&'static Rule>>> = LazyLock::new(|| {
    let of = |place: u32| RULES.iter().filter(move |rule| rule.last.bit() == 1 << place);
    (0..u64::BITS).map(|place| of(place).collect()).collect()
});

/// The rules whose last word may have one of these roles.
pub(super) fn ending_in(roles: u64) -> impl Iterator<Item = &'static Rule> {
    let mut left = roles;
    let places = std::iter::from_fn(move || {
        let place = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        usize::try_from(place).ok().filter(|place| *place < 64)
    });
    places.filter_map(|place| BY_LAST.get(place)).flatten().copied()
}

/// Every rule.
const RULES: &[Rule] = &[
    // Set aside what you were told.
    rule("override", 900, R::Order, &[(R::Prior, 3), (R::Override, 4)]),
    rule("override", 600, R::Order, &[(R::Every, 2), (R::Override, 3)]),
    rule("override", 600, R::Before, &[(R::Every, 6), (R::Override, 3)]),
    rule("override", 500, R::Said, &[(R::Every, 5), (R::Override, 3)]),
    rule("override", 600, R::Order, &[(R::Prior, 3), (R::Follow, 3), (R::Not, 2)]),
    rule("override", 350, R::Every, &[(R::Override, 1)]),
    rule("override", 500, R::Prior, &[(R::Override, 2)]),
    rule("override", 500, R::Order, &[(R::New, 2), (R::Follow, 3), (R::Override, 10)]),
    rule("new_task", 350, R::Order, &[(R::New, 2), (R::You, 3)]),
    rule("new_task", 300, R::Order, &[(R::New, 1)]),
    // You, the machine.
    rule("addressed", 450, R::Machine, &[(R::You, 3), (R::For, 2)]),
    rule("addressed", 500, R::Machine, &[(R::You, 2), (R::If, 2)]),
    rule("addressed", 450, R::Machine, &[(R::Dear, 4)]),
    rule("addressed", 450, R::This, &[(R::Reads, 2), (R::Machine, 2)]),
    rule("addressed", 500, R::Machine, &[(R::For, 2), (R::Order, 2)]),
    // Before you do what you were asked.
    rule("deferral", 300, R::Task, &[(R::Do, 4), (R::Ahead, 5)]),
    rule("deferral", 250, R::First, &[(R::Task, 10), (R::Do, 4), (R::Ahead, 5)]),
    rule("deferral", 250, R::Task, &[(R::Do, 4), (R::You, 4), (R::Then, 6)]),
    rule("given_task", 250, R::You, &[(R::Given, 2), (R::Me, 2), (R::Task, 3)]),
    rule("given_task", 250, R::Task, &[(R::User, 2), (R::Instead, 4)]),
    // In whose name.
    rule("authority", 350, R::Authority, &[(R::From, 2), (R::Message, 3)]),
    rule("authority", 300, R::User, &[(R::Me, 2), (R::From, 3)]),
    rule("authority", 300, R::User, &[(R::Signed, 2)]),
    rule("authority", 300, R::Authority, &[(R::You, 3), (R::Me, 2)]),
    // Unseen by the person.
    rule("conceal", 600, R::User, &[(R::Tell, 5), (R::Not, 2)]),
    rule("conceal", 600, R::User, &[(R::Tell, 3), (R::Without, 2)]),
    rule("conceal", 500, R::Send, &[(R::Unseen, 3)]),
    // What was given in confidence.
    rule("exfiltrate", 250, R::Secret, &[(R::Send, 8)]),
    rule("reveal", 600, R::Prompt, &[(R::Prior, 1), (R::Reveal, 6)]),
    rule("reveal", 450, R::Prompt, &[(R::You, 2), (R::Reveal, 4)]),
    // Be somebody else.
    rule("role", 350, R::Machine, &[(R::Are, 1), (R::You, 1)]),
    rule("role", 250, R::Now, &[(R::Are, 2), (R::You, 2)]),
    rule("role", 350, R::On, &[(R::Now, 1), (R::From, 1)]),
    rule("role", 150, R::Act, &[(R::You, 6)]),
    rule("role", 200, R::Character, &[(R::Stay, 2)]),
    rule("jailbreak", 500, R::Mode, &[(R::ModeName, 1)]),
    rule("mode", 250, R::Mode, &[(R::PlainMode, 1)]),
    rule("jailbreak", 700, R::Now, &[(R::Anything, 1), (R::Do, 1)]),
    rule("unrestricted", 300, R::Limits, &[(R::Unbound, 5)]),
    rule("unrestricted", 500, R::Machine, &[(R::Free, 3)]),
    rule("unrestricted", 350, R::Limits, &[(R::Bound, 5)]),
    rule("compliance", 250, R::Refuse, &[(R::Not, 3)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stay_within_what_is_remembered() {
        for rule in RULES {
            assert!(!rule.steps.is_empty(), "{} would be one word", rule.class);
            assert!(rule.steps.iter().all(|(_, gap)| (1..=GAP_MAX).contains(gap)));
            assert!(rule.steps.iter().map(|(_, gap)| gap).sum::<usize>() < super::super::RECENT);
        }
    }
}
