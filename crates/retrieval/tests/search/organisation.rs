//! A random organisation, and an oracle that decides each of its documents alone.
//!
//! The oracle knows what was said of each place and walks up from a document by itself: it shares
//! no code with the index, nor with the store. Also driven by `examples/leaks.rs`.

use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{
    Access, Corpus, Draft, Incoming, Listing, Options, Permissions, SourceOf,
};
use lockgate_retrieval::embed::Hashed;
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Answer, Query, Stemming, Within};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const NOW: Micros = Micros(1_800_000_000_000_000);
const USERS: usize = 12;
const GROUPS: usize = 8;
const FOLDERS: usize = 20;
const WORDS: usize = 40;
const LEVELS: [Confidentiality; 4] = [
    Confidentiality::Public,
    Confidentiality::Internal,
    Confidentiality::Confidential,
    Confidentiality::Restricted,
];
const SOURCES: [(&str, Access); 2] = [("wiki", Access::Synced), ("files", Access::Declared)];

/// Numbers that look random, the same for one seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A document, as the oracle knows it.
#[derive(Clone)]
struct Page {
    source: usize,
    folders: Vec<String>,
    words: BTreeSet<usize>,
    level: Confidentiality,
}

type Place = (usize, String);

pub(crate) struct Organisation {
    pub(crate) corpus: Corpus,
    dice: Dice,
    /// In which groups each group lies directly; of a higher number only.
    groups: Vec<BTreeSet<usize>>,
    /// In which groups each user is directly.
    members: Vec<BTreeSet<usize>>,
    clearances: Vec<Confidentiality>,
    /// Chains of folders.
    folders: Vec<Vec<String>>,
    pages: BTreeMap<String, Page>,
    told: BTreeMap<(Layer, Place), Permissions>,
    next: usize,
}

impl Organisation {
    /// One whose documents are in a file.
    pub(crate) fn new(directory: &Path, seed: u64, pages: usize) -> Self {
        let corpus = Corpus::open(directory, Self::options(), &mut |_| {}).unwrap();
        Self::with(corpus, seed, pages)
    }

    pub(crate) fn options() -> Options {
        Options { embedder: Arc::new(Hashed), stemming: Stemming::Plain }
    }

    pub(crate) fn with(corpus: Corpus, seed: u64, pages: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut some = |from: usize, percent| -> BTreeSet<usize> {
            (from..GROUPS).filter(|_| dice.percent(percent)).collect()
        };
        let groups = (0..GROUPS).map(|group| some(group + 1, 20)).collect();
        let members = (0..USERS).map(|_| some(0, 15)).collect();
        let clearances = (0..USERS).map(|_| LEVELS[1 + dice.below(3)]).collect();
        let mut folders: Vec<Vec<String>> = vec![Vec::new()];
        for folder in 0..FOLDERS {
            let mut chain = folders[dice.below(folders.len())].clone();
            chain.push(format!("{}/f{folder}", chain.last().map_or("", String::as_str)));
            folders.push(chain);
        }
        let (pages_known, told) = (BTreeMap::new(), BTreeMap::new());
        let mut organisation = Self {
            corpus,
            dice,
            groups,
            members,
            clearances,
            folders,
            pages: pages_known,
            told,
            next: 0,
        };
        for source in 0..SOURCES.len() {
            organisation.publish(source, pages / SOURCES.len());
            let places: Vec<String> = organisation.folders.iter().flatten().cloned().collect();
            for place in places {
                organisation.permit(source, Layer::Synced, place);
            }
        }
        organisation
    }

    /// Something changes: a permission, or what a source has.
    pub(crate) fn change(&mut self) {
        let source = self.dice.below(SOURCES.len());
        if self.dice.percent(15) {
            let count = 1 + self.dice.below(6);
            return self.publish(source, count);
        }
        let of_source: Vec<&String> =
            self.pages.iter().filter(|(_, page)| page.source == source).map(|(id, _)| id).collect();
        let chain = &self.folders[self.dice.below(self.folders.len())];
        let place = match chain.last() {
            Some(folder) if self.dice.percent(60) => folder.clone(),
            _ if of_source.is_empty() => return,
            _ => of_source[self.dice.below(of_source.len())].clone(),
        };
        let layer = if self.dice.percent(60) { Layer::Synced } else { Layer::Declared };
        self.permit(source, layer, place);
    }

    /// Compares what everybody finds with what the oracle says. Gives back how many pairs of a user
    /// and a document were compared.
    pub(crate) fn check(&mut self) -> u64 {
        let mut pairs = 0;
        for user in 0..USERS {
            let permitted: BTreeSet<String> =
                self.pages.keys().filter(|id| self.may(user, id)).cloned().collect();
            let filter = self.filter(user);
            let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
            let mut decide = |facts: &DocumentFacts| self.decide(user, facts);
            let counts = self.corpus.count_by_tag(&within, 0, &mut decide).unwrap();
            let counted: BTreeSet<String> = counts.by_tag.into_keys().collect();
            assert_eq!(counted, permitted, "user {user}");
            pairs += self.pages.len() as u64;
            for _ in 0..2 {
                let word = self.dice.below(WORDS);
                let with_filter = self.dice.percent(80);
                pairs += self.search(user, word, with_filter.then_some(&filter), &permitted);
            }
        }
        assert_eq!(self.corpus.disagreements(), 0);
        pairs
    }

