//! Pages that lead to one another: followed from those that are named, on one server, beneath
//! declared places, as far as is declared.
//!
//! What a page leads to is found by whoever reads pages in a confined process; here is where the
//! way goes on. A server that fails is not a server that has less: a page that is not to be had
//! stays, and with it whatever only it would lead to.

use super::address::{is_disguised, path_of, resolved};
use super::http::{DISGUISED, Fetched, short};
use super::robots::Robots;
use super::{ConnectError, Content, Entry, Http, Listing};
use crate::format::{DOCUMENT_BYTES_MAX, Links, has_word};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Bytes of pages that are kept from when they are followed until they are read. Those beyond are
/// fetched twice.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Pages in a row that are not to be had, after which the server is taken to be away.
const AWAY_MAX: u32 = 20;
/// How long following may take.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(1800);
/// Addresses that are asked for, for each page that there may be: some lead to nothing.
const ASKED_PER_PAGE_MAX: usize = 4;
/// Addresses that wait to be looked at: of more, the first.
const WAITING_MAX: usize = 100_000;

/// How far links are followed.
#[derive(Clone, Debug)]
pub struct Follow {
    /// What the addresses begin with that are followed.
    pub beneath: Vec<String>,
    /// How many links in a row.
    pub depth_max: u32,
    /// How many pages, those that are named among them.
    pub pages_max: usize,
}

/// Who says what a page leads to.
pub trait FindLinks {
    /// The links of a page. None, if it is nothing that has links, or cannot be read.
    ///
    /// # Errors
    ///
    /// If nobody can say now.
    fn links(&mut self, media_type: Option<&str>, page: &[u8]) -> Result<Links, ConnectError>;
}

/// Pages that were followed and not read yet.
pub(super) struct Following {
    follow: Follow,
    links: Box<dyn FindLinks + Send>,
    found: BTreeMap<String, Result<Fetched, ConnectError>>,
    kept_bytes: usize,
}

/// Where it has come so far.
struct Way {
    robots: Robots,
    waiting: VecDeque<(String, u32)>,
    seen: BTreeSet<String>,
    /// What pages are called by.
    ids: BTreeSet<String>,
    listing: Listing,
    asked: usize,
    /// Pages in a row that were not to be had.
    away: u32,
    begun: Instant,
}

impl Following {
    pub(super) const fn new(follow: Follow, links: Box<dyn FindLinks + Send>) -> Self {
        Self { follow, links, found: BTreeMap::new(), kept_bytes: 0 }
    }

    /// What was found of a page.
    pub(super) fn take(&mut self, id: &str) -> Option<Result<Fetched, ConnectError>> {
        self.found.remove(id)
    }

    /// How many pages there may be, and how many may be asked for.
    fn bounds(&self) -> (usize, usize) {
        let max = self.follow.pages_max;
        (max, max.saturating_mul(ASKED_PER_PAGE_MAX))
    }

    fn is_beneath(&self, address: &str) -> bool {
        self.follow.beneath.iter().any(|place| address.starts_with(place))
    }

    fn keep(&mut self, id: String, fetched: Fetched) {
        let size = fetched.body.len();
        if self.kept_bytes.saturating_add(size) <= KEPT_BYTES_MAX {
            self.kept_bytes = self.kept_bytes.saturating_add(size);
            self.found.insert(id, Ok(fetched));
        }
    }
}

impl Http {
    /// Follows from the pages that are named, and lists what there is.
    pub(super) fn follow(
        &mut self,
        following: &mut Following,
        named: &[String],
    ) -> Result<Listing, ConnectError> {
        (following.found, following.kept_bytes) = (BTreeMap::new(), 0);
        let mut way = Way {
            robots: self.robots()?,
            waiting: VecDeque::new(),
            seen: BTreeSet::new(),
            ids: BTreeSet::new(),
            asked: 0,
            listing: Listing { is_whole: true, ..Listing::default() },
            away: 0,
            begun: Instant::now(),
        };
        for page in named {
            way.wait(self.address(page), 0);
        }
        while let Some((address, depth)) = way.waiting.pop_front() {
            if way.begun.elapsed() > FOLLOWED_WITHIN {
                let minutes = FOLLOWED_WITHIN.as_secs() / 60;
                return Err(ConnectError::away(format!("following took over {minutes} minutes")));
            }
            let (max, asked_max) = following.bounds();
            if way.listing.entries.len() >= max || way.asked >= asked_max {
                let why = format!("`pages_max` is {max}: it is not followed further");
                way.listing.skipped.push((short(&address).to_owned(), why));
                break;
            }
            self.step(following, &mut way, (address, depth))?;
        }
        let Way { mut listing, .. } = way;
        listing.entries.sort_by(|one, two| one.id.cmp(&two.id));
        listing.gone.sort();
        Ok(listing)
    }

