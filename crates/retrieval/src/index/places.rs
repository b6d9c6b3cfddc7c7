//! Who may see what, as sets of documents: kept current as permissions change.
//!
//! Of each folder there is the set of all documents beneath it, so that to share a folder is to
//! write down one number, however much is in it. Documents with the same folders share a *chain*.
//! What a source says of a folder reaches down a chain until a place that stands alone.

use super::key::Key;
use crate::corpus::{Access, Permissions};
use crate::relation::{Layer, parts};
use lockgate_types::document::Reader;
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};

/// What one document is in the places that it lies in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lying<'a> {
    pub(crate) slot: u32,
    pub(crate) source: i64,
    pub(crate) access: Access,
    pub(crate) id: &'a str,
    pub(crate) folders: &'a [String],
}

/// All places of an index.
#[derive(Debug, Default)]
pub(crate) struct Places {
    folders: Vec<Folder>,
    folder_numbers: HashMap<Key, u32>,
    chains: Vec<Chain>,
    chain_numbers: HashMap<Vec<u32>, u32>,
    /// The documents, by what they are called: of one, several versions.
    by_place: BTreeSet<(Key, u32)>,
    granted: HashMap<(Layer, Grant, Reader), Granted>,
    /// Documents of which themselves is known whom they are shared to.
    told: RoaringBitmap,
    /// Documents that stand alone.
    alone: RoaringBitmap,
    /// Documents of which a folder that has a say is not known.
    unknown: RoaringBitmap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Grant {
    Share,
    Denial,
}

/// To one reader.
#[derive(Debug, Default)]
struct Granted {
    documents: RoaringBitmap,
    folders: BTreeSet<u32>,
}

#[derive(Debug)]
struct Folder {
    /// All that lies in it.
    beneath: RoaringBitmap,
    /// Those for which counts what its source says of it.
    reached: RoaringBitmap,
    chains: Vec<u32>,
    access: Access,
    /// Whether it stands alone. `None`: nothing was told of it.
    told: Option<bool>,
}

#[derive(Debug)]
struct Chain {
    folders: Vec<u32>,
    documents: RoaringBitmap,
    /// How many of its folders have a say, from the innermost.
    reach: usize,
    is_known: bool,
}

impl Places {
    /// Adds a document. Gives back the folders that are new: what was told of them, and of the
    /// document itself, has to be [told](Self::tell).
    pub(crate) fn add<'a>(&mut self, lying: Lying<'a>) -> Vec<&'a str> {
        let mut new = Vec::new();
        let mut numbers = Vec::with_capacity(lying.folders.len());
        for path in lying.folders {
            let key = Key::within(lying.source, path);
            let number = self.folder_numbers.get(&key).copied().unwrap_or_else(|| {
                new.push(path.as_str());
                let number = u32::try_from(self.folders.len()).unwrap_or(u32::MAX);
                self.folder_numbers.insert(key, number);
                self.folders.push(Folder::new(lying.access));
                number
            });
            numbers.push(number);
        }
        self.by_place.insert((Key::within(lying.source, lying.id), lying.slot));
        if lying.access == Access::Declared {
            self.told.insert(lying.slot);
        }
        let chain = self.chain(numbers);
        self.hang(chain, lying.slot);
        new
    }

    /// How many folders there are.
    pub(crate) fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Puts what is told of a place in the place of what was.
    pub(crate) fn tell(
        &mut self,
        (source, access): (i64, Access),
        place: &str,
        layer: Layer,
        old: &Permissions,
        new: &Permissions,
    ) {
        let key = Key::within(source, place);
        let documents = self.by_key(key);
        let folder = self.folder_numbers.get(&key).copied();
        if documents.is_empty() && folder.is_none() {
            return;
        }
        self.each_grant(layer, old, |granted| {
            granted.documents -= &documents;
            folder.map(|folder| granted.folders.remove(&folder));
        });
        self.each_grant(layer, new, |granted| {
            granted.documents |= &documents;
            granted.folders.extend(folder);
        });
        self.granted.retain(|_, granted| !granted.is_empty());
        if layer == Layer::Synced {
            let stands = parts(new).map(|(alone, ..)| alone);
            self.stand(&documents, access, stands);
            folder.into_iter().for_each(|folder| self.stand_folder(folder, stands));
        }
    }

    /// The documents that are shared to a reader, by themselves or by a folder.
    pub(crate) fn shared_to(&self, reader: &Reader) -> RoaringBitmap {
        self.granted(Grant::Share, reader) & self.known()
    }

    /// The documents that are kept from a reader.
    pub(crate) fn kept_from(&self, reader: &Reader) -> RoaringBitmap {
        self.granted(Grant::Denial, reader)
    }

    /// The documents of which is known whom they are shared to.
    pub(crate) fn known(&self) -> RoaringBitmap {
        &self.told - (&self.unknown - &self.alone)
    }

    /// The documents that are called so: versions of one.
    pub(crate) fn of_place(&self, source: i64, place: &str) -> RoaringBitmap {
        self.by_key(Key::within(source, place))
    }

    /// Whether anything is called so, or lies in what is called so.
    pub(crate) fn is_known(&self, source: i64, place: &str) -> bool {
        let key = Key::within(source, place);
        self.folder_numbers.contains_key(&key) || !self.by_key(key).is_empty()
    }

    /// The documents that lie in that folder.
    pub(crate) fn beneath(&self, source: i64, place: &str) -> Option<&RoaringBitmap> {
        let number = self.folder_numbers.get(&Key::within(source, place))?;
        self.folders.get(*number as usize).map(|folder| &folder.beneath)
    }

    /// Leaves out the documents that `place` has no new number for.
    pub(crate) fn renumber(&mut self, place: &[u32]) {
        let renumber = |documents: &mut RoaringBitmap| super::renumber(documents, place);
        let new = |slot: &u32| place.get(*slot as usize).copied().filter(|new| *new != u32::MAX);
        self.by_place =
            self.by_place.iter().filter_map(|(key, slot)| Some((*key, new(slot)?))).collect();
        [&mut self.told, &mut self.alone, &mut self.unknown].into_iter().for_each(renumber);
        for folder in &mut self.folders {
            renumber(&mut folder.beneath);
            renumber(&mut folder.reached);
        }
        self.chains.iter_mut().for_each(|chain| renumber(&mut chain.documents));
        self.granted.values_mut().for_each(|granted| renumber(&mut granted.documents));
        self.granted.retain(|_, granted| !granted.is_empty());
    }

    fn by_key(&self, key: Key) -> RoaringBitmap {
        self.by_place.range((key, 0)..=(key, u32::MAX)).map(|(_, slot)| *slot).collect()
    }

    fn granted(&self, grant: Grant, reader: &Reader) -> RoaringBitmap {
        let of = |layer| self.granted.get(&(layer, grant, reader.clone()));
        let mut all = RoaringBitmap::new();
        if let Some(synced) = of(Layer::Synced) {
            for folder in synced.folders.iter().filter_map(|at| self.folders.get(*at as usize)) {
                all |= &folder.reached;
            }
            all -= &self.alone;
            all |= &synced.documents;
        }
        if let Some(declared) = of(Layer::Declared) {
            for folder in declared.folders.iter().filter_map(|at| self.folders.get(*at as usize)) {
                all |= &folder.beneath;
            }
            all |= &declared.documents;
        }
        all
    }

    fn each_grant(
        &mut self,
        layer: Layer,
        permissions: &Permissions,
        mut change: impl FnMut(&mut Granted),
    ) {
        let Some((_, shares, denials)) = parts(permissions) else { return };
        for (grant, readers) in [(Grant::Share, shares), (Grant::Denial, denials)] {
            for reader in readers {
                change(self.granted.entry((layer, grant, reader.clone())).or_default());
            }
        }
    }

    /// What is known of documents, by their source.
    fn stand(&mut self, documents: &RoaringBitmap, access: Access, stands: Option<bool>) {
        match stands {
            Some(true) => self.alone |= documents,
            Some(false) | None => self.alone -= documents,
        }
        match (stands, access) {
            (None, Access::Synced) => self.told -= documents,
            (None, Access::Declared) | (Some(_), _) => self.told |= documents,
        }
    }

    fn stand_folder(&mut self, number: u32, stands: Option<bool>) {
        let Some(folder) = self.folders.get_mut(number as usize) else { return };
        if folder.told == stands {
            return;
        }
        folder.told = stands;
        folder.chains.clone().into_iter().for_each(|chain| self.reach(chain));
    }

    fn chain(&mut self, folders: Vec<u32>) -> u32 {
        if let Some(number) = self.chain_numbers.get(&folders) {
            return *number;
        }
        let number = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        for folder in &folders {
            if let Some(folder) = self.folders.get_mut(*folder as usize) {
                folder.chains.push(number);
            }
        }
        self.chain_numbers.insert(folders.clone(), number);
        let documents = RoaringBitmap::new();
        self.chains.push(Chain { folders, documents, reach: 0, is_known: true });
        self.reach(number);
        number
    }

    fn hang(&mut self, chain: u32, slot: u32) {
        let Some(chain) = self.chains.get_mut(chain as usize) else { return };
        chain.documents.insert(slot);
        for (depth, number) in chain.folders.iter().rev().enumerate() {
            let Some(folder) = self.folders.get_mut(*number as usize) else { continue };
            folder.beneath.insert(slot);
            if depth < chain.reach {
                folder.reached.insert(slot);
            }
        }
        if !chain.is_known {
            self.unknown.insert(slot);
        }
    }

    /// Finds out again which folders of a chain have a say, and whether all of them are known.
    fn reach(&mut self, chain: u32) {
        let Some(chain) = self.chains.get_mut(chain as usize) else { return };
        (chain.reach, chain.is_known) = (0, true);
        let mut is_heard = true;
        for number in chain.folders.iter().rev() {
            let Some(folder) = self.folders.get_mut(*number as usize) else { continue };
            if !is_heard {
                folder.reached -= &chain.documents;
                continue;
            }
            folder.reached |= &chain.documents;
            chain.reach += 1;
            chain.is_known &= folder.told.is_some() || folder.access == Access::Declared;
            is_heard = folder.told != Some(true);
        }
        match chain.is_known {
            true => self.unknown -= &chain.documents,
            false => self.unknown |= &chain.documents,
        }
    }
}

impl Folder {
    fn new(access: Access) -> Self {
        let (beneath, reached) = (RoaringBitmap::new(), RoaringBitmap::new());
        Self { beneath, reached, chains: Vec::new(), access, told: None }
    }
}

impl Granted {
    fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.folders.is_empty()
    }
}