    fn search(
        &self,
        user: usize,
        word: usize,
        filter: Option<&Filter>,
        permitted: &BTreeSet<String>,
    ) -> u64 {
        let within = Within { tenant: "acme", sources: None, filter };
        let text = format!("w{word}");
        let query = Query { text: &text, vector: None, within, top: 50 };
        let mut decide = |facts: &DocumentFacts| self.decide(user, facts);
        let Answer { hits, disagreements, .. } = self.corpus.search(&query, &mut decide).unwrap();
        assert_eq!(disagreements, 0);
        let mut found = BTreeSet::new();
        let mut pairs = 0;
        for hit in hits {
            let id = hit.provenance.document.id;
            assert!(permitted.contains(&id), "user {user} finds {id}");
            assert_eq!(hit.provenance.title, format!("Title of {id}"));
            let joined = hit.fields.iter().chain(&hit.field_of);
            for joined in joined.map(|joined| &joined.document.id) {
                assert!(permitted.contains(joined), "user {user} finds {joined} beside {id}");
                pairs += 1;
            }
            found.insert(id);
            pairs += 1;
        }
        let having = permitted.iter().filter(|id| self.pages[*id].words.contains(&word));
        let having: BTreeSet<String> = having.cloned().collect();
        assert!(having.len() > 25 || having.is_subset(&found), "user {user} does not find all");
        pairs
    }

    /// Whether a user may see a document: the oracle.
    fn may(&self, user: usize, id: &str) -> bool {
        let page = &self.pages[id];
        let readers = self.readers(user);
        let is_among = |set: &BTreeSet<Reader>| set.iter().any(|reader| readers.contains(reader));
        let access = SOURCES[page.source].1;
        let (mut is_shared, mut is_denied, mut is_known) = (false, false, true);
        let mut layers = vec![Layer::Synced, Layer::Declared];
        let mut places: Vec<&str> = page.folders.iter().map(String::as_str).collect();
        places.push(id);
        while let Some(place) = places.pop() {
            for layer in layers.clone() {
                let said = self.told.get(&(layer, (page.source, place.to_owned())));
                match said.unwrap_or(&Permissions::Unknown) {
                    Permissions::Unknown if layer == Layer::Synced => {
                        is_known &= access == Access::Declared;
                    }
                    Permissions::Unknown => {}
                    Permissions::Inherits { shares, denials }
                    | Permissions::Alone { shares, denials } => {
                        is_shared |= is_among(shares);
                        is_denied |= is_among(denials);
                    }
                }
                let is_alone = matches!(said, Some(Permissions::Alone { .. }));
                if is_alone && layer == Layer::Synced {
                    layers.retain(|layer| *layer != Layer::Synced);
                }
            }
        }
        is_known && is_shared && !is_denied && page.level <= self.clearances[user]
    }

    /// A user, and the groups that they are in, by whatever way.
    fn readers(&self, user: usize) -> BTreeSet<Reader> {
        let mut groups = self.members[user].clone();
        for group in 0..GROUPS {
            if groups.contains(&group) {
                groups.extend(&self.groups[group]);
            }
        }
        let named = groups.iter().map(|group| Reader::Group(format!("g{group}")));
        named.chain([Reader::Everyone, Reader::User(format!("u{user}"))]).collect()
    }

    fn filter(&self, user: usize) -> Filter {
        let readers = self.readers(user);
        let each = |of: fn(Reader) -> Trait| {
            Filter::Any(readers.iter().cloned().map(|reader| Filter::Is(of(reader))).collect())
        };
        Filter::Every(vec![
            each(Trait::Reader),
            Filter::Not(Box::new(each(Trait::Denied))),
            Filter::Is(Trait::AtMost(self.clearances[user])),
        ])
    }

    fn decide(&self, user: usize, facts: &DocumentFacts) -> bool {
        let is_among =
            |set: &BTreeSet<Reader>| self.readers(user).iter().any(|reader| set.contains(reader));
        facts.readers.as_ref().is_some_and(is_among)
            && !is_among(&facts.denied)
            && facts.classification <= self.clearances[user]
    }

    fn some_readers(&mut self) -> BTreeSet<Reader> {
        let count = [0, 1, 1, 2, 3][self.dice.below(5)];
        let one = |dice: &mut Dice| match dice.below(8) {
            0 => Reader::Everyone,
            1..=3 => Reader::User(format!("u{}", dice.below(USERS))),
            _ => Reader::Group(format!("g{}", dice.below(GROUPS))),
        };
        (0..count).map(|_| one(&mut self.dice)).collect()
    }

    fn permissions(&mut self) -> Permissions {
        let shares = self.some_readers();
        let denials = if self.dice.percent(30) { self.some_readers() } else { BTreeSet::new() };
        match self.dice.below(12) {
            0 => Permissions::Unknown,
            1..=2 => Permissions::Alone { shares, denials },
            _ => Permissions::Inherits { shares, denials },
        }
    }