    /// Fetches one page, and notes where it leads.
    fn step(
        &mut self,
        following: &mut Following,
        way: &mut Way,
        (address, depth): (String, u32),
    ) -> Result<(), ConnectError> {
        let skip = |way: &mut Way, why: &str| {
            way.listing.skipped.push((short(&address).to_owned(), why.to_owned()));
            Ok(())
        };
        if is_disguised(&address) {
            return skip(way, DISGUISED);
        }
        let Ok(id) = self.path(&address) else { return skip(way, "its address is no name") };
        if !way.ids.insert(id.clone()) {
            return skip(way, "another page has its name");
        }
        if !way.robots.may(&path_of(&address)) {
            way.listing.gone.push(id);
            return skip(way, "`robots.txt` asks not to fetch it");
        }
        let entry = Entry { link: Some(address.clone()), id: id.clone(), ..Entry::default() };
        way.asked = way.asked.saturating_add(1);
        let fetched = match self.ask(address.clone(), None, DOCUMENT_BYTES_MAX) {
            Ok(fetched) => fetched,
            Err(error) => return way.failed(following, entry, error),
        };
        match fetched.status {
            200 => {}
            404 | 410 => {
                way.listing.gone.push(id);
                return Ok(());
            }
            300..=399 => return self.redirected(following, way, (entry, depth), &fetched),
            status => {
                let error = ConnectError::away(format!("`{}` answers {status}", short(&address)));
                return way.failed(following, entry, error);
            }
        }
        way.away = 0;
        if depth < following.follow.depth_max && !asks_not_to(&fetched) {
            match following.links.links(fetched.header("content-type"), &fetched.body) {
                Ok(links) => way.lead(following, (&address, depth), &links),
                // What it leads to is not known now.
                Err(_) => way.listing.is_whole = false,
            }
        }
        following.keep(id, fetched);
        way.listing.entries.push(entry);
        Ok(())
    }

    /// A page that is somewhere else is no page; where it is now, it is followed to like a link.
    /// Elsewhere for a while only: it is not to be had now.
    fn redirected(
        &self,
        following: &mut Following,
        way: &mut Way,
        (entry, depth): (Entry, u32),
        fetched: &Fetched,
    ) -> Result<(), ConnectError> {
        let address = self.address(&entry.id);
        let to = fetched.header("location").and_then(|to| resolved(&address, None, to));
        let to = to.filter(|to| following.is_beneath(to));
        let is_lasting = matches!(fetched.status, 301 | 308);
        let Some(to) = to else {
            let why = format!("`{}` redirects elsewhere", short(&address));
            if is_lasting {
                way.listing.gone.push(entry.id);
                way.listing.skipped.push((short(&address).to_owned(), why));
                return Ok(());
            }
            return way.failed(following, entry, ConnectError::away(why));
        };
        way.away = 0;
        way.listing.gone.push(entry.id);
        if depth < following.follow.depth_max {
            way.wait(to, depth.saturating_add(1));
        }
        let why = "it redirects to another page".to_owned();
        way.listing.skipped.push((short(&address).to_owned(), why));
        Ok(())
    }

    /// What the server asks programs not to fetch. One that does not say so now may not be asked
    /// anything else (RFC 9309, 2.3.1.4).
    fn robots(&mut self) -> Result<Robots, ConnectError> {
        let address = resolved(&self.address("index"), None, "/robots.txt");
        let address = address.ok_or_else(|| ConnectError::away("its server has no address"))?;
        let fetched = self.ask(address, None, super::robots::ROBOTS_BYTES_MAX)?;
        match fetched.status {
            200 => Ok(Robots::read(&String::from_utf8_lossy(&fetched.body))),
            400..=428 | 430..=499 => Ok(Robots::default()),
            status => Err(ConnectError::away(format!("`/robots.txt` answers {status}"))),
        }
    }
}

impl Way {
    /// Notes an address, if it was not noted before.
    fn wait(&mut self, address: String, depth: u32) {
        if self.seen.len() < WAITING_MAX && self.seen.insert(address.clone()) {
            self.waiting.push_back((address, depth));
        }
    }

    /// Notes where a page leads, as far as that is followed.
    fn lead(&mut self, following: &Following, (from, depth): (&str, u32), links: &Links) {
        for link in &links.addresses {
            let to = resolved(from, links.base.as_deref(), link);
            if let Some(to) = to.filter(|to| following.is_beneath(to)) {
                self.wait(to, depth.saturating_add(1));
            }
        }
    }

    /// A page that is not to be had stays as it was; if that may be otherwise later, so does what
    /// only it would lead to.
    fn failed(
        &mut self,
        following: &mut Following,
        entry: Entry,
        error: ConnectError,
    ) -> Result<(), ConnectError> {
        if matches!(error, ConnectError::Away { .. }) {
            self.listing.is_whole = false;
            self.away = self.away.saturating_add(1);
            if self.away > AWAY_MAX {
                return Err(error);
            }
        }
        following.found.insert(entry.id.clone(), Err(error));
        self.listing.entries.push(entry);
        Ok(())
    }
}

/// Whether a page asks in its head that none of its links is followed.
fn asks_not_to(fetched: &Fetched) -> bool {
    fetched.header("x-robots-tag").is_some_and(|words| has_word(words, &["nofollow", "none"]))
}

/// What a page that was fetched holds.
pub(super) fn content(fetched: Fetched, known: Option<&str>) -> Content {
    let version = match (fetched.header("etag"), fetched.header("last-modified")) {
        (Some(etag), _) => Some(format!("etag {etag}")),
        (None, Some(date)) => Some(format!("date {date}")),
        (None, None) => None,
    };
    if version.is_some() && version.as_deref() == known {
        return Content::Same;
    }
    let changed = fetched.header("last-modified").and_then(super::http::moment);
    let media_type = fetched.header("content-type").map(str::to_owned);
    Content::Bytes { media_type, version, changed, bytes: fetched.body }
}
