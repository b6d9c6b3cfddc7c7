//! Vectors in memory: one byte for each number, to find candidates; what order they are in is
//! computed from the exact ones, which stay in the file.
//!
//! Each vector has a scale of its own, so that what nobody may see changes no other's.

use super::permitted::Permitted;

/// Vectors of one piece of memory.
const SEGMENT: usize = 16_384;
/// A chunk's numbers are in -127..=127, those of a query are finer.
const CHUNK_STEPS: f32 = 127.0;
const QUERY_STEPS: f32 = 2047.0;

/// The vectors of chunks, by the chunk's number. A scale of 0: it has none.
#[derive(Debug)]
pub(crate) struct Vectors {
    dimensions: usize,
    segments: Vec<Vec<i8>>,
    scales: Vec<f32>,
}

/// A vector with a byte for each number.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    numbers: Vec<i8>,
    scale: f32,
}

impl Packed {
    /// Packs a vector of length one.
    pub(crate) fn of(vector: &[f32]) -> Self {
        let (steps, scale) = scaled(vector, CHUNK_STEPS);
        Self { numbers: steps.map(|step| step as i8).collect(), scale }
    }
}

impl Vectors {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { dimensions, segments: Vec::new(), scales: Vec::new() }
    }

    /// Adds that of the next chunk.
    pub(crate) fn add(&mut self, vector: Option<&Packed>) {
        if self.scales.len().is_multiple_of(SEGMENT) {
            self.segments.push(Vec::new());
        }
        let vector = vector.filter(|vector| vector.numbers.len() == self.dimensions);
        self.scales.push(vector.map_or(0.0, |vector| vector.scale));
        if let Some(segment) = self.segments.last_mut() {
            match vector {
                Some(vector) => segment.extend_from_slice(&vector.numbers),
                None => segment.resize(segment.len() + self.dimensions, 0),
            }
        }
    }

    /// Gives a chunk another one.
    pub(crate) fn set(&mut self, chunk: u32, vector: &Packed) {
        let (segment, range) = self.place(chunk);
        let numbers = self.segments.get_mut(segment).and_then(|segment| segment.get_mut(range));
        let scale = self.scales.get_mut(chunk as usize);
        if let (Some(numbers), Some(scale)) = (numbers, scale)
            && numbers.len() == vector.numbers.len()
        {
            numbers.copy_from_slice(&vector.numbers);
            *scale = vector.scale;
        }
    }

    /// Calls `each` with every permitted chunk that has a vector, and about how near it is.
    pub(crate) fn scan(
        &self,
        query: &[f32],
        permitted: &Permitted,
        mut each: impl FnMut(u32, f32),
    ) {
        if self.dimensions == 0 || query.len() != self.dimensions {
            return;
        }
        let (steps, query_scale) = scaled(query, QUERY_STEPS);
        let steps: Vec<i16> = steps.map(|step| step as i16).collect();
        permitted.each_chunk(|chunk| {
            let (segment, range) = self.place(chunk);
            let numbers = self.segments.get(segment).and_then(|segment| segment.get(range));
            let scale = self.scales.get(chunk as usize).copied().unwrap_or(0.0);
            if let Some(numbers) = numbers
                && scale > 0.0
            {
                each(chunk, product(numbers, &steps) as f32 * (scale * query_scale));
            }
        });
    }

    /// Leaves out the chunks that `place` has no new number for.
    pub(crate) fn renumber(&mut self, place: &[u32]) {
        let mut left = Self::new(self.dimensions);
        for (chunk, number) in (0_u32..).zip(place) {
            if *number != u32::MAX {
                let (segment, range) = self.place(chunk);
                let numbers = self.segments.get(segment).and_then(|segment| segment.get(range));
                let scale = self.scales.get(chunk as usize).copied().unwrap_or(0.0);
                let numbers = numbers.unwrap_or_default().to_vec();
                left.add(Some(&Packed { numbers, scale }));
            }
        }
        *self = left;
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let numbers: usize = self.segments.iter().map(Vec::capacity).sum();
        numbers + self.scales.capacity() * size_of::<f32>()
    }

    fn place(&self, chunk: u32) -> (usize, std::ops::Range<usize>) {
        let (segment, within) = (chunk as usize / SEGMENT, chunk as usize % SEGMENT);
        let from = within * self.dimensions;
        (segment, from..from + self.dimensions)
    }
}

/// Whole numbers of steps, and what one step is.
fn scaled(vector: &[f32], steps: f32) -> (impl Iterator<Item = f32>, f32) {
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest / steps } else { 0.0 };
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (vector.iter().map(move |x| (x * inverse).round()), scale)
}

/// A plain sum of products: the form that the compiler makes vector instructions of. Of 4096
/// numbers no sum is beyond 2^31, and a check would keep it from doing so.
fn product(numbers: &[i8], steps: &[i16]) -> i32 {
    let pairs = numbers.iter().zip(steps);
    pairs.fold(0, |sum: i32, (number, step)| {
        sum.wrapping_add(i32::from(*number).wrapping_mul(i32::from(*step)))
    })
}

/// The exact product: the sum is made in the same order for all vectors, in double precision.
pub(crate) fn exact(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_products_are_near_the_exact_ones() {
        let vector = |seed: u32| -> Vec<f32> {
            let numbers = (0..100_u32).map(|n| {
                f32::from(u16::try_from((n * 7919 + seed * 104_729) % 2003).unwrap()) - 1000.0
            });
            crate::embed::unit(numbers.collect()).unwrap()
        };
        let mut vectors = Vectors::new(100);
        (0..50).for_each(|seed| vectors.add(Some(&Packed::of(&vector(seed)))));
        vectors.add(None);
        let all: Vec<u32> = (0..51).collect();
        let query = vector(77);
        let mut seen = 0;
        vectors.scan(&query, &Permitted::of_chunks(&all, 51), |chunk, near| {
            let exact = exact(&query, &vector(chunk));
            assert!((f64::from(near) - exact).abs() < 0.01, "{near} {exact}");
            seen += 1;
        });
        assert_eq!(seen, 50);
    }
}
