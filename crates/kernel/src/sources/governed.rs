//! A connector under what the bundle declares of its source: which files are read, and who may see
//! what of them.
//!
//! Where permissions are declared they take the place of whatever the source says; where they are
//! synced, what the bundle keeps from somebody is added to it at every place that stands alone.

use lockgate_core::declare;
use lockgate_core::retrieve::path::matches;
use lockgate_core::retrieve::source::{named, shares};
use lockgate_retrieval::connect::{
    ConnectError, Connector, Content, Entry, Listing, PERMISSIONS_FILE, Permissions, ROOT,
    folders_of,
};
use lockgate_retrieval::format::Format;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What of a source is read, and to whom it is shown.
pub(super) struct Governed {
    pub(super) inner: Box<dyn Connector>,
    pub(super) declared: Arc<declare::Source>,
}

impl Connector for Governed {
    fn list(&mut self, cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let mut listing = self.inner.list(cursor)?;
        leave_out_unnameable(&mut listing);
        choose(&self.declared, &mut listing);
        for entry in &mut listing.entries {
            if entry.folders.is_empty() {
                entry.folders = in_root(&entry.id);
            }
        }
        match self.declared.permissions.synced {
            true => keep_from(&self.declared, &mut listing),
            false => declare(&self.declared, &mut listing),
        }
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        self.inner.fetch(entry, known)
    }
}

/// The folders of a document whose connector knows none.
fn in_root(id: &str) -> Vec<String> {
    std::iter::once(ROOT.to_owned()).chain(folders_of(id)).collect()
}

/// Leaves out what has a character in its name that no corpus keeps.
fn leave_out_unnameable(listing: &mut Listing) {
    let Listing { entries, folders, skipped, .. } = listing;
    let has_zero = |name: &String| name.contains('\0');
    folders.retain(|(folder, _)| !has_zero(folder));
    entries.retain(|entry| {
        let is_left_out = has_zero(&entry.id) || entry.folders.iter().any(has_zero);
        if is_left_out {
            let why = "its name has a character of number zero";
            skipped.push((entry.id.replace('\0', "?"), why.to_owned()));
        }
        !is_left_out
    });
}

/// Leaves out what is not to be read.
fn choose(declared: &declare::Source, listing: &mut Listing) {
    let (include, exclude) = match (&declared.connector.directory, &declared.connector.git) {
        (Some(directory), _) => (&directory.include, &directory.exclude),
        (None, Some(git)) => (&git.include, &git.exclude),
        (None, None) => return,
    };
    let fits = |patterns: &[String], id: &str| patterns.iter().any(|it| matches(it, id));
    let Listing { entries, skipped, .. } = listing;
    entries.retain(|entry| {
        if fits(exclude, &entry.id) {
            return false;
        }
        let is_named = Format::is_named(&entry.id);
        if include.is_empty() && !is_named {
            let why = "its name is that of no format that is read";
            skipped.push((entry.id.clone(), why.to_owned()));
        }
        if include.is_empty() { is_named } else { fits(include, &entry.id) }
    });
}

/// What is declared, in the place of what the source says.
fn declare(declared: &declare::Source, listing: &mut Listing) {
    let nothing = Permissions::none();
    let said = listing.folders.iter().filter(|(_, said)| *said != nothing);
    let passed_over = said.map(|(folder, _)| {
        let why = "permissions are declared in the bundle: this file is not looked at";
        (format!("{folder}/{PERMISSIONS_FILE}"), why.to_owned())
    });
    listing.skipped.extend(passed_over.collect::<Vec<_>>());
    let mut folders = BTreeSet::from([ROOT.to_owned()]);
    folders.extend(listing.folders.iter().map(|(folder, _)| folder.clone()));
    folders.extend(listing.entries.iter().flat_map(|entry| entry.folders.iter().cloned()));
    listing.folders = declared_of(declared, folders);
    for entry in &mut listing.entries {
        entry.permissions = Some(Permissions::none());
    }
}

/// To whom folders are shown by what is declared of each.
pub(super) fn declared_of(
    declared: &declare::Source,
    folders: BTreeSet<String>,
) -> Vec<(String, Permissions)> {
    let said = |folder: String| {
        let (mut readers, mut denials) = (BTreeSet::new(), own_denials(declared, &folder));
        if folder == ROOT {
            readers.extend(named(&declared.permissions.readers));
        }
        for it in declared.permissions.folder.iter().filter(|it| matches(&it.path, &folder)) {
            readers.extend(named(&it.readers));
            denials.extend(named(&it.denied));
        }
        (folder, Permissions::Inherits { shares: readers, denials })
    };
    folders.into_iter().map(said).collect()
}

/// From whom the bundle keeps a folder by itself: what lies in it inherits that.
fn own_denials(
    declared: &declare::Source,
    folder: &str,
) -> BTreeSet<lockgate_types::document::Reader> {
    let mut denials = BTreeSet::new();
    if folder == ROOT {
        denials.extend(named(&declared.permissions.denied));
    }
    for it in declared.permissions.folder.iter().filter(|it| matches(&it.path, folder)) {
        denials.extend(named(&it.denied));
    }
    denials
}

