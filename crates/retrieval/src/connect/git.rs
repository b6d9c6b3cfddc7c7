//! A Git checkout: what is committed, not what lies about in the working tree. So every document
//! has a commit, an author and a date.
//!
//! The program `git` reads the repository, with an environment of its own and nothing in its
//! settings that would start another program or fetch anything.

use super::permissions::{PERMISSIONS_BYTES_MAX, read};
use super::{
    ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, Listing, PERMISSIONS_FILE, Permissions,
    folders_of, is_place,
};
use crate::format::DOCUMENT_BYTES_MAX;
use lockgate_types::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Bytes of the list of files.
const LIST_BYTES_MAX: u64 = 128 << 20;
/// Bytes of history that are read to find out who wrote what.
const HISTORY_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one line of an answer.
const LINE_BYTES_MAX: u64 = 4096;
/// Settings that stand above those of the repository, which whoever can write there has made: each
/// names a program that some command of `git` starts, or lets one be started.
const SETTINGS: [&str; 13] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.askPass=false",
    "credential.helper=",
    "gpg.program=false",
    "gpg.openpgp.program=false",
    "gpg.x509.program=false",
    "gpg.ssh.program=false",
    "log.showSignature=false",
    "protocol.allow=never",
    "core.quotePath=false",
];

/// A repository as a source.
#[derive(Debug)]
pub struct Git {
    checkout: PathBuf,
    /// The folder in it of which the documents are, without a slash at its end.
    folder: Option<String>,
    link: Option<String>,
    /// What of it is read.
    reference: String,
    reader: Option<Objects>,
}

impl Git {
    /// That checkout, or a folder in it. `link`: what the address of a document begins with.
    pub fn new(checkout: PathBuf, folder: Option<String>, link: Option<String>) -> Self {
        Self { checkout, folder, link, reference: "HEAD".to_owned(), reader: None }
    }

