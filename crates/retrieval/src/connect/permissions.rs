//! To whom folders and files are shared, as a file beside them says.
//!
//! Modes of files are about users of a machine and say nothing of readers, so they are not looked
//! at. A file that cannot be read shares nothing: whatever depends on it is shared to nobody.

use super::ConnectError;
use crate::corpus::Permissions;
use lockgate_types::document::Reader;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The file in a folder that says to whom it is shared.
pub const PERMISSIONS_FILE: &str = "_permissions.toml";
/// Bytes of such a file.
pub(super) const PERMISSIONS_BYTES_MAX: usize = 256 << 10;
/// Readers of one folder or file.
const READERS_MAX: usize = 1024;
/// Bytes of the name of a reader.
const READER_BYTES_MAX: usize = 256;

/// A reader as such files name them: `everyone`, `user:ada`, `group:finance`.
pub(super) fn reader(text: &str) -> Option<Reader> {
    let name = |name: &str| {
        let is_name = !name.is_empty()
            && name.len() <= READER_BYTES_MAX
            && !name.chars().any(|it| it.is_control() || it == ',');
        is_name.then(|| name.to_owned())
    };
    match text.split_once(':') {
        None if text == "everyone" => Some(Reader::Everyone),
        Some(("user", rest)) => name(rest).map(Reader::User),
        Some(("group", rest)) => name(rest).map(Reader::Group),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    readers: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
    #[serde(default = "yes")]
    inherit: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFolder {
    #[serde(default)]
    readers: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
    #[serde(default = "yes")]
    inherit: bool,
    #[serde(default)]
    files: BTreeMap<String, Written>,
}

const fn yes() -> bool {
    true
}

impl Written {
    fn permissions(self) -> Option<Permissions> {
        if self.readers.len() > READERS_MAX || self.denied.len() > READERS_MAX {
            return None;
        }
        let all = |names: &[String]| names.iter().map(|name| reader(name)).collect::<Option<_>>();
        let (shares, denials) = (all(&self.readers)?, all(&self.denied)?);
        Some(if self.inherit {
            Permissions::Inherits { shares, denials }
        } else {
            Permissions::Alone { shares, denials }
        })
    }
}

/// What such a file says of its folder, and of files in it. `Err`: why it says nothing.
pub(super) type Said = (Permissions, BTreeMap<String, Permissions>);

/// Reads such a file.
pub(super) fn read(bytes: &[u8]) -> Result<Said, ConnectError> {
    let wrong = |why: String| ConnectError::Mismatch { why: format!("{PERMISSIONS_FILE}: {why}") };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let folder: WrittenFolder =
        toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
    let bad =
        || wrong("a reader is `everyone`, `user:…` or `group:…`, and there are few".to_owned());
    let WrittenFolder { readers, denied, inherit, files } = folder;
    let own = Written { readers, denied, inherit }.permissions().ok_or_else(bad)?;
    let mut named = BTreeMap::new();
    for (name, written) in files {
        named.insert(name, written.permissions().ok_or_else(bad)?);
    }
    Ok((own, named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn words(permissions: &Permissions) -> String {
        let names = |readers: &BTreeSet<Reader>| {
            readers.iter().map(Reader::to_text).collect::<Vec<String>>().join(",")
        };
        match permissions {
            Permissions::Unknown => "unknown".to_owned(),
            Permissions::Inherits { shares, denials } => {
                format!("inherits {} without {}", names(shares), names(denials))
            }
            Permissions::Alone { shares, denials } => {
                format!("alone {} without {}", names(shares), names(denials))
            }
        }
    }

    #[test]
    fn a_file_says_to_whom_its_folder_is_shared() {
        let (folder, files) = read(
            b"readers = ['group:staff', 'everyone']\n\
              [files.'pay.md']\nreaders = ['user:ada']\ndenied = ['group:temps']\n\
              inherit = false\n",
        )
        .unwrap();
        assert_eq!(words(&folder), "inherits everyone,group:staff without ");
        assert_eq!(words(&files["pay.md"]), "alone user:ada without group:temps");
    }

    #[test]
    fn what_is_not_understood_shares_nothing() {
        for text in ["readers = ['staff']", "reader = ['everyone']", "readers = [", "\u{0}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"\xff").is_err());
    }
}
