//! A store of snapshots in memory, which fails when it is told to.

use lockgate_retrieval::connect::Permissions;
use lockgate_retrieval::corpus::Incoming;
use lockgate_retrieval::ingest::{Destination, Draft, DraftError, Had};
use lockgate_retrieval::quality::{Verdict, Volume};
use lockgate_types::{Code, Digest, Micros};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A document, and when it was last confirmed.
pub(crate) type Kept = (Incoming, Micros);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What serves.
    pub(crate) served: BTreeMap<String, Kept>,
    pub(crate) permissions: BTreeMap<String, Permissions>,
    pub(crate) reports: Vec<(Verdict, String)>,
    /// What was called, in words.
    pub(crate) calls: Vec<String>,
    /// The call that fails.
    pub(crate) fails_at: Option<usize>,
    snapshot: u64,
    open: Option<Open>,
}

/// What was flushed of a draft: what is left when it is dropped.
#[derive(Clone, Debug, Default)]
struct Open {
    is_whole: bool,
    put: BTreeMap<String, Kept>,
    kept: BTreeMap<String, Micros>,
    removed: BTreeSet<String>,
}

/// A handle on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(pub(crate) Rc<RefCell<State>>);

impl Shelf {
    fn call(&self, what: String) -> Result<(), DraftError> {
        let mut state = self.0.borrow_mut();
        state.calls.push(what);
        if state.fails_at == Some(state.calls.len()) {
            let (code, why) = (Code::IngestStateBroken, "it was told to fail".to_owned());
            return Err(DraftError { code, why });
        }
        Ok(())
    }

    /// The texts that serve.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        let state = self.0.borrow();
        state.served.iter().map(|(id, (it, _))| (id.clone(), it.text.clone())).collect()
    }
}

impl Destination for Shelf {
    fn begin(&mut self, is_whole: bool, _now: Micros) -> Result<Box<dyn Draft>, DraftError> {
        self.call(format!("begin {is_whole}"))?;
        let mut state = self.0.borrow_mut();
        let mut open = state.open.clone().unwrap_or_default();
        open.is_whole = is_whole;
        state.open = Some(open.clone());
        Ok(Box::new(InMemory { shelf: self.clone(), open }))
    }
}

struct InMemory {
    shelf: Shelf,
    open: Open,
}

impl InMemory {
    fn next(&self) -> BTreeMap<String, Kept> {
        let mut next = self.shelf.0.borrow().served.clone();
        if self.open.is_whole {
            next.retain(|id, _| self.open.kept.contains_key(id));
        }
        for (id, confirmed) in &self.open.kept {
            if let Some(kept) = next.get_mut(id) {
                kept.1 = *confirmed;
            }
        }
        next.retain(|id, _| !self.open.removed.contains(id));
        next.extend(self.open.put.clone());
        next
    }
}

impl Draft for InMemory {
    fn snapshot(&self) -> u64 {
        self.shelf.0.borrow().snapshot + 1
    }

    fn had(&mut self, id: &str) -> Result<Option<Had>, DraftError> {
        let state = self.shelf.0.borrow();
        let found = self.open.put.get(id).or_else(|| state.served.get(id));
        let had = |it: &Incoming| Had { fingerprint: it.fingerprint, changed: it.facts.changed };
        Ok(found.map(|(it, _)| had(it)))
    }

    fn beneath(&mut self, id: &str) -> Result<Vec<String>, DraftError> {
        let state = self.shelf.0.borrow();
        let begin = format!("{id}#");
        Ok(state.served.keys().filter(|it| it.starts_with(&begin)).cloned().collect())
    }

    fn put(&mut self, document: Incoming) -> Result<(), DraftError> {
        self.shelf.call(format!("put {}", document.facts.id))?;
        let id = document.facts.id.clone();
        if let Some(said) = &document.permissions {
            self.shelf.0.borrow_mut().permissions.insert(id.clone(), said.clone());
        }
        self.open.removed.remove(&id);
        let confirmed = document.facts.confirmed;
        self.open.put.insert(id, (document, confirmed));
        Ok(())
    }

    fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), DraftError> {
        self.shelf.call(format!("keep {id}"))?;
        self.open.removed.remove(id);
        self.open.kept.insert(id.to_owned(), confirmed);
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<(), DraftError> {
        self.shelf.call(format!("remove {id}"))?;
        self.open.put.remove(id);
        self.open.kept.remove(id);
        self.open.removed.insert(id.to_owned());
        Ok(())
    }

    fn permit(&mut self, changes: &[(String, Permissions)]) -> Result<(), DraftError> {
        for (id, said) in changes {
            self.shelf.call(format!("permit {id}"))?;
            self.shelf.0.borrow_mut().permissions.insert(id.clone(), said.clone());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DraftError> {
        self.shelf.call("flush".to_owned())?;
        self.shelf.0.borrow_mut().open = Some(self.open.clone());
        Ok(())
    }

    fn volume(&mut self) -> Result<Volume, DraftError> {
        let next = self.next();
        let state = self.shelf.0.borrow();
        let mut volume = Volume::default();
        let print = |it: Option<&Kept>| -> Option<Digest> { it.map(|it| it.0.fingerprint) };
        for id in next.keys() {
            match (print(state.served.get(id)), print(next.get(id))) {
                (None, _) => volume.added += 1,
                (Some(one), Some(two)) if one == two => volume.kept += 1,
                _ => volume.changed += 1,
            }
        }
        let gone = state.served.keys().filter(|id| !next.contains_key(*id));
        volume.removed = u64::try_from(gone.count()).unwrap();
        Ok(volume)
    }

    fn finish(
        self: Box<Self>,
        verdict: Verdict,
        report: &str,
        _now: Micros,
    ) -> Result<(), DraftError> {
        self.shelf.call(format!("finish {verdict:?}"))?;
        let next = self.next();
        let mut state = self.shelf.0.borrow_mut();
        if verdict == Verdict::Publish {
            state.served = next;
        }
        state.reports.push((verdict, report.to_owned()));
        state.snapshot += 1;
        state.open = None;
        Ok(())
    }
}
