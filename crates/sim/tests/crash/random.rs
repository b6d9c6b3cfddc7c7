//! Numbers that look drawn and are the same each time: SplitMix64.

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One that depends on the seed and on where it is used.
    pub(crate) fn at(seed: u64, places: &[usize]) -> Self {
        places.iter().fold(Self(seed), |mut random, place| {
            let next = random.next();
            Self(next ^ (*place as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
        })
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, max: usize) -> usize {
        (self.next() % max.max(1) as u64) as usize
    }

    /// So many of them, in another order.
    pub(crate) fn draw<T>(&mut self, mut from: Vec<T>, count: usize) -> Vec<T> {
        for at in 0..count.min(from.len()) {
            let other = at + self.below(from.len() - at);
            from.swap(at, other);
        }
        from.truncate(count);
        from
    }
}