    /// The same at a branch, a tag or a commit.
    pub fn at(self, reference: &str) -> Self {
        Self { reference: reference.to_owned(), ..self }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            // An object that is not there is not fetched: of older versions of `git` by any
            // protocol at all, whatever the repository allows.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .arg("-C")
            .arg(&self.checkout)
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .arg("--no-pager")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What it prints, up to that many bytes.
    fn said(&self, arguments: &[&str], bytes_max: u64) -> Result<Vec<u8>, ConnectError> {
        let mut child = self
            .command(arguments)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| ConnectError::away(format!("`git` does not start: {error}")))?;
        let mut bytes = Vec::new();
        let read = child.stdout.take().map_or(Ok(0), |output| {
            output.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)
        });
        let is_too_much = u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max;
        if is_too_much || read.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(ConnectError::away)?;
        read.map_err(ConnectError::away)?;
        if is_too_much {
            let max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            return Err(ConnectError::TooMuch { what: "bytes in a list of `git`", max });
        }
        if !status.success() {
            let what = arguments.first().copied().unwrap_or_default();
            return Err(ConnectError::away(format!("`git {what}` ended with {status}")));
        }
        Ok(bytes)
    }

    /// The path within the folder that is the source's, if a file lies in it.
    fn own<'a>(&self, path: &'a str) -> Option<&'a str> {
        match &self.folder {
            None => Some(path),
            Some(folder) => path.strip_prefix(folder.as_str())?.strip_prefix('/'),
        }
    }

    /// The files of a commit.
    fn files(&self, commit: &str) -> Result<(Vec<File>, Skipped), ConnectError> {
        let listed = self.said(&["ls-tree", "-r", "-z", "--long", commit], LIST_BYTES_MAX)?;
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let Some((head, path)) = line.split_once('\t') else { continue };
            let words: Vec<&str> = head.split_whitespace().collect();
            let [mode, _, object, size] = words.as_slice() else { continue };
            let Some(path) = self.own(path) else { continue };
            let size = size.parse::<usize>().unwrap_or(usize::MAX);
            let why = match *mode {
                "100644" | "100755" if !is_place(path) || path.contains('\u{fffd}') => {
                    Some("its name is too long, or has odd characters")
                }
                "100644" | "100755" if size > DOCUMENT_BYTES_MAX => Some("it is too large"),
                "100644" | "100755" => None,
                "120000" => Some("it is a link"),
                _ => Some("it is another repository"),
            };
            match why {
                Some(why) => skipped.push((path.to_owned(), why.to_owned())),
                None => files.push(File { path: path.to_owned(), object: (*object).to_owned() }),
            }
            if files.len() > DOCUMENTS_MAX || skipped.len() > DOCUMENTS_MAX {
                return Err(ConnectError::TooMuch { what: "documents", max: DOCUMENTS_MAX });
            }
        }
        Ok((files, skipped))
    }

    /// Who changed each file last, when, and when it was first there: from the newest commit on.
    fn history(&self, commit: &str) -> Result<BTreeMap<String, Past>, ConnectError> {
        let mut arguments = vec!["log", "-z", "--format=%x01%ct%x02%an", "--name-only"];
        // Signatures, filters of files and differences of one's own are programs.
        arguments.extend(["--no-show-signature", "--no-ext-diff", "--no-textconv"]);
        arguments.extend(["--no-renames", "-m", commit]);
        let said = self.said(&arguments, HISTORY_BYTES_MAX)?;
        let mut past: BTreeMap<String, Past> = BTreeMap::new();
        let (mut when, mut who) = (Micros(0), String::new());
        for part in said.split(|byte| *byte == 0) {
            let part = String::from_utf8_lossy(part);
            let part = part.trim_start_matches('\n');
            let mut path = part;
            if let Some(head) = part.strip_prefix('\u{1}') {
                let (head, rest) = head.split_once('\n').unwrap_or((head, ""));
                let (seconds, author) = head.split_once('\u{2}').unwrap_or((head, ""));
                let seconds = seconds.trim().parse::<i64>().unwrap_or(0);
                when = Micros(seconds.saturating_mul(1_000_000));
                author.clone_into(&mut who);
                path = rest.trim_start_matches('\n');
            }
            let Some(path) = self.own(path).filter(|path| !path.is_empty()) else { continue };
            let first = || Past { changed: when, author: who.clone(), made: when };
            past.entry(path.to_owned()).or_insert_with(first).made = when;
        }
        Ok(past)
    }

    fn object(&mut self, object: &str, bytes_max: usize) -> Result<Vec<u8>, ConnectError> {
        if self.reader.is_none() {
            let command = self.command(&["cat-file", "--batch"]);
            self.reader = Some(Objects::start(command)?);
        }
        let read = self.reader.as_mut().map(|reader| reader.read(object, bytes_max));
        let read = read.unwrap_or_else(|| Err(ConnectError::away("`git` does not start")));
        if read.is_err() {
            // What it would say next is unknown.
            self.reader = None;
        }
        read
    }

    /// What files beside the others say of folders and files.
    fn permissions(
        &mut self,
        files: &[File],
        listing: &mut Listing,
    ) -> Result<BTreeMap<String, Permissions>, ConnectError> {
        let mut folders: BTreeMap<String, Permissions> = BTreeMap::new();
        let mut own = BTreeMap::new();
        let all: BTreeSet<String> = files.iter().flat_map(|file| in_root(&file.path)).collect();
        folders.extend(all.into_iter().map(|folder| (folder, Permissions::none())));
        for file in files {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            if name != PERMISSIONS_FILE {
                continue;
            }
            let said = self.object(&file.object, PERMISSIONS_BYTES_MAX);
            let said = said.and_then(|bytes| read(&bytes));
            let path = if folder.is_empty() { super::directory::ROOT } else { folder };
            match said {
                Ok((said, named)) => {
                    folders.insert(path.to_owned(), said);
                    let place = |name: String| {
                        if folder.is_empty() { name } else { format!("{folder}/{name}") }
                    };
                    own.extend(named.into_iter().map(|(name, said)| (place(name), said)));
                }
                Err(error) => {
                    listing.skipped.push((file.path.clone(), error.to_string()));
                    folders.insert(path.to_owned(), Permissions::Unknown);
                }
            }
        }
        listing.folders = folders.into_iter().collect();
        Ok(own)
    }
}

