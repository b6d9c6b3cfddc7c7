//! A directory of files. No link is followed, and nothing outside of it is opened, whatever
//! happens in it meanwhile: the kernel resolves every path beneath it.

use super::permissions::{PERMISSIONS_BYTES_MAX, Said, read};
use super::{
    ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, FOLDERS_DEPTH_MAX, Listing,
    PERMISSIONS_FILE, Permissions, folders_of, is_place,
};
use crate::format::DOCUMENT_BYTES_MAX;
use lockgate_types::Micros;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What the directory itself is called among its folders.
pub const ROOT: &str = ".";
/// Entries of one folder.
const FOLDER_ENTRIES_MAX: usize = 100_000;

/// A directory as a source.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// What a link to a document begins with.
    link: Option<String>,
}

impl Directory {
    /// That directory. `link`: what the address of a document begins with, for people.
    pub const fn new(root: PathBuf, link: Option<String>) -> Self {
        Self { root, link }
    }

    fn open_root(&self) -> Result<OwnedFd, ConnectError> {
        let root = File::open(&self.root).map_err(ConnectError::away)?;
        Ok(root.into())
    }
}

impl Connector for Directory {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let root = self.open_root()?;
        let mut walk = Walk { root, link: self.link.as_deref(), listing: Listing::default() };
        walk.listing.is_whole = true;
        // Not by recursion: how deep folders lie says who made them.
        let mut waiting = vec![String::new()];
        while let Some(folder) = waiting.pop() {
            walk.folder(&folder, &mut waiting)?;
        }
        let mut listing = walk.listing;
        listing.entries.sort_by(|one, two| one.id.cmp(&two.id));
        listing.folders.sort_by(|one, two| one.0.cmp(&two.0));
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        if known.is_some() && known == entry.version.as_deref() {
            return Ok(Content::Same);
        }
        let root = self.open_root()?;
        let Some(file) = open(&root, &entry.id, OFlags::RDONLY | OFlags::NONBLOCK)? else {
            return Ok(Content::Gone);
        };
        let stat = fstat(&file).map_err(ConnectError::away)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Content::Gone);
        }
        let bytes = contents(file, DOCUMENT_BYTES_MAX)?;
        Ok(Content::Bytes {
            bytes,
            media_type: None,
            version: Some(version(&stat)),
            changed: Some(changed(&stat)),
        })
    }
}

