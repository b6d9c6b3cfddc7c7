//! What one document of an answer says otherwise than the others: the same sentence with another
//! number, day, address or path, or with a *never* where they have none.
//!
//! Pieces of one answer are about the same thing, so what is planted among them to mislead often
//! says what its neighbours say, but for one value. That is a reason to look, not to refuse: the
//! one that differs may be the only one that is up to date. Sentences are compared by their words,
//! not by what they mean: who puts it in other words is not found.

mod sentence;

use sentence::{Claim, Sentence, sentences};
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that are compared; those beyond are not.
pub const PIECES_MAX: usize = 50;
/// Documents that have to agree for another one to contradict them.
pub const AGREEING_MIN: usize = 2;

/// A piece of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The number of its document: several pieces may be of one.
    pub document: usize,
    /// What it says.
    pub text: &'a str,
}

/// A document that says otherwise than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contradiction {
    /// Its number.
    pub document: usize,
    /// Of those that say something of it, thousandths that say the one other thing.
    pub share: u16,
}

/// The documents that say otherwise than at least twice as many others, which agree: by number,
/// each once. The order of pieces makes no difference.
pub fn contradictions(pieces: &[Piece<'_>]) -> Vec<Contradiction> {
    let of = |piece: &Piece<'_>| -> Vec<(usize, Sentence)> {
        sentences(piece.text).into_iter().map(|it| (piece.document, it)).collect()
    };
    let all: Vec<(usize, Sentence)> = pieces.iter().take(PIECES_MAX).flat_map(of).collect();
    let mut found: BTreeMap<usize, u16> = BTreeMap::new();
    for (document, sentence) in &all {
        if let Some(share) = against(*document, sentence, &all) {
            let surest = found.entry(*document).or_default();
            *surest = share.max(*surest);
        }
    }
    found.into_iter().map(|(document, share)| Contradiction { document, share }).collect()
}

/// How many of a thousand say one other thing than a sentence of this document, if enough do.
fn against(document: usize, sentence: &Sentence, all: &[(usize, Sentence)]) -> Option<u16> {
    let mut said: BTreeMap<usize, BTreeSet<&Claim>> = BTreeMap::new();
    for (other, it) in all.iter().filter(|(_, it)| sentence.is_comparable(it)) {
        said.entry(*other).or_default().insert(it.claim());
    }
    if said.len() <= AGREEING_MIN {
        return None;
    }
    let own = said.get(&document)?;
    let mut agreeing: BTreeMap<&Claim, usize> = BTreeMap::new();
    for claims in said.values().filter(|claims| !claims.contains(sentence.claim())) {
        for claim in claims.iter().filter(|claim| !own.contains(*claim)) {
            *agreeing.entry(*claim).or_default() += 1;
        }
    }
    let most = agreeing.into_values().max()?;
    let others = said.len().saturating_sub(most);
    let is_enough = most >= AGREEING_MIN && most >= others.saturating_mul(2);
    let share = most.saturating_mul(1000).checked_div(said.len())?;
    is_enough.then(|| u16::try_from(share).unwrap_or(1000))
}

#[cfg(test)]
mod tests;
