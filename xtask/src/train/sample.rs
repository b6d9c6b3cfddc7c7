//! A text that an expression matches, made from the expression.

use super::fit::Dice;
use super::found::compiled;
use regex_syntax::hir::{Class, Hir, HirKind};

/// How many more than it must a part is repeated, at most.
const MORE: usize = 4;

/// Texts that match; fewer if the expression cannot be read or asks for more than this knows.
pub(super) fn of(expression: &str, count: usize, dice: &mut Dice) -> Vec<String> {
    let (Ok(hir), Some(pattern)) = (regex_syntax::parse(expression), compiled(expression)) else {
        return Vec::new();
    };
    let make = || {
        let mut text = String::new();
        write(&hir, dice, &mut text)?;
        pattern.is_match(&text).then_some(text)
    };
    std::iter::repeat_with(make).take(count).flatten().collect()
}

fn write(hir: &Hir, dice: &mut Dice, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class, dice)?),
        HirKind::Repetition(repetition) => {
            let least = usize::try_from(repetition.min).ok()?;
            let most = repetition.max.map_or(least + MORE, |max| max as usize).min(least + MORE);
            let count = least + dice.below(most - least + 1);
            for _ in 0..count {
                write(&repetition.sub, dice, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, dice, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, dice, text)?;
            }
        }
        HirKind::Alternation(parts) => write(parts.get(dice.below(parts.len()))?, dice, text)?,
    }
    Some(())
}

/// A printable ASCII member of a class, or any ASCII one.
fn member(class: &Class, dice: &mut Dice) -> Option<char> {
    let has = |character: char| match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|it| (it.start()..=it.end()).contains(&character))
        }
        Class::Bytes(class) => {
            let byte = u32::from(character);
            class.ranges().iter().any(|it| (it.start().into()..=it.end().into()).contains(&byte))
        }
    };
    let of = |is: fn(char) -> bool| -> Vec<char> {
        (0..128_u8).map(char::from).filter(|it| is(*it) && has(*it)).collect()
    };
    let mut members = of(|it| it.is_ascii_alphanumeric());
    if members.is_empty() {
        members = of(|it| it.is_ascii_graphic() || it == ' ');
    }
    if members.is_empty() {
        members = of(|_| true);
    }
    let at = dice.below(members.len().max(1));
    members.get(at).copied()
}
