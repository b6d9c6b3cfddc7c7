//! From text to vectors.
//!
//! Two ways are built in and need nothing: [hashed features](Hashed), and a [table](Table) of words
//! that the operator gives. A remote endpoint gives its vectors by itself: to the corpus for chunks
//! ([`crate::corpus::Corpus::embed`]), with the query for queries.

mod hashed;
mod table;

pub use hashed::Hashed;
pub use table::{TABLE_BYTES_MAX, TABLE_ROWS_MAX, Table};

/// Numbers of one vector.
pub const DIMENSIONS_MAX: usize = 4096;

/// What turns text into vectors.
pub trait Embedder: Send + Sync {
    /// What it is, with its version: vectors of different ones are never compared.
    fn name(&self) -> &str;

    /// How many numbers its vectors have. 0: there are none.
    fn dimensions(&self) -> usize;

    /// The vector of a text. `None`: this one is given its vectors from elsewhere, or the text has
    /// nothing that it knows.
    ///
    /// # Errors
    ///
    /// If it fails.
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError>;
}

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The file could not be read.
    #[error("the table of vectors cannot be read")]
    File(#[source] std::io::Error),
    /// The file is not one.
    #[error("the table of vectors is not well formed: {what}, line {line}")]
    Table {
        /// What is wrong.
        what: &'static str,
        /// Where.
        line: usize,
    },
    /// A vector has another length, or no length at all.
    #[error("a vector is not one of {dimensions} finite numbers")]
    NotAVector {
        /// How many there should be.
        dimensions: usize,
    },
}

/// No vectors: search is by words alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVectors;

impl Embedder for NoVectors {
    fn name(&self) -> &'static str {
        "none"
    }
    fn dimensions(&self) -> usize {
        0
    }
    fn embed(&self, _: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        Ok(None)
    }
}

/// Vectors that are given: by a remote endpoint, which somebody else asks.
#[derive(Clone, Debug)]
pub struct Given {
    /// Which model, with its version.
    pub name: String,
    /// How many numbers its vectors have.
    pub dimensions: usize,
}

impl Embedder for Given {
    fn name(&self) -> &str {
        &self.name
    }
    fn dimensions(&self) -> usize {
        self.dimensions
    }
    fn embed(&self, _: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        Ok(None)
    }
}

/// The same direction, of length one: then a product of two is their cosine. `None`: it has none.
pub(crate) fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if !length.is_finite() || length < 1e-12 {
        return None;
    }
    for x in &mut vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Some(vector)
}

/// A vector that was given, as one of length one.
pub(crate) fn given(vector: Vec<f32>, dimensions: usize) -> Result<Vec<f32>, EmbedError> {
    let is_one = vector.len() == dimensions && vector.iter().all(|x| x.is_finite());
    let unit = if is_one { unit(vector) } else { None };
    unit.ok_or(EmbedError::NotAVector { dimensions })
}
