//! Pages of an HTTP server: those that are named, those of a list that the server keeps (a site map
//! in plain text: one address a line), and, if that is declared, those that they lead to
//! (`follow`).
//!
//! Who fetches is given by the caller, so that the rules for everything that leaves the gate hold
//! here as well. Unless links are followed, no page says what is read next, and no redirect does.

use super::address::{is_disguised, resolved};
use super::follow::{FindLinks, Follow, Following, content};
use super::{ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, Listing, is_place};
use crate::format::DOCUMENT_BYTES_MAX;
use lockgate_types::Micros;

/// Why an address is not asked for.
pub(super) const DISGUISED: &str = "its path leads elsewhere once it is decoded";
/// Bytes of a site map.
const MAP_BYTES_MAX: usize = 8 << 20;

/// A request of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub address: String,
    /// Headers beside those that every request has.
    pub headers: Vec<(String, String)>,
    /// Bytes of an answer: a longer one is an error.
    pub bytes_max: usize,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// Its headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Fetched {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Fetches, under the rules of whoever gives it. It follows no redirect.
pub trait Fetch {
    /// Asks with `GET`. The error says what is wrong, in words.
    fn fetch(&mut self, request: &Request) -> Result<Fetched, ConnectError>;
}

/// Pages as a source.
pub struct Http {
    /// What all addresses begin with: scheme, host, and a path that ends with a slash.
    base: String,
    /// Pages, as addresses that begin so or as paths beneath.
    pages: Vec<String>,
    /// The address of a list of more.
    map: Option<String>,
    fetch: Box<dyn Fetch + Send>,
    /// How links are followed. `None`: they are not.
    following: Option<Following>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Http {
    /// These pages, all beneath `base`.
    pub fn new(
        base: &str,
        pages: Vec<String>,
        map: Option<String>,
        fetch: Box<dyn Fetch + Send>,
    ) -> Self {
        let slash = if base.ends_with('/') { "" } else { "/" };
        Self { base: format!("{base}{slash}"), pages, map, fetch, following: None }
    }

    /// The same, and what they lead to.
    #[must_use]
    pub fn following(self, follow: Follow, links: Box<dyn FindLinks + Send>) -> Self {
        let base = self.in_one_form(&self.base);
        let map = self.map.as_ref().map(|map| self.in_one_form(map));
        let beneath = follow.beneath.iter().map(|place| self.in_one_form(place)).collect();
        let following = Some(Following::new(Follow { beneath, ..follow }, links));
        Self { base, map, following, ..self }
    }

    /// An address as those of links are written.
    fn in_one_form(&self, address: &str) -> String {
        resolved(&self.base, None, address).unwrap_or_else(|| address.to_owned())
    }

    /// The path beneath the base. A page elsewhere is refused, not left out: somebody wants the
    /// gate to go there.
    pub(super) fn path(&self, page: &str) -> Result<String, ConnectError> {
        let elsewhere = || ConnectError::Elsewhere { why: format!("`{}`", short(page)) };
        let path = match page.split_once("://") {
            Some(_) => page.strip_prefix(&self.base).ok_or_else(elsewhere)?,
            None => page.trim_start_matches('/'),
        };
        let path = path.split('#').next().unwrap_or_default();
        let is_up = path.split(['/', '\\']).any(|part| {
            let plain = part.to_ascii_lowercase().replace("%2e", ".");
            plain == ".." || plain == "."
        });
        let is_odd = path.chars().any(|it| it.is_whitespace() || it.is_control() || it == '\\');
        let path = if path.is_empty() { "index" } else { path };
        if is_up || is_odd || !is_place(path) {
            return Err(elsewhere());
        }
        Ok(path.to_owned())
    }

    /// Asks for a page; the answer is there, whatever its status.
    pub(super) fn ask(
        &mut self,
        address: String,
        known: Option<&str>,
        bytes_max: usize,
    ) -> Result<Fetched, ConnectError> {
        let mut headers = vec![("accept".to_owned(), "text/html, text/*, */*;q=0.5".to_owned())];
        headers.extend(known.and_then(|known| {
            let (name, value) = known.split_once(' ')?;
            let name = match name {
                "etag" => "if-none-match",
                "date" => "if-modified-since",
                _ => return None,
            };
            Some((name.to_owned(), value.to_owned()))
        }));
        let fetched = self.fetch.fetch(&Request { address, headers, bytes_max })?;
        if fetched.body.len() > bytes_max {
            return Err(ConnectError::TooMuch { what: "bytes in an answer", max: bytes_max });
        }
        Ok(fetched)
    }

    fn get(
        &mut self,
        address: String,
        known: Option<&str>,
        bytes_max: usize,
    ) -> Result<Fetched, ConnectError> {
        let shown = short(&address).to_owned();
        let fetched = self.ask(address, known, bytes_max)?;
        match fetched.status {
            200 | 304 | 404 | 410 => Ok(fetched),
            300..=399 => {
                let to = fetched.header("location").map(short).unwrap_or_default();
                Err(ConnectError::Elsewhere { why: format!("`{shown}` redirects to `{to}`") })
            }
            status => Err(ConnectError::away(format!("`{shown}` answers {status}"))),
        }
    }

    fn mapped(&mut self) -> Result<Vec<String>, ConnectError> {
        let Some(map) = self.map.clone() else { return Ok(Vec::new()) };
        let address = format!("{}{}", self.base, self.path(&map)?);
        let fetched = self.get(address, None, MAP_BYTES_MAX)?;
        if fetched.status != 200 {
            return Err(ConnectError::away("the list of pages is not there"));
        }
        let text = String::from_utf8_lossy(&fetched.body);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.take(DOCUMENTS_MAX + 1).map(str::to_owned).collect())
    }
}

