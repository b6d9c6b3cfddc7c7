//! The linear model: small whole weights, read from the file that training wrote.

use super::features::BITS;
use std::sync::LazyLock;

/// What a model's file begins with.
pub const MAGIC: [u8; 4] = *b"LGI1";

/// The weights, in the repository beside their card.
static FILE: &[u8] = include_bytes!("../../data/injection.bin");

/// The model that ships. Without one that can be read nothing is found, which tests would show.
pub(crate) static SHIPPED: LazyLock<Model> =
    LazyLock::new(|| Model::read(FILE).unwrap_or_else(Model::empty));

/// Weights by feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    weights: Vec<i8>,
    bias: i32,
    threshold: i32,
}

/// How finely a window's value is told: 256 parts of one weight.
const FINE: i64 = 256;

impl Model {
    pub(crate) fn empty() -> Self {
        Self { weights: Vec::new(), bias: 0, threshold: i32::MAX }
    }

    /// A model of these weights. Bias and threshold are in the units of [`Model::value`].
    pub fn new(weights: Vec<i8>, bias: i32, threshold: i32) -> Self {
        Self { weights, bias, threshold }
    }

    /// The weight of one feature.
    pub(crate) fn weight(&self, feature: u32) -> i32 {
        let index = usize::try_from(feature).unwrap_or(usize::MAX);
        self.weights.get(index).map_or(0, |weight| i32::from(*weight))
    }

    /// The value of a window: the sum of its weights over the root of their number, and the bias.
    pub fn value(&self, sum: i32, count: u32) -> i32 {
        let root = (u64::from(count.max(1)) << 16).isqrt();
        let root = i64::try_from(root).unwrap_or(i64::MAX);
        let value = i64::from(sum) * FINE * FINE / root + i64::from(self.bias);
        i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
    }

    /// The same model with another threshold.
    pub fn with_threshold(self, threshold: i32) -> Self {
        Self { threshold, ..self }
    }

    /// How many weights are not zero.
    pub fn count(&self) -> usize {
        self.weights.iter().filter(|weight| **weight != 0).count()
    }

    /// The value from which a window is a find.
    pub fn threshold(&self) -> i32 {
        self.threshold
    }

    /// The highest value of any window of a text; what training and reports use.
    pub fn value_of(&self, text: &str) -> i32 {
        let blocks: Vec<(i32, u32)> = super::features::blocks(text)
            .iter()
            .map(|block| {
                let sum = block.iter().map(|feature| self.weight(*feature)).sum();
                (sum, u32::try_from(block.len()).unwrap_or(u32::MAX))
            })
            .collect();
        let values = super::windows(&blocks).map(|(sum, count)| self.value(sum, count));
        values.max().unwrap_or(i32::MIN)
    }

    /// As a file: the head, then each weight that is not zero after its distance from the last.
    pub fn write(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(self.bias.to_le_bytes());
        file.extend(self.threshold.to_le_bytes());
        let mut last = 0;
        for (at, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight != 0) {
            let mut distance = at - last;
            while distance >= 0x80 {
                file.push(u8::try_from(distance & 0x7f).unwrap_or(0) | 0x80);
                distance >>= 7;
            }
            file.push(u8::try_from(distance).unwrap_or(0));
            file.extend(weight.to_le_bytes());
            last = at;
        }
        file
    }

    /// Reads what [`Model::write`] wrote; `None` if it is anything else.
    pub fn read(file: &[u8]) -> Option<Self> {
        let rest = file.strip_prefix(&MAGIC)?;
        let (bias, rest) = rest.split_first_chunk::<4>()?;
        let (threshold, mut rest) = rest.split_first_chunk::<4>()?;
        let mut weights = vec![0_i8; 1 << BITS];
        let mut at = 0_usize;
        while !rest.is_empty() {
            let mut distance = 0_usize;
            let mut shift = 0_u32;
            loop {
                let (byte, after) = rest.split_first()?;
                rest = after;
                distance |= usize::from(byte & 0x7f).checked_shl(shift)?;
                shift = shift.checked_add(7).filter(|shift| *shift <= 28)?;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let (weight, after) = rest.split_first_chunk::<1>()?;
            rest = after;
            at = at.checked_add(distance)?;
            *weights.get_mut(at)? = i8::from_le_bytes(*weight);
        }
        let [bias, threshold] = [bias, threshold].map(|bytes| i32::from_le_bytes(*bytes));
        Some(Self { weights, bias, threshold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_read_as_it_was_written() {
        let mut weights = vec![0; 1 << BITS];
        for (at, weight) in [(0, 3), (1, -128), (300, 127), (50_001, -1), ((1 << BITS) - 1, 9)] {
            weights[at] = weight;
        }
        let model = Model::new(weights, -77, 1234);
        let file = model.write();
        assert_eq!(Model::read(&file), Some(model));
        assert_eq!(Model::read(b"LGI2"), None);
        assert_eq!(Model::read(&file[..file.len() - 1]), None);
        let mut beyond = file;
        beyond.extend([1, 1]);
        assert_eq!(Model::read(&beyond), None);
    }

    #[test]
    fn the_shipped_model_has_weights() {
        let model = Model::read(FILE).unwrap();
        assert!(model.weights.iter().filter(|weight| **weight != 0).count() > 1000);
        assert!(FILE.len() < 300 * 1024);
    }

    #[test]
    fn a_value_grows_with_the_sum_and_shrinks_with_the_number() {
        let model = Model::new(Vec::new(), 5, 0);
        assert_eq!(model.value(100, 4), 100 * 256 / 2 + 5);
        assert!(model.value(100, 4) > model.value(100, 9));
        assert_eq!(model.value(0, 0), 5);
        assert_eq!(model.value(i32::MAX, 1), i32::MAX);
    }
}
