//! What makes a sparse network smaller: a price of bits that pulls its weights towards zero.
//!
//! Coarser steps are the way to fewer bits while most codes are not zero. Beyond that they are a bad one: the sensitivities that
//! steps go by hold for small changes, and say of a wide layer that none of its weights is missed, so that the layer as a
//! whole is wiped out, while the few weights of sensitive layers keep bits that nobody else can afford. There steps stay in the range
//! of the layer's weights, and the weights shrink instead, each as fast as its bits are dear: a re-weighted L1 whose weights
//! are code lengths (Oktay et al., *Scalable model compression by entropy penalized reparameterization*, 2020). The logarithm of the
//! price follows the planned size by a proportional and an integral part. Its scale is the noise of the batches, as it was before
//! anything was pulled: a network in distress has larger gradients, and must not be pulled harder for it.

/// Bits for each weight of the original below which weights shrink.
pub(crate) const SPARSE: f64 = 1.3;
/// The steps of layers, in deviations of their weights, where weights are meant to shrink.
pub(crate) const STEP_RANGE: (f32, f32) = (0.35, 1.5);
/// Change of the price's logarithm for each unit of the size's logarithmic error: when it changes, and at every look, where a file
/// that is too small lets go faster than one that is too large pulls harder: weights that are zero hardly come back.
const PROPORTIONAL: f64 = 6.0;
const INTEGRAL: f64 = 0.3;
const RELEASE: f64 = 1.0;
/// Most that the price's logarithm changes at one look.
const STRIDE: f64 = 0.5;
/// The price at first, and its bounds, in units of noise.
const FIRST: f64 = 0.3;
const BOUNDS: (f64, f64) = (1e-3, 100.0);
/// Share of a step in the running mean square of gradients.
const MOMENTUM: f64 = 0.02;

/// The price of a bit where weights shrink, in place of the one that the step size implies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pull {
    /// In units of noise; 0 as long as steps do the work.
    strength: f64,
    /// Error of the size at the last look.
    error: f64,
    /// Mean square of the loss's gradient by a code.
    noise: f64,
}

impl Pull {
    /// Learns the logarithm of the size over the size that is wanted.
    pub fn steer(&mut self, error: f64) {
        if self.is_released() {
            (self.strength, self.error) = (FIRST, error);
            return;
        }
        let integral = if error < 0.0 { RELEASE } else { INTEGRAL };
        let change = PROPORTIONAL * (error - self.error) + integral * error;
        self.strength = (self.strength * change.clamp(-STRIDE, STRIDE).exp()).clamp(BOUNDS.0, BOUNDS.1);
        self.error = error;
    }

    /// Lets go.
    pub fn release(&mut self) {
        self.strength = 0.0;
    }

    /// Whether weights are left alone.
    pub fn is_released(&self) -> bool {
        self.strength == 0.0
    }

    /// Whether the price is as low as it gets.
    pub fn is_slack(&self) -> bool {
        self.strength <= BOUNDS.0
    }

    /// Learns the mean square of a step's gradients by codes.
    pub fn feel(&mut self, mean_square: f64) {
        if self.is_released() {
            let share = if self.noise == 0.0 { 1.0 } else { MOMENTUM };
            self.noise += share * (mean_square - self.noise);
        }
    }

    /// Loss that a bit costs.
    pub fn price(&self) -> f32 {
        (self.strength * self.noise.sqrt()) as f32
    }

    /// For a checkpoint.
    pub fn state(&self) -> Vec<u64> {
        [self.strength, self.error, self.noise].map(f64::to_bits).to_vec()
    }

    /// Undoes [`Pull::state`]; nothing if it is no such state.
    pub fn from_state(state: &[u64]) -> Option<Self> {
        let &[strength, error, noise] = state else { return None };
        let [strength, error, noise] = [strength, error, noise].map(f64::from_bits);
        Some(Self { strength, error, noise })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that comes to rest at a size that depends on the price, slowly.
    #[test]
    fn the_planned_size_is_followed_and_held() {
        let mut pull = Pull::default();
        pull.feel(4.0);
        let (mut log_size, mut worst) = (0.0f64, 0.0f64);
        for look in 0..400 {
            let planned = -0.015 * f64::from(look.min(120));
            pull.steer(log_size - planned);
            let rest = -0.5 * f64::from(pull.price() / 0.2).ln();
            log_size += (rest - log_size) / 25.0;
            worst = worst.max((log_size - planned).abs());
        }
        assert!(worst < 0.2, "at worst {worst} off the plan");
        assert!((log_size + 1.8).abs() < 0.01, "{log_size} at the end");
    }

    #[test]
    fn noise_is_that_before_the_pull() {
        let mut pull = Pull::default();
        pull.feel(4.0);
        assert_eq!(pull.price(), 0.0);
        pull.steer(0.1);
        pull.feel(100.0);
        assert_eq!(pull.price(), 2.0 * FIRST as f32);
        assert_eq!(Pull::from_state(&pull.state()), Some(pull));
        (0..100).for_each(|_| pull.steer(-2.0));
        assert!(pull.is_slack() && !pull.is_released());
        pull.release();
        assert!(pull.is_released() && pull.price() == 0.0);
    }
}
