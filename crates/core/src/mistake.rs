//! What is wrong with a bundle, named so that its author can go there and mend it.

use std::fmt;

/// One mistake in a bundle. `lockgate check` prints every one there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, relative to the bundle.
    pub file: String,
    /// The line, from 1, if it has one.
    pub line: Option<usize>,
    /// What is wrong: lower case, no final period, user input in backticks.
    pub what: String,
    /// What would mend it.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}