struct Walk<'a> {
    root: OwnedFd,
    link: Option<&'a str>,
    listing: Listing,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, waiting: &mut Vec<String>) -> Result<(), ConnectError> {
        let path = if folder.is_empty() { ROOT } else { folder };
        let opened = open(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let Some(opened) = opened else { return Ok(()) };
        let (own, files) = self.permissions(&opened, folder)?;
        self.listing.folders.push((path.to_owned(), own.clone()));
        let mut names = Vec::new();
        for found in Dir::read_from(&opened).map_err(ConnectError::away)? {
            let found = found.map_err(ConnectError::away)?;
            let name = String::from_utf8_lossy(found.file_name().to_bytes()).into_owned();
            // Hidden ones are not documents: `.git`, what editors put beside files.
            if name.starts_with('.') || name == PERMISSIONS_FILE {
                continue;
            }
            names.push(name);
            if names.len() > FOLDER_ENTRIES_MAX {
                let what = "entries in a folder";
                return Err(ConnectError::TooMuch { what, max: FOLDER_ENTRIES_MAX });
            }
        }
        names.sort();
        for name in names {
            let id = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let unknown = matches!(own, Permissions::Unknown);
            let permissions = if unknown { Some(Permissions::Unknown) } else { None };
            let permissions = permissions.or_else(|| files.get(&name).cloned());
            self.found(&opened, &name, id, permissions, waiting)?;
        }
        Ok(())
    }

    fn found(
        &mut self,
        folder: &OwnedFd,
        name: &str,
        id: String,
        permissions: Option<Permissions>,
        waiting: &mut Vec<String>,
    ) -> Result<(), ConnectError> {
        let skip = |listing: &mut Listing, id: String, why: &str| {
            if listing.skipped.len() < DOCUMENTS_MAX {
                listing.skipped.push((id, why.to_owned()));
            }
            Ok(())
        };
        if !is_place(&id) || name.contains('\u{fffd}') {
            return skip(&mut self.listing, id, "its name is too long, or has odd characters");
        }
        let Some(opened) = open(folder, name, OFlags::PATH | OFlags::NOFOLLOW)? else {
            return skip(&mut self.listing, id, "it is a link");
        };
        let stat = fstat(&opened).map_err(ConnectError::away)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if id.split('/').count() >= FOLDERS_DEPTH_MAX => {
                skip(&mut self.listing, id, "it lies too deep")
            }
            FileType::Directory => {
                waiting.push(id);
                Ok(())
            }
            FileType::RegularFile if usize::try_from(stat.st_size).is_ok_and(is_small) => {
                if self.listing.entries.len() >= DOCUMENTS_MAX {
                    return Err(ConnectError::TooMuch { what: "documents", max: DOCUMENTS_MAX });
                }
                self.listing.entries.push(Entry {
                    version: Some(version(&stat)),
                    folders: in_root(&id),
                    permissions: Some(permissions.unwrap_or_else(Permissions::none)),
                    changed: Some(changed(&stat)),
                    link: self.link.map(|link| format!("{link}{id}")),
                    id,
                    ..Entry::default()
                });
                Ok(())
            }
            FileType::RegularFile => skip(&mut self.listing, id, "it is too large"),
            _ => skip(&mut self.listing, id, "it is no file"),
        }
    }

    /// What the file beside the others says. One that says nothing readable shares nothing.
    fn permissions(&mut self, folder: &OwnedFd, path: &str) -> Result<Said, ConnectError> {
        let Some(file) = open(folder, PERMISSIONS_FILE, OFlags::RDONLY | OFlags::NONBLOCK)? else {
            // There is none, or it is a link: and that is nothing to be read.
            let is_there = open(folder, PERMISSIONS_FILE, OFlags::PATH | OFlags::NOFOLLOW);
            let is_link =
                rustix::fs::statat(folder, PERMISSIONS_FILE, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok();
            let own = if is_link || is_there?.is_some() {
                Permissions::Unknown
            } else {
                Permissions::none()
            };
            return Ok((own, BTreeMap::new()));
        };
        let said = contents(file, PERMISSIONS_BYTES_MAX).and_then(|bytes| read(&bytes));
        Ok(said.unwrap_or_else(|error| {
            self.listing.skipped.push((format!("{path}/{PERMISSIONS_FILE}"), error.to_string()));
            (Permissions::Unknown, BTreeMap::new())
        }))
    }
}

/// The folders of a file, of which the root is the first.
fn in_root(id: &str) -> Vec<String> {
    std::iter::once(ROOT.to_owned()).chain(folders_of(id)).collect()
}

const fn is_small(bytes: usize) -> bool {
    bytes <= DOCUMENT_BYTES_MAX
}

/// Opens what lies beneath a folder. `None`: it is not there, or a link leads there.
fn open(folder: impl AsFd, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, ConnectError> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), beneath) {
        Ok(opened) => Ok(Some(opened)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => {
            Ok(None)
        }
        Err(error) => Err(ConnectError::Away { why: format!("`{path}`: {error}") }),
    }
}

fn contents(file: OwnedFd, bytes_max: usize) -> Result<Vec<u8>, ConnectError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    File::from(file).take(most).read_to_end(&mut bytes).map_err(ConnectError::away)?;
    if bytes.len() > bytes_max {
        return Err(ConnectError::TooMuch { what: "bytes in a file", max: bytes_max });
    }
    Ok(bytes)
}

/// Differs when anybody has written to the file: nobody can set the second time.
fn version(stat: &Stat) -> String {
    format!(
        "{}:{}:{}.{}:{}.{}",
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    )
}

fn changed(stat: &Stat) -> Micros {
    let seconds = stat.st_mtime;
    let within = i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1000;
    Micros(seconds.saturating_mul(1_000_000).saturating_add(within))
}
