//! Whether a person has asked for the kind of act that a tool is: what cannot be undone should not
//! happen to an object merely because they have spoken of it.

use super::read::name_words;
use super::text::Words;

/// Words for the same kind of act. A person who says one of them asks for tools that are called by
/// another.
const ACTS: [&[&str]; 9] = [
    &[
        "delete", "remove", "erase", "purge", "wipe", "destroy", "drop", "discard", "trash",
        "clear", "clean", "unlink", "rid", "empty",
    ],
    &[
        "cancel",
        "abort",
        "revoke",
        "withdraw",
        "terminate",
        "end",
        "close",
        "stop",
        "kill",
        "unsubscribe",
        "uninstall",
        "leave",
        "off",
        "remove",
        "kick",
    ],
    &["execute", "exec", "run", "eval", "start", "launch", "invoke", "shell", "command"],
    &[
        "pay",
        "transfer",
        "refund",
        "charge",
        "wire",
        "send",
        "settle",
        "reimburse",
        "buy",
        "sell",
        "order",
        "purchase",
        "trade",
        "withdraw",
    ],
    &["grant", "allow", "give", "approve", "permit", "let", "authorize", "unlock", "open"],
    &["reset", "restore", "rollback", "revert", "undo", "overwrite", "replace", "change", "update"],
    &["deploy", "release", "publish", "post", "ship"],
    &["disable", "deactivate", "block", "suspend", "lock", "turn"],
    &["control", "turn", "set", "switch", "adjust"],
];
/// Letters of a word that have to agree, where people inflect it.
const STEM_MIN: usize = 4;

/// Whether the person's words have a word for what this tool does. Of a tool whose name has no
/// word for an act nobody can tell.
pub(super) fn is_asked(words: &Words, tool: &str) -> bool {
    let name = name_words(tool);
    let of_tool = ACTS.iter().filter(|acts| acts.iter().any(|act| name.contains(*act)));
    let mut acts = of_tool.flat_map(|acts| acts.iter());
    acts.any(|act| {
        let stem = stem(act);
        words.has(act) || (stem.len() >= STEM_MIN && words.has_stem(stem))
    })
}

/// What a word has in common with its inflected forms. Short ones have to be as they are.
fn stem(act: &str) -> &str {
    let stem = act.strip_suffix('e').unwrap_or(act);
    if stem.len() >= STEM_MIN { stem } else { act }
}