/// What is not read, and why.
type Skipped = Vec<(String, String)>;

struct File {
    path: String,
    object: String,
}

struct Past {
    changed: Micros,
    author: String,
    made: Micros,
}

fn in_root(path: &str) -> Vec<String> {
    let root = super::directory::ROOT.to_owned();
    std::iter::once(root).chain(folders_of(path)).collect()
}

impl Connector for Git {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let commit = format!("{}^{{commit}}", self.reference);
        let arguments = ["rev-parse", "--verify", "--end-of-options", commit.as_str()];
        let head = self.said(&arguments, LINE_BYTES_MAX)?;
        let head = String::from_utf8_lossy(&head).trim().to_owned();
        let (files, skipped) = self.files(&head)?;
        let mut past = self.history(&head)?;
        let mut listing =
            Listing { is_whole: true, cursor: Some(head), skipped, ..Listing::default() };
        let mut own = self.permissions(&files, &mut listing)?;
        let shown = files.iter().filter(|file| !file.path.ends_with(PERMISSIONS_FILE));
        listing.entries = shown
            .map(|file| {
                let past = past.remove(&file.path);
                Entry {
                    id: file.path.clone(),
                    version: Some(file.object.clone()),
                    folders: in_root(&file.path),
                    permissions: Some(own.remove(&file.path).unwrap_or_else(Permissions::none)),
                    made: past.as_ref().map(|past| past.made),
                    changed: past.as_ref().map(|past| past.changed),
                    author: past.map(|past| past.author),
                    link: self.link.as_ref().map(|link| format!("{link}{}", file.path)),
                    media_type: None,
                }
            })
            .collect();
        listing.entries.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        let Some(object) = entry.version.clone() else { return Ok(Content::Gone) };
        if known == Some(object.as_str()) {
            return Ok(Content::Same);
        }
        let bytes = self.object(&object, DOCUMENT_BYTES_MAX)?;
        Ok(Content::Bytes { bytes, media_type: None, version: Some(object), changed: None })
    }
}

/// A process that prints objects as they are named.
#[derive(Debug)]
struct Objects {
    child: Child,
    names: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Objects {
    fn start(mut command: Command) -> Result<Self, ConnectError> {
        let started = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = started
            .map_err(|error| ConnectError::away(format!("`git` does not start: {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(names), Some(said)) => Ok(Self { child, names, said: BufReader::new(said) }),
            _ => Err(ConnectError::away("`git` has no pipes")),
        }
    }

    fn read(&mut self, object: &str, bytes_max: usize) -> Result<Vec<u8>, ConnectError> {
        if object.is_empty() || !object.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ConnectError::away("an object without a name"));
        }
        writeln!(self.names, "{object}").map_err(ConnectError::away)?;
        self.names.flush().map_err(ConnectError::away)?;
        let mut head = Vec::new();
        let mut line = (&mut self.said).take(LINE_BYTES_MAX);
        line.read_until(b'\n', &mut head).map_err(ConnectError::away)?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let words: Vec<&str> = head.split_whitespace().collect();
        let [_, "blob", size] = words.as_slice() else {
            return Err(ConnectError::away(format!("`git` says `{}` of an object", head.trim())));
        };
        let size = size.parse::<usize>().unwrap_or(usize::MAX);
        if size > bytes_max {
            return Err(ConnectError::TooMuch { what: "bytes in a file", max: bytes_max });
        }
        let mut bytes = vec![0; size];
        self.said.read_exact(&mut bytes).map_err(ConnectError::away)?;
        self.said.read_exact(&mut [0]).map_err(ConnectError::away)?;
        Ok(bytes)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
