//! Compiles what operations declare of their arguments and results.

use super::document::Findings;
use crate::declare::{self, OriginWord, RoleWord};
use crate::flow::{Declared, ObjectShape, Returns};
use crate::model;
use lockgate_types::flow::{Author, Role};
use lockgate_types::label::{LABEL_WORD_BYTES_MAX, READERS_MAX};

/// Names in a list of fields.
const FIELDS_MAX: usize = 64;

/// What an operation declares, compiled.
pub(super) fn compile(
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Declared {
    let [kind, name] = *path;
    let roles = declared.roles.iter().map(|(argument, word)| {
        (argument.split('.').map(str::to_owned).collect::<Vec<_>>(), role(*word))
    });
    let roles: Vec<_> = roles.collect();
    if roles.iter().any(|(path, _)| path.iter().any(String::is_empty)) {
        let what = format!("a role of `{name}` has no argument");
        found.at(&[kind, name, "roles"], what, "write `roles = { recipient = \"payee\" }`");
    }
    let returns = &declared.returns;
    let named_by = returns.object.as_ref().map_or(&[][..], |object| &object.named_by);
    let lists = [returns.guaranteed.as_slice(), named_by];
    if lists.iter().any(|list| list.len() > FIELDS_MAX || list.iter().any(String::is_empty)) {
        let what = format!("`{name}` returns too many fields, or one without a name");
        found.at(&[kind, name, "returns"], what, format!("name at most {FIELDS_MAX}"));
    }
    let is_name = |name: &String| {
        (1..=LABEL_WORD_BYTES_MAX).contains(&name.len()) && !name.contains([',', '\n'])
    };
    if returns.readers.len() > READERS_MAX || !returns.readers.iter().all(is_name) {
        let what = format!("`{name}` names too many readers, or one that is no name");
        let hint = format!("at most {READERS_MAX}, each of up to {LABEL_WORD_BYTES_MAX} bytes");
        found.at(&[kind, name, "returns", "readers"], what, hint);
    }
    Declared { roles, returns: compile_returns(returns) }
}

fn compile_returns(returns: &declare::Returns) -> Returns {
    Returns {
        author: match returns.origin.unwrap_or_default() {
            OriginWord::System => Author::System,
            OriginWord::Directory => Author::Directory,
            OriginWord::Tenant => Author::Tenant,
            OriginWord::Anyone => Author::Anyone,
        },
        confidentiality: model::confidentiality(returns.confidentiality),
        readers: returns.readers.iter().cloned().collect(),
        guaranteed: returns.guaranteed.clone(),
        object: returns
            .object
            .as_ref()
            .map(|object| ObjectShape { id: object.id.clone(), named_by: object.named_by.clone() }),
        is_owned: returns.owned,
    }
}

const fn role(word: RoleWord) -> Role {
    match word {
        RoleWord::Principal => Role::Principal,
        RoleWord::Payee => Role::Payee,
        RoleWord::Resource => Role::Resource,
        RoleWord::Audience => Role::Audience,
        RoleWord::Credential => Role::Credential,
        RoleWord::Profile => Role::Profile,
        RoleWord::EgressUrl => Role::EgressUrl,
        RoleWord::NavUrl => Role::NavUrl,
        RoleWord::Amount => Role::Amount,
        RoleWord::Label => Role::Label,
        RoleWord::Content => Role::Content,
        RoleWord::Time => Role::Time,
        RoleWord::Low => Role::Low,
    }
}