/// Adds from whom the bundle keeps places to what the source says of them.
fn keep_from(declared: &declare::Source, listing: &mut Listing) {
    for (folder, said) in &mut listing.folders {
        let own = own_denials(declared, folder);
        let around = || {
            let mut around = in_root(folder);
            around.push(folder.clone());
            shares(declared, &around).denied
        };
        match said {
            Permissions::Unknown => {}
            Permissions::Inherits { denials, .. } => denials.extend(own),
            Permissions::Alone { denials, .. } => denials.extend(around()),
        }
    }
    for entry in &mut listing.entries {
        if let Some(Permissions::Alone { denials, .. }) = &mut entry.permissions {
            denials.extend(shares(declared, &entry.folders).denied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::World;
    use lockgate_core::world::Files;
    use lockgate_types::document::Reader;

    /// A directory with what a source says of it, under what the bundle declares.
    struct Said(Listing);

    impl Connector for Said {
        fn list(&mut self, _: Option<&str>) -> Result<Listing, ConnectError> {
            Ok(self.0.clone())
        }

        fn fetch(&mut self, _: &Entry, _: Option<&str>) -> Result<Content, ConnectError> {
            Ok(Content::Gone)
        }
    }

    fn listed(permissions: &str, listing: Listing) -> Listing {
        let text = format!(
            "owner = \"it\"\nclassification = \"internal\"\n[connector.directory]\npath = \"d\"\n\
             include = [\"**/*.md\", \"*.bin\"]\nexclude = [\"old/**\"]\n\
             [permissions]\n{permissions}\n[[permissions.folder]]\npath = \"hr/**\"\n\
             readers = [\"user:hana\"]\ndenied = [\"user:eve\"]\n"
        );
        let mut files = Files::new();
        files.insert("lockgate.toml".to_owned(), b"environment = \"dev\"\n".to_vec());
        files.insert("principals.toml".to_owned(), b"undeclared_users = true\n".to_vec());
        files.insert("sources/wiki.toml".to_owned(), text.into_bytes());
        let world = World::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let declared = Arc::new(world.sources["wiki"].clone());
        Governed { inner: Box::new(Said(listing)), declared }.list(None).unwrap()
    }

    fn listing(folders: &[(&str, Permissions)], entries: &[(&str, Permissions)]) -> Listing {
        let folder = |(name, said): &(&str, Permissions)| ((*name).to_owned(), said.clone());
        let entry = |(id, said): &(&str, Permissions)| Entry {
            id: (*id).to_owned(),
            permissions: Some(said.clone()),
            ..Entry::default()
        };
        Listing {
            folders: folders.iter().map(folder).collect(),
            entries: entries.iter().map(entry).collect(),
            is_whole: true,
            ..Listing::default()
        }
    }

    fn users(names: &[&str]) -> BTreeSet<Reader> {
        names.iter().map(|name| Reader::User((*name).to_owned())).collect()
    }

    fn inherits(shares: &[&str], denials: &[&str]) -> Permissions {
        Permissions::Inherits { shares: users(shares), denials: users(denials) }
    }

    fn alone(shares: &[&str], denials: &[&str]) -> Permissions {
        Permissions::Alone { shares: users(shares), denials: users(denials) }
    }

    #[test]
    fn what_is_not_to_be_read_is_left_out() {
        let all = ["a.bin", "b.txt", "hr/pay/c.md", "old/d.md"];
        let entries = all.map(|id| (id, Permissions::none()));
        let found = listed("readers = [\"everyone\"]", listing(&[], &entries));
        let ids: Vec<&str> = found.entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["a.bin", "hr/pay/c.md"]);
    }

    #[test]
    fn what_is_declared_takes_the_place_of_what_the_source_says() {
        let folders = [(".", inherits(&["bob"], &[])), ("hr", alone(&["bob"], &[]))];
        let entries = [("a.md", alone(&["bob"], &[])), ("hr/pay/c.md", Permissions::none())];
        let declared = "readers = [\"user:ann\"]\ndenied = [\"user:mallory\"]";
        let found = listed(declared, listing(&folders, &entries));
        assert!(found.entries.iter().all(|it| it.permissions == Some(Permissions::none())));
        assert_eq!(found.entries[1].folders, [".", "hr", "hr/pay"]);
        let hr = inherits(&["hana"], &["eve"]);
        let told = [
            (".".to_owned(), inherits(&["ann"], &["mallory"])),
            ("hr".to_owned(), hr.clone()),
            ("hr/pay".to_owned(), hr),
        ];
        assert_eq!(found.folders, told);
        // What the files beside the documents say is not passed over in silence.
        let names: Vec<&str> = found.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["./_permissions.toml", "hr/_permissions.toml"]);
    }

    #[test]
    fn what_the_bundle_keeps_holds_where_the_source_says_who_may_see_what() {
        let folders = [
            (".", inherits(&["bob"], &[])),
            ("hr", alone(&["bob"], &["zoe"])),
            ("x", alone(&["bob"], &[])),
            ("y", Permissions::Unknown),
        ];
        let entries = [
            ("hr/c.md", alone(&["bob"], &[])),
            ("hr/d.md", inherits(&["bob"], &[])),
            ("y/e.md", Permissions::Unknown),
        ];
        let declared = "synced = true\ndenied = [\"user:mallory\"]";
        let found = listed(declared, listing(&folders, &entries));
        let said: Vec<Permissions> = found.folders.into_iter().map(|(_, said)| said).collect();
        let all = [
            inherits(&["bob"], &["mallory"]),
            alone(&["bob"], &["eve", "mallory", "zoe"]),
            alone(&["bob"], &["mallory"]),
            Permissions::Unknown,
        ];
        assert_eq!(said, all);
        let said: Vec<_> = found.entries.into_iter().filter_map(|it| it.permissions).collect();
        let all =
            [alone(&["bob"], &["eve", "mallory"]), inherits(&["bob"], &[]), Permissions::Unknown];
        assert_eq!(said, all);
    }
}
