//! Readers that a bundle names: of a source, of folders, of fields. Those who do not exist are
//! mistakes, as in policies: a denial of a misspelt group would keep nothing from anybody.

use super::document::Findings;
use super::suggest;
use crate::declare::{Gate, Principals};
use lockgate_types::document::Reader;
use lockgate_types::{GroupName, SubjectId};
use std::collections::BTreeSet;

/// Who there is, as far as the bundle says.
pub(super) struct People<'a> {
    principals: Option<&'a Principals>,
    /// `None`: tokens may name others.
    groups: Option<BTreeSet<&'a str>>,
}

impl<'a> People<'a> {
    /// Whoever is declared. What cannot be read has no misspelt names.
    pub(super) fn of(principals: Option<&'a Principals>, gate: Option<&Gate>) -> Self {
        let is_claimed = gate.is_none_or(Gate::has_claimed_groups);
        let groups = principals.filter(|_| !is_claimed).map(Principals::groups);
        Self { principals, groups }
    }

    /// Holds readers against those who exist.
    pub(super) fn check(&self, readers: &[String], path: &[&str], found: &mut Findings<'_>) {
        for (at, text) in readers.iter().enumerate() {
            let Some((what, hint)) = self.wrong(text) else { continue };
            let at = at.to_string();
            let path: Vec<&str> = path.iter().copied().chain([at.as_str()]).collect();
            found.at(&path, what, hint);
        }
    }

    /// What is wrong with a reader, and what would help.
    fn wrong(&self, text: &str) -> Option<(String, String)> {
        let hint = || "`everyone`, `user:<subject>` or `group:<group>`".to_owned();
        let is_none = || Some((format!("`{text}` is no reader"), hint()));
        let declare = "declare it in `principals.toml`, or correct the name";
        let near = |name: &str, known: &[&str]| match suggest::among(name, known) {
            near if near.starts_with("did") => near,
            _ => declare.to_owned(),
        };
        match Reader::from_text(text) {
            None => is_none(),
            Some(Reader::Everyone) => None,
            Some(Reader::User(name)) if SubjectId::new(&name).is_err() => is_none(),
            Some(Reader::Group(name)) if GroupName::new(&name).is_err() => is_none(),
            Some(Reader::User(name)) => {
                let principals = self.principals.filter(|it| !it.undeclared_users)?;
                let known: Vec<&str> = principals.user.keys().map(String::as_str).collect();
                let is_known = principals.user.contains_key(&name);
                (!is_known).then(|| (format!("there is no user `{name}`"), near(&name, &known)))
            }
            Some(Reader::Group(name)) => {
                let groups = self.groups.as_ref()?;
                let known: Vec<&str> = groups.iter().copied().collect();
                let is_known = groups.contains(name.as_str());
                (!is_known).then(|| (format!("there is no group `{name}`"), near(&name, &known)))
            }
        }
    }
}
