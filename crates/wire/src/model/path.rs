//! A place within a body: `messages[2].content[0].text`.

use lockgate_types::Json;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a member of an object.
    Name(Box<str>),
    /// Into an element of an array.
    Index(usize),
}

/// A place within a body. The empty path is the body itself. Places beside one another share what
/// they are within, so that each costs no more than its last step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Option<Arc<Place>>);

#[derive(Debug, PartialEq, Eq)]
struct Place {
    within: Path,
    step: Step,
}

impl Path {
    /// The member of that name at this place.
    #[must_use]
    pub fn name(&self, name: &str) -> Self {
        self.step(Step::Name(name.into()))
    }

    /// The element of that index at this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        Self(Some(Arc::new(Place { within: self.clone(), step })))
    }

    /// The steps from the body.
    fn steps(&self) -> Vec<&Step> {
        let back = std::iter::successors(self.split_last(), |(within, _)| within.split_last());
        let mut steps: Vec<&Step> = back.map(|(_, step)| step).collect();
        steps.reverse();
        steps
    }

    /// The place that holds this one, and the step from there.
    pub fn split_last(&self) -> Option<(&Self, &Step)> {
        self.0.as_ref().map(|place| (&place.within, &place.step))
    }

    /// What is there.
    pub fn get<'a>(&self, body: &'a Json) -> Option<&'a Json> {
        self.steps().into_iter().try_fold(body, |value, step| match step {
            Step::Name(name) => value.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }

    /// What is there, to be changed.
    pub fn get_mut<'a>(&self, body: &'a mut Json) -> Option<&'a mut Json> {
        self.steps().into_iter().try_fold(body, |value, step| match step {
            Step::Name(name) => value.as_object_mut()?.get_mut(name),
            Step::Index(index) => value.as_array_mut()?.get_mut(*index),
        })
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        self.steps().cmp(&other.steps())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps().into_iter().enumerate() {
            match step {
                Step::Name(name) if at == 0 => write!(f, "{name}")?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