/// As much of an address as a message shows: without what may be secret in it.
pub(super) fn short(address: &str) -> &str {
    let end = address.find(['?', '#']).unwrap_or(address.len()).min(200);
    address.get(..address.floor_char_boundary(end)).unwrap_or_default()
}

impl Connector for Http {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let mut pages = self.pages.clone();
        pages.extend(self.mapped()?);
        if self.following.is_some() {
            pages = pages.iter().map(|page| self.in_one_form(page)).collect();
        }
        let mut paths: Vec<String> =
            pages.iter().map(|page| self.path(page)).collect::<Result<_, _>>()?;
        paths.sort();
        paths.dedup();
        if paths.len() > DOCUMENTS_MAX {
            return Err(ConnectError::TooMuch { what: "documents", max: DOCUMENTS_MAX });
        }
        let (disguised, paths): (Vec<String>, Vec<String>) =
            paths.into_iter().partition(|path| is_disguised(&self.address(path)));
        let skipped = disguised.iter().map(|path| (short(path).to_owned(), DISGUISED.to_owned()));
        let skipped = skipped.collect();
        if let Some(mut following) = self.following.take() {
            let listing = self.follow(&mut following, &paths);
            self.following = Some(following);
            let mut listing = listing?;
            listing.skipped.extend::<Vec<_>>(skipped);
            return Ok(listing);
        }
        let entry =
            |path: String| Entry { link: Some(self.address(&path)), id: path, ..Entry::default() };
        let entries = paths.into_iter().map(entry).collect();
        Ok(Listing { entries, is_whole: true, skipped, ..Listing::default() })
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        let found = self.following.as_mut().and_then(|following| following.take(&entry.id));
        let fetched = match found {
            Some(found) => return found.map(|fetched| content(fetched, known)),
            None => self.get(self.address(&entry.id), known, DOCUMENT_BYTES_MAX)?,
        };
        match fetched.status {
            304 if known.is_some() => Ok(Content::Same),
            404 | 410 => Ok(Content::Gone),
            200 => Ok(content(fetched, None)),
            status => Err(ConnectError::away(format!("answered {status} to a first visit"))),
        }
    }
}

impl Http {
    pub(super) fn address(&self, path: &str) -> String {
        let path = if path == "index" { "" } else { path };
        format!("{}{path}", self.base)
    }
}

/// A date as HTTP has them.
pub(super) fn moment(text: &str) -> Option<Micros> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Micros(date.timestamp().as_microsecond()))
}
