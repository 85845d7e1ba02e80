//! Which size the file should have at each moment, so that the budget is kept at the end.

use crate::Budget;

/// How a size budget is approached, ever more slowly, since the last bytes are the hardest (as Zhu and Gupta, *To prune, or not to
/// prune*, 2017, do with sparsity); afterwards the size is held while accuracy recovers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approach {
    /// Part of the run.
    share: f64,
    /// Of the distance in log-size that is left, by the part of the approach that is left.
    power: i32,
    /// What the log-size loses by itself as the learning rate falls from its peak to nothing.
    settling: f64,
}

impl Approach {
    /// Where steps grow.
    pub const BY_STEPS: Self = Self { share: 0.65, power: 2, settling: 0.0 };
    /// Where weights shrink: a price that has to hurry kills weights that do not come back. Weights that move to and fro about the
    /// first step come to rest at zero when they move no more.
    pub const BY_PULL: Self = Self { share: 0.85, power: 3, settling: 0.05 };
}

/// Largest change of the log-size from one evaluation to the next when accuracy is the budget.
const STRIDE: f64 = 0.12;
/// The same while accuracy is beyond the budget: back off faster than we came.
const RETREAT: f64 = 0.2;

/// Plans the size of the file over the steps of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    goal: Goal,
    /// Natural logarithm of the size that is aimed at now.
    log_size: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Goal {
    /// From a log-size to a log-size.
    Size { from: f64, to: f64, approach: Approach },
    /// As small as a loss of so many points allows.
    Accuracy { max_drop: f64 },
}

impl Controller {
    /// A plan for `budget`, from a file of `start` bytes. A size in the budget leads, by this approach; a limit on the loss
    /// beside it is then checked at the end.
    pub fn new(budget: &Budget, parameters: usize, start: f64, approach: Approach) -> Self {
        let from = start.ln();
        let goal = match (budget.bytes(parameters), budget.max_drop) {
            (Some(bytes), _) => {
                let to = (bytes * MARGIN).ln();
                Goal::Size { from: from.max(to), to, approach }
            }
            (None, max_drop) => Goal::Accuracy { max_drop: max_drop.unwrap_or(0.0) },
        };
        let log_size = match &goal {
            Goal::Size { from, .. } => *from,
            Goal::Accuracy { .. } => from,
        };
        Self { goal, log_size }
    }

    /// Bytes to aim at when `progress` (0 to 1) of the run is done and the learning rate is `rate` of its peak.
    pub fn target(&mut self, progress: f64, rate: f64) -> f64 {
        if let Goal::Size { from, to, approach: Approach { share, power, settling } } = self.goal {
            let left = 1.0 - (progress / share).min(1.0);
            let to = (to + settling * rate).min(from);
            self.log_size = to + (from - to) * left.powi(power);
        }
        self.log_size.exp()
    }

    /// Learns the loss of accuracy, in points, at the current size.
    pub fn observe(&mut self, drop: f64) {
        if let Goal::Accuracy { max_drop } = self.goal {
            let room = (max_drop - drop) / max_drop.max(0.1);
            self.log_size -= if room >= 0.0 { STRIDE * room.min(1.0) } else { RETREAT * room.max(-1.0) };
        }
    }

    /// Log-size, for a checkpoint.
    pub fn state(&self) -> f64 {
        self.log_size
    }

    /// Takes up the log-size of a checkpoint.
    pub fn restore(&mut self, log_size: f64) {
        self.log_size = log_size;
    }
}

/// Share of a size budget that is aimed at: the file must not exceed it by the last byte.
const MARGIN: f64 = 0.99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_approached_and_held() {
        let budget = Budget { size: Some(1000), ..Budget::default() };
        for (approach, held) in [(Approach::BY_STEPS, 7), (Approach::BY_PULL, 9)] {
            let mut controller = Controller::new(&budget, 1, 8000.0, approach);
            let path: Vec<f64> = (0..=10).map(|i| controller.target(f64::from(i) / 10.0, 0.0)).collect();
            assert!((path[0] - 8000.0).abs() < 1e-6);
            assert!(path.is_sorted_by(|a, b| a >= b));
            assert!(path[held - 1] > 990.1 && (path[held] - 990.0).abs() < 1e-6 && path[10] == path[held]);
        }
    }

    #[test]
    fn what_settles_by_itself_is_left_to_settle() {
        let budget = Budget { size: Some(1000), ..Budget::default() };
        let mut controller = Controller::new(&budget, 1, 8000.0, Approach::BY_PULL);
        let [early, late] = [(0.9, 0.1), (1.0, 0.0)].map(|(progress, rate)| controller.target(progress, rate));
        let above = (0.1 * Approach::BY_PULL.settling).exp();
        assert!(
            (late - 990.0).abs() < 1e-6 && (early - 990.0 * above).abs() < 1e-6 && above > 1.004,
            "{early}, then {late}"
        );
    }

    #[test]
    fn a_network_below_its_budget_stays_there() {
        let budget = Budget { ratio: Some(4.0), ..Budget::default() };
        assert!((Controller::new(&budget, 1000, 10.0, Approach::BY_STEPS).target(0.0, 1.0) - 990.0).abs() < 1e-6);
    }

    #[test]
    fn accuracy_in_hand_shrinks_the_file_and_too_much_loss_grows_it() {
        let budget = Budget { max_drop: Some(0.5), ..Budget::default() };
        let mut controller = Controller::new(&budget, 1, 1000.0, Approach::BY_STEPS);
        controller.observe(-0.1);
        let shrunk = controller.target(0.1, 1.0);
        assert!(shrunk < 900.0);
        controller.observe(0.5);
        assert_eq!(controller.target(0.2, 1.0), shrunk);
        controller.observe(0.9);
        assert!(controller.target(0.3, 1.0) > shrunk);
    }
}
