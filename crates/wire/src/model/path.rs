//! A place within a body: `messages[2].content[0].text`.

use lockgate_types::Json;
use std::fmt;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a member of an object.
    Name(Box<str>),
    /// Into an element of an array.
    Index(usize),
}

/// A place within a body. The empty path is the body itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

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
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    /// The steps from the body.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The place that holds this one, and the step from there.
    pub fn split_last(&self) -> Option<(Self, &Step)> {
        let (last, head) = self.0.split_last()?;
        Some((Self(head.to_vec()), last))
    }

    /// What is there.
    pub fn get<'a>(&self, body: &'a Json) -> Option<&'a Json> {
        self.0.iter().try_fold(body, |value, step| match step {
            Step::Name(name) => value.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }

    /// What is there, to be changed.
    pub fn get_mut<'a>(&self, body: &'a mut Json) -> Option<&'a mut Json> {
        self.0.iter().try_fold(body, |value, step| match step {
            Step::Name(name) => value.as_object_mut()?.get_mut(name),
            Step::Index(index) => value.as_array_mut()?.get_mut(*index),
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if at == 0 => write!(f, "{name}")?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
