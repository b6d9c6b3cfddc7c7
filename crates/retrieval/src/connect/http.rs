//! Pages of an HTTP server: those that are named, and those of a list that the server keeps (a
//! site map in plain text: one address a line).
//!
//! Who fetches is given by the caller, so that the rules for everything that leaves the gate hold
//! here as well. No redirect is followed and no link: a page does not say what is read next.

use super::{ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, Listing, is_place};
use crate::format::DOCUMENT_BYTES_MAX;
use lockgate_types::Micros;

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
    fn header(&self, name: &str) -> Option<&str> {
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
        Self { base: format!("{base}{slash}"), pages, map, fetch }
    }

    /// The path beneath the base. A page elsewhere is refused, not left out: somebody wants the
    /// gate to go there.
    fn path(&self, page: &str) -> Result<String, ConnectError> {
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

    fn get(
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
        let shown = short(&address).to_owned();
        let fetched = self.fetch.fetch(&Request { address, headers, bytes_max })?;
        if fetched.body.len() > bytes_max {
            return Err(ConnectError::TooMuch { what: "bytes in an answer", max: bytes_max });
        }
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
fn short(address: &str) -> &str {
    let end = address.find(['?', '#']).unwrap_or(address.len()).min(200);
    address.get(..address.floor_char_boundary(end)).unwrap_or_default()
}

impl Connector for Http {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let mut pages = self.pages.clone();
        pages.extend(self.mapped()?);
        let mut paths: Vec<String> =
            pages.iter().map(|page| self.path(page)).collect::<Result<_, _>>()?;
        paths.sort();
        paths.dedup();
        if paths.len() > DOCUMENTS_MAX {
            return Err(ConnectError::TooMuch { what: "documents", max: DOCUMENTS_MAX });
        }
        let entry =
            |path: String| Entry { link: Some(self.address(&path)), id: path, ..Entry::default() };
        let entries = paths.into_iter().map(entry).collect();
        Ok(Listing { entries, is_whole: true, ..Listing::default() })
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        let address = self.address(&entry.id);
        let fetched = self.get(address, known, DOCUMENT_BYTES_MAX)?;
        match fetched.status {
            304 if known.is_some() => return Ok(Content::Same),
            404 | 410 => return Ok(Content::Gone),
            200 => {}
            status => {
                return Err(ConnectError::away(format!("answered {status} to a first visit")));
            }
        }
        let version = match (fetched.header("etag"), fetched.header("last-modified")) {
            (Some(etag), _) => Some(format!("etag {etag}")),
            (None, Some(date)) => Some(format!("date {date}")),
            (None, None) => None,
        };
        let changed = fetched.header("last-modified").and_then(moment);
        let media_type = fetched.header("content-type").map(str::to_owned);
        Ok(Content::Bytes { media_type, version, changed, bytes: fetched.body })
    }
}

impl Http {
    fn address(&self, path: &str) -> String {
        let path = if path == "index" { "" } else { path };
        format!("{}{path}", self.base)
    }
}

/// A date as HTTP has them.
fn moment(text: &str) -> Option<Micros> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Micros(date.timestamp().as_microsecond()))
}
