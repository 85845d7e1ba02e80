//! Random numbers for initial values, the same bits on every machine.

/// SplitMix64: a counter that steps by the golden ratio, scrambled.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `(0, 1)`, without the ends, so that its logarithm is finite.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Uniform in `(-bound, bound)`.
    pub(super) fn uniform(&mut self, bound: f64) -> f32 {
        ((2.0 * self.unit() - 1.0) * bound) as f32
    }

    /// Normal with mean 0, by Box and Muller. `libm` computes the same bits everywhere, the system's functions do not.
    pub(super) fn normal(&mut self, deviation: f64) -> f32 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        let angle = core::f64::consts::TAU * self.unit();
        (radius * libm::cos(angle) * deviation) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64::new(1_234_567);
        let numbers: [u64; 3] = core::array::from_fn(|_| random.next());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = SplitMix64::new(7);
        let count = 100_000;
        let mut square_mean = |sample: fn(&mut SplitMix64) -> f32| {
            (0..count).map(|_| f64::from(sample(&mut random))).map(|x| x * x).sum::<f64>() / f64::from(count)
        };
        assert!((square_mean(|random| random.normal(0.5)) - 0.25).abs() < 0.005);
        assert!((square_mean(|random| random.uniform(3.0)) - 3.0).abs() < 0.05);
    }
}