    fn permit(&mut self, source: usize, layer: Layer, place: String) {
        let permissions = self.permissions();
        let change = [(place.clone(), permissions.clone())];
        self.corpus.permit(SOURCES[source].0, layer, &change).unwrap();
        self.told.insert((layer, (source, place)), permissions);
    }

    /// A snapshot with documents that are new, changed, moved and gone. While it is made, nobody
    /// finds what they might not see before, or will not see after it.
    fn publish(&mut self, source: usize, count: usize) {
        let (name, access) = SOURCES[source];
        let of = SourceOf { name: name.to_owned(), tenant: "acme".to_owned(), access };
        let mut draft = self.corpus.begin(&of, Listing::Changes, NOW).unwrap();
        let (before, before_told) = (self.pages.clone(), self.told.clone());
        let mut said = BTreeSet::new();
        for _ in 0..count {
            self.put_one(source, &mut draft, &mut said);
        }
        draft.flush().unwrap();
        let after = (std::mem::replace(&mut self.pages, before), self.told.clone());
        let old = self.permitted_pairs();
        self.told = before_told;
        let older = self.permitted_pairs();
        for (user, id) in self.found_pairs() {
            let pair = (user, id);
            assert!(old.contains(&pair) && older.contains(&pair), "{pair:?} while a draft is made");
        }
        draft.publish("", NOW).unwrap();
        (self.pages, self.told) = after;
    }

    fn permitted_pairs(&self) -> BTreeSet<(usize, String)> {
        let of = |user| self.pages.keys().map(move |id| (user, id.clone()));
        (0..USERS).flat_map(of).filter(|(user, id)| self.may(*user, id)).collect()
    }

    fn found_pairs(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for user in 0..USERS {
            let filter = self.filter(user);
            let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
            let mut decide = |facts: &DocumentFacts| self.decide(user, facts);
            let counts = self.corpus.count_by_tag(&within, 0, &mut decide).unwrap();
            found.extend(counts.by_tag.into_keys().map(|id| (user, id)));
        }
        found
    }

    fn put_one(&mut self, source: usize, draft: &mut Draft, said: &mut BTreeSet<String>) {
        let of_source: Vec<String> = self
            .pages
            .iter()
            .filter(|(_, page)| page.source == source)
            .map(|(id, _)| id.clone())
            .collect();
        let is_known = !of_source.is_empty() && self.dice.percent(50);
        if is_known && self.dice.percent(30) {
            let id = &of_source[self.dice.below(of_source.len())];
            if said.insert(id.clone()) {
                draft.remove(id).unwrap();
                self.pages.remove(id);
            }
            return;
        }
        let id = match is_known {
            true => of_source[self.dice.below(of_source.len())].clone(),
            false => self.new_id(&of_source),
        };
        if !said.insert(id.clone()) {
            return;
        }
        let folders = match id.split_once('#') {
            Some((around, _)) => {
                let mut folders =
                    self.pages.get(around).map(|page| page.folders.clone()).unwrap_or_default();
                folders.push(around.to_owned());
                folders
            }
            None => self.folders[self.dice.below(self.folders.len())].clone(),
        };
        let words = (0..6).map(|_| self.dice.below(WORDS)).collect();
        let page = Page { source, folders, words, level: LEVELS[self.dice.below(4)] };
        let permissions = (!is_known || self.dice.percent(50)).then(|| self.permissions());
        draft.put(incoming(&id, &page, permissions.clone())).unwrap();
        if let Some(permissions) = permissions {
            self.told.insert((Layer::Synced, (source, id.clone())), permissions);
        }
        self.pages.insert(id, page);
    }

    fn new_id(&mut self, of_source: &[String]) -> String {
        self.next += 1;
        let around: Vec<&String> = of_source.iter().filter(|id| !id.contains('#')).collect();
        match !around.is_empty() && self.dice.percent(25) {
            true => format!("{}#{}", around[self.dice.below(around.len())], self.next),
            false => format!("d{}", self.next),
        }
    }
}

fn incoming(id: &str, page: &Page, permissions: Option<Permissions>) -> Incoming {
    let words: Vec<String> = page.words.iter().map(|word| format!("w{word}")).collect();
    let text = words.join(" ");
    Incoming {
        facts: DocumentFacts {
            id: id.to_owned(),
            source: String::new(),
            tenant: String::new(),
            folders: page.folders.clone(),
            kind: "page".to_owned(),
            owner: None,
            curation: Curation::Curated,
            classification: page.level,
            // Its own name: so that who counts documents by tag sees which they are.
            tags: BTreeSet::from([id.to_owned()]),
            readers: None,
            denied: BTreeSet::new(),
            changed: NOW,
            confirmed: NOW,
        },
        permissions,
        title: format!("Title of {id}"),
        author: None,
        made: None,
        link: None,
        pieces: vec![(0, text.len())],
        fingerprint: Digest::of(text.as_bytes()),
        text,
    }
}
