//! How the learning rate moves over the steps of a run.

use std::f64::consts::PI;

/// A learning rate as a share of its peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the peak.
    Constant,
    /// Linear from near zero to the peak in `warmup` steps, then half a cosine down to `floor` (a share of the peak).
    WarmupCosine {
        /// Steps of the rise.
        warmup: u64,
        /// Share of the peak at the last step.
        floor: f32,
    },
    /// Half a cosine up from 1/25 of the peak, then half a cosine down to 1/250,000 (Smith and Topin, *Super-convergence*,
    /// 2017, as in PyTorch's `OneCycleLR`, where the rise takes 0.3 unless told otherwise).
    OneCycle {
        /// Share of the steps that the rise takes, 0 to 1.
        rise: f64,
    },
}

impl Schedule {
    /// The share of the peak at `step` (from 0) of `total`.
    pub fn factor(self, step: u64, total: u64) -> f32 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::WarmupCosine { warmup, floor } => {
                if step < warmup {
                    return (step + 1) as f32 / (warmup + 1) as f32;
                }
                ease(1.0, f64::from(floor), progress(step - warmup, total.saturating_sub(warmup)))
            }
            Schedule::OneCycle { rise } => {
                let top = rise * total as f64 - 1.0;
                let last = total as f64 - 1.0;
                let at = step as f64;
                if at < top {
                    return ease(1.0 / 25.0, 1.0, at / top);
                }
                ease(1.0, 1.0 / 25.0 / 1e4, ((at - top) / (last - top)).min(1.0))
            }
        }
    }
}

/// Position of `step` among `total` steps, 0 at the first and 1 at the last.
fn progress(step: u64, total: u64) -> f64 {
    (step as f64 / total.saturating_sub(1).max(1) as f64).min(1.0)
}

/// Half a cosine from `from` at 0 to `to` at 1.
fn ease(from: f64, to: f64, at: f64) -> f32 {
    (to + (from - to) * 0.5 * (1.0 + (PI * at).cos())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_then_the_cosine_falls_to_the_floor() {
        let schedule = Schedule::WarmupCosine { warmup: 4, floor: 0.1 };
        let factors: Vec<f32> = (0..13).map(|step| schedule.factor(step, 13)).collect();
        assert_eq!(&factors[..5], [0.2, 0.4, 0.6, 0.8, 1.0]);
        assert!((factors[8] - 0.55).abs() < 1e-6, "half way down: {}", factors[8]);
        assert!((factors[12] - 0.1).abs() < 1e-6);
        assert!(factors[4..].is_sorted_by(|a, b| a >= b));
    }

    /// From `torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10)`.
    #[test]
    fn one_cycle_agrees_with_pytorch() {
        let expected = [0.04, 0.52, 1.0, 0.950485, 0.811746, 0.611262, 0.388742, 0.188258, 0.049519, 4e-6];
        for (step, &expected) in expected.iter().enumerate() {
            let found = Schedule::OneCycle { rise: 0.3 }.factor(step as u64, 10);
            assert!((found - expected).abs() < 1e-5, "step {step}: {found} instead of {expected}");
        }
    }

    #[test]
    fn short_runs_stay_finite() {
        let one_cycles = [0.0, 0.3, 1.0].map(|rise| Schedule::OneCycle { rise });
        let others = [Schedule::Constant, Schedule::WarmupCosine { warmup: 5, floor: 0.0 }];
        for schedule in one_cycles.into_iter().chain(others) {
            for total in 0..5 {
                for step in 0..=total {
                    let factor = schedule.factor(step, total);
                    assert!((0.0..=1.0).contains(&factor), "{schedule:?} at {step} of {total}: {factor}");
                }
            }
        }
    }
}
