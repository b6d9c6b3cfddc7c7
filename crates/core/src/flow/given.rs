//! What a call gave, held against what it got: whether the person has said what a query asks for,
//! and whether a result only repeats what the agent chose.

use super::memory::Memory;
use super::names::Standing;
use super::read::{bare_address, name_words, scalars};
use super::text::{Words, amount, fold, is_plain};
use lockgate_types::Object;
use lockgate_types::flow::Source;

/// Values of a call that are looked for in its result, and bytes of one that is worth it.
const GIVEN_MAX: usize = 64;
const REPEATED_BYTES_MIN: usize = 4;
/// Words of an argument that says how many are to be found at most.
const BOUND_WORDS: [&str; 6] = ["count", "limit", "max", "maximum", "size", "top"];

impl Memory {
    /// Whether what a call asked for is what the person has named: how it was named. All of it:
    /// what else narrows a query down may pick what an attacker has put there.
    pub(super) fn asked_for(&self, arguments: Option<&Object>) -> Option<Standing> {
        let mut asked = Vec::new();
        for (name, value) in arguments.into_iter().flat_map(Object::iter) {
            // More than the one that was found may have been found: that picks nothing.
            let is_bound = !name_words(name).is_disjoint(&BOUND_WORDS.map(str::to_owned).into());
            let is_open = |text: &str| amount(text) > amount("1");
            scalars(value, 0, &mut |text| {
                let picks = !is_bound || !is_open(text);
                if picks && !text.trim().is_empty() {
                    asked.push(text.to_owned());
                }
            });
        }
        let said = |text: &String| {
            let is_by = |words: &Words| words.name(text) || words.quote(text);
            let delegated = || is_by(&self.delegated).then_some(Source::Delegated);
            let source = is_by(&self.words).then_some(Source::Object).or_else(delegated)?;
            Some(Standing { source, is_plain: is_plain(&fold(text)) })
        };
        let said: Vec<Standing> = asked.iter().map(said).collect::<Option<_>>()?;
        let source = said.iter().map(|it| it.source).max()?;
        Some(Standing { source, is_plain: said.iter().all(|it| it.is_plain) })
    }

    /// What a call gave that nobody vouches for: where a result repeats it, the result's writer has
    /// not said it. `None`: too much to look for.
    pub(super) fn given(&self, arguments: Option<&Object>) -> Option<Vec<String>> {
        let mut given = Vec::new();
        for (_, value) in arguments.into_iter().flat_map(Object::iter) {
            scalars(value, 0, &mut |text| {
                let folded = fold(text.trim());
                let is_known = self.words.quote(text)
                    || self.words.quote_address(text)
                    || self.members.contains(&folded)
                    || self.is_address_of_system(&folded)
                    || self.tenant_addresses.contains(&bare_address(text));
                if !is_known && folded.len() >= REPEATED_BYTES_MIN && given.len() <= GIVEN_MAX {
                    given.push(folded);
                }
            });
        }
        (given.len() <= GIVEN_MAX).then_some(given)
    }
}

/// Whether a text repeats one of these, or a part of one.
pub(super) fn repeats(given: &[String], text: &str) -> bool {
    let text = fold(text.trim());
    let is_within = |given: &String| text.len() >= REPEATED_BYTES_MIN && given.contains(&text);
    // One word stands in much that it was not taken from.
    let has = |given: &String| !given.chars().all(char::is_alphanumeric) && text.contains(given);
    given.iter().any(|given| is_within(given) || has(given))
}
