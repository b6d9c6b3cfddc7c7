//! Vectors from a table of words that the operator gives: the mean of those of a text's words.
//!
//! The file is text, a line for each word: the word, a space, and its numbers with spaces between
//! them; all lines have as many. (That is how GloVe and fastText are given away; a first line of
//! two numbers, as fastText has it, is passed over.) Words are compared without case and accents:
//! of several that come to the same the first counts.

use super::{DIMENSIONS_MAX, EmbedError, Embedder, unit};
use crate::search::words::{Stemming, words};
use lockgate_types::Digest;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a table's file.
pub const TABLE_BYTES_MAX: u64 = 2 << 30;
/// Words of a table.
pub const TABLE_ROWS_MAX: usize = 1_000_000;

/// A table of words and their vectors.
#[derive(Debug)]
pub struct Table {
    name: String,
    dimensions: usize,
    rows: HashMap<String, usize>,
    numbers: Vec<f32>,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a table.
    pub fn read(path: &Path) -> Result<Self, EmbedError> {
        let file = std::fs::File::open(path).map_err(EmbedError::File)?;
        let mut text = String::new();
        let most = TABLE_BYTES_MAX.saturating_add(1);
        let bytes = file.take(most).read_to_string(&mut text).map_err(EmbedError::File)?;
        if bytes as u64 > TABLE_BYTES_MAX {
            return Err(EmbedError::Table { what: "it is too large", line: 0 });
        }
        Self::parse(&text)
    }

    /// Reads a table's text.
    ///
    /// # Errors
    ///
    /// If it is not one.
    pub fn parse(text: &str) -> Result<Self, EmbedError> {
        let name = format!("table-{}", Digest::of(text.as_bytes()).short());
        let mut table = Self { name, dimensions: 0, rows: HashMap::new(), numbers: Vec::new() };
        for (line, row) in (1..).zip(text.lines()) {
            let is_heading = line == 1 && row.split(' ').count() == 2;
            if !is_heading && !row.is_empty() {
                table.add(row).map_err(|what| EmbedError::Table { what, line })?;
            }
        }
        match table.rows.is_empty() {
            true => Err(EmbedError::Table { what: "it has no words", line: 0 }),
            false => Ok(table),
        }
    }

    fn add(&mut self, row: &str) -> Result<(), &'static str> {
        let mut parts = row.trim_end().split(' ');
        let word = parts.next().unwrap_or_default();
        let before = self.numbers.len();
        for part in parts {
            let number: f32 = part.parse().map_err(|_| "what should be a number is none")?;
            if !number.is_finite() || self.numbers.len() - before >= DIMENSIONS_MAX {
                return Err("a number is not finite, or there are too many");
            }
            self.numbers.push(number);
        }
        let dimensions = self.numbers.len() - before;
        if before == 0 {
            self.dimensions = dimensions;
        }
        if dimensions == 0 || dimensions != self.dimensions {
            return Err("it has not as many numbers as the first line");
        }
        let mut folded = words(word, Stemming::Plain);
        let is_new = match (folded.next(), folded.next()) {
            (Some(word), None) if !self.rows.contains_key(&word) => {
                self.rows.insert(word, before);
                true
            }
            _ => false,
        };
        if !is_new {
            self.numbers.truncate(before);
            return Ok(());
        }
        match self.rows.len() > TABLE_ROWS_MAX {
            true => Err("it has too many words"),
            false => Ok(()),
        }
    }
}

impl Embedder for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let mut sum = vec![0.0_f32; self.dimensions];
        for word in words(text, Stemming::Plain) {
            let Some(from) = self.rows.get(&word) else { continue };
            let row = self.numbers.get(*from..from.saturating_add(self.dimensions));
            for (sum, number) in sum.iter_mut().zip(row.unwrap_or_default()) {
                *sum += number;
            }
        }
        Ok(unit(sum))
    }
}
