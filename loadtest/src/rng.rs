//! Seeded random numbers: the same seed gives the same requests on every machine.

/// A stream of pseudo-random numbers.
///
/// Source: `SplitMix64`, Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts the stream that belongs to one item of a seed, whatever was drawn elsewhere.
    pub(crate) const fn of_item(seed: u64, item: u64) -> Self {
        Self(mix(seed ^ mix(item.wrapping_add(0x9E37_79B9_7F4A_7C15))))
    }

    /// Returns the next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Returns a number from 0 to `count - 1`; 0 if `count` is 0.
    pub(crate) const fn below(&mut self, count: u64) -> u64 {
        ((self.bits() as u128 * count as u128) >> 64) as u64
    }

    /// Returns a number from 0 (included) to 1 (excluded).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number of the exponential distribution with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Returns a number of the standard normal distribution.
    ///
    /// Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

const fn mix(bits: u64) -> u64 {
    let mut z = bits;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Ranks drawn by Zipf's law: rank `r` (from 0) has the weight `1 / (r + 1)^exponent`.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    /// Prepares the law for this many ranks.
    pub(crate) fn new(ranks: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulated = (0..ranks)
            .map(|rank| {
                sum += (f64::from(rank) + 1.0).powf(exponent).recip();
                sum
            })
            .collect();
        Self { cumulated }
    }

    /// Draws a rank; 0 if there are none.
    pub(crate) fn draw(&self, rng: &mut Rng) -> u32 {
        let total = self.cumulated.last().copied().unwrap_or(0.0);
        let point = rng.unit() * total;
        let rank = self.cumulated.partition_point(|sum| *sum <= point);
        rank.min(self.cumulated.len().saturating_sub(1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 0 are those of the published generator.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut rng = Rng(0);
        let first = [rng.bits(), rng.bits(), rng.bits()];
        assert_eq!(first, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
    }

    /// Rank 0 of two ranks with exponent 1 has two thirds of the weight.
    #[test]
    fn zipf_follows_its_weights() {
        let (zipf, mut rng) = (Zipf::new(2, 1.0), Rng(7));
        let firsts = (0..30_000).filter(|_| zipf.draw(&mut rng) == 0).count();
        assert!((19_500..20_500).contains(&firsts), "{firsts} of 30000");
        assert_eq!(Zipf::new(0, 1.0).draw(&mut rng), 0);
    }
}
