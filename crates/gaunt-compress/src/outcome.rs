//! The end of a compression: final codes, the graph of the file, and whether the budget holds.

use gaunt_graph::{Graph, rewrite::Survivors};
use gaunt_train::{Precision, evaluate};
use rayon::prelude::*;

use crate::{
    CompressError, Observer, Run, accuracy, feedback,
    finish::{CodedWeight, finish},
    options::{Effort, FEEDBACK_BATCHES, STATISTICS_BATCHES},
    predict,
    refine::refine,
    start,
};

/// What a compression made.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The graph of the file: codes, batch norm folded, dead channels gone.
    pub graph: Graph,
    /// Bytes of a file with this graph.
    pub bytes: usize,
    /// Class of each validation image by the runtime on [`Outcome::graph`].
    pub predictions: Vec<usize>,
    /// Top-1 on the validation split, in per cent, of the dense network.
    pub dense: f64,
    /// Of the dense network merely rounded to the size of the result, batch norm measured again.
    pub before_tuning: f64,
    /// Of the result, by the runtime.
    pub after_tuning: f64,
    /// Whether size and accuracy keep the budget.
    pub holds: bool,
}

/// Rounds in which the final steps are bracketed and bisected to keep a size budget, and the factor of the bracket.
const FIT_ROUNDS: usize = 12;
const WIDER: f32 = 1.25;
/// Bytes that metadata may grow by when they are filled in.
const METADATA_SLACK: f64 = 16.0;
/// How often, and by which factor, steps grow when a last few bytes are too many.
const NUDGES: usize = 8;
const NUDGE: f32 = 1.002;
/// A file of at least this share of its size budget is not made finer.
const FILLED: f64 = 0.985;
/// Refinements that a file which is too large is tried with: the factor from one to the next, and the strongest.
const STRONGER: f32 = 2.0;
const STRONGEST: f32 = 32.0;
/// Factor on the steps, and how often, when every state seen in training loses too much.
const FINER: f32 = 0.85;
const FINER_ROUNDS: usize = 8;
/// Factor on the steps, and how often, where nothing is trained and accuracy is the budget; the factor that is no longer worth a try.
const COARSER: f32 = 1.25;
const COARSER_ROUNDS: usize = 16;
const LEAST_STRIDE: f32 = 1.01;

impl Run<'_> {
    /// Makes the final graph of the trained codes, refined in the ways that the effort allows or as they are: training has
    /// fitted the network to its codes, so that a refinement may cost more than it saves. Where size is the budget, the most
    /// accurate way counts; otherwise the first that loses no more than allowed, the strongest first. If all lose more, it is
    /// made again from the best state seen during training, and with ever finer steps.
    ///
    /// # Errors
    /// If the network cannot be run or written.
    pub fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome, CompressError> {
        let (step_size, by_size) = (self.step_size, self.options.budget.bytes(self.parameters).is_some());
        self.layers.iter_mut().for_each(|layer| layer.fix_step(step_size));
        let feedback = self.options.epochs == 0 && self.options.effort != Effort::Low;
        if feedback {
            self.measure_feedback(observer)?;
        }
        let mut refinements = self.options.effort.refinements(feedback).to_vec();
        let mut outcome = self.candidate(refinements[0], observer)?;
        if self.options.epochs > 0 && self.step_size > step_size {
            self.step_size = step_size;
            refinements.splice(1..1, self.fitting_refinement(refinements[0])?);
        }
        for &refinement in &refinements[1..] {
            if outcome.holds && !by_size {
                break;
            }
            self.step_size = step_size;
            let next = self.candidate(refinement, observer)?;
            if (next.holds, next.after_tuning) > (outcome.holds, outcome.after_tuning) {
                outcome = next;
            }
        }
        if !outcome.holds && self.options.budget.max_drop.is_some() {
            outcome = self.retreat(outcome, observer)?;
        } else if self.options.epochs == 0 && !by_size {
            outcome = self.advance(outcome, refinements[0], observer)?;
        }
        observer.phase("rounding without training, for comparison");
        outcome.before_tuning = self.round_dense(outcome.bytes as f64)?;
        Ok(outcome)
    }

    /// The least refinement beyond `strongest`, at which the file is too large, that keeps its size budget with the steps that its codes
    /// were trained with: steps that are a few per cent coarser round all weights anew, which costs far more.
    fn fitting_refinement(&mut self, strongest: f32) -> Result<Option<f32>, CompressError> {
        let Some(limit) = self.size_limit().filter(|_| strongest > 0.0) else {
            return Ok(None);
        };
        let (mut weaker, mut stronger) = (strongest, strongest * STRONGER);
        while self.share(stronger, 1.0, limit)? > 1.0 {
            (weaker, stronger) = (stronger, stronger * STRONGER);
            if stronger > STRONGEST {
                return Ok(None);
            }
        }
        bisect(weaker, stronger, |strength| self.share(strength, 1.0, limit)).map(Some)
    }

    /// Bytes that the file may have but for its last metadata.
    fn size_limit(&self) -> Option<f64> {
        self.options.budget.bytes(self.parameters).map(|limit| limit - METADATA_SLACK)
    }

    /// Without training nobody else makes good what rounding does. A network that has been trained to its codes is best left with them.
    fn measure_feedback(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        observer.phase("measuring the inputs of layers");
        let weights: Vec<_> = self.layers.iter().map(|layer| layer.weight).collect();
        let batches = self.options.loader(self.data)?.epoch(self.options.epochs as usize + 2, 0).take(FEEDBACK_BATCHES);
        let graph = self.network.to_graph();
        self.feedback = feedback::measure(&mut self.network, &graph, &weights, batches, self.options.seed)?;
        Ok(())
    }

    /// Looks for an outcome that keeps the budget, near the one that does not; gives that back if there is none.
    fn retreat(&mut self, first: Outcome, observer: &mut dyn Observer) -> Result<Outcome, CompressError> {
        observer.notice("the last state is over budget: looking back for one that is not");
        let mut outcome = first.clone();
        if let Some((_, best)) = self.best.take() {
            self.restore(best)?;
            outcome = self.candidate(0.0, observer)?;
        }
        for _ in 0..FINER_ROUNDS {
            if outcome.holds || self.options.budget.bytes(self.parameters).is_some() {
                break;
            }
            self.step_size *= FINER;
            outcome = self.candidate(0.0, observer)?;
        }
        Ok(if outcome.holds { outcome } else { first })
    }

    /// The coarsest steps that lose no more than allowed, from ones that do: a network that is not trained was not brought there.
    fn advance(
        &mut self,
        first: Outcome,
        refinement: f32,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, CompressError> {
        let (mut best, mut largest, mut stride, mut too_far) = (first, self.step_size, COARSER, false);
        for _ in 0..COARSER_ROUNDS {
            self.step_size = largest * stride;
            let next = self.candidate(refinement, observer)?;
            if next.holds {
                (best, largest) = (next, self.step_size);
            } else {
                too_far = true;
            }
            // Large strides up to the first that goes too far, then ever smaller ones.
            if too_far {
                stride = stride.sqrt();
            }
            if stride < LEAST_STRIDE {
                break;
            }
        }
        Ok(best)
    }

    fn candidate(&mut self, refinement: f32, observer: &mut dyn Observer) -> Result<Outcome, CompressError> {
        observer.phase("choosing the final codes");
        let (graph, bytes) = self.fit(refinement)?;
        observer.phase("evaluating the result");
        let validation = &self.data.validation;
        let predictions = predict(&graph, validation, &self.options.normalization, &|_| {})?;
        let after_tuning = accuracy(&predictions, validation);
        let (dense, before_tuning) = (self.dense_accuracy, f64::NAN);
        let holds = self.options.budget.holds(self.parameters, bytes, dense - after_tuning);
        Ok(Outcome { graph, bytes, predictions, dense, before_tuning, after_tuning, holds })
    }

    /// The graph of the trained codes, its steps fitted so that the file fills the size budget, if there is one.
    fn fit(&mut self, refinement: f32) -> Result<(Graph, usize), CompressError> {
        let limit = self.size_limit();
        if let Some(limit) = limit {
            self.step_size *= self.fitting_factor(refinement, limit)?;
        }
        for _ in 0..NUDGES {
            self.round();
            let coded = self.coded(refinement);
            let (graph, bytes) = self.measured_graph(coded)?;
            // Biases follow from statistics, so the last byte is known only now.
            if limit.is_none_or(|limit| bytes as f64 <= limit) {
                return Ok((graph, bytes));
            }
            self.step_size *= NUDGE;
        }
        self.round();
        let coded = self.coded(refinement);
        self.measured_graph(coded)
    }

    /// The factor on the global step at which the file just keeps `limit` bytes, by bisection of its logarithm.
    fn fitting_factor(&mut self, refinement: f32, limit: f64) -> Result<f32, CompressError> {
        let (mut finer, mut coarser) = (1.0f32, 1.0f32);
        for _ in 0..FIT_ROUNDS {
            if self.share(refinement, coarser, limit)? <= 1.0 {
                break;
            }
            (finer, coarser) = (coarser, coarser * WIDER);
        }
        if coarser == 1.0 {
            if self.options.epochs > 0 {
                // The network has been trained to these steps: others, even finer ones, round it to codes that it does not know.
                return Ok(1.0);
            }
            finer = 1.0 / WIDER;
        }
        bisect(finer, coarser, |factor| self.share(refinement, factor, limit))
    }

    /// Bytes of the file over `limit` if steps were `factor` times what they are.
    fn share(&mut self, refinement: f32, factor: f32, limit: f64) -> Result<f64, CompressError> {
        let step_size = self.step_size;
        self.step_size *= factor;
        self.round();
        let bytes = self.file_bytes(self.coded(refinement));
        self.step_size = step_size;
        Ok(bytes? as f64 / limit)
    }

    /// The codes of all weights, chosen for the file.
    fn coded(&self, refinement: f32) -> Vec<CodedWeight> {
        let step_size = self.step_size;
        let coded = self.layers.par_iter().enumerate().map(|(index, layer)| {
            let feedback = self.feedback.get(index).and_then(Option::as_ref);
            let codes = refine(layer, feedback, step_size, refinement);
            CodedWeight { weight: layer.weight, codes, scales: vec![layer.scale(step_size); layer.shape.outputs] }
        });
        coded.collect()
    }

    /// Bytes of the file with these codes and the statistics as they are.
    fn file_bytes(&self, coded: Vec<CodedWeight>) -> Result<usize, CompressError> {
        let graph = finish(self.network.to_graph(), coded)?;
        Ok(start::file(graph, &self.options.metadata)?.len())
    }

    /// The graph of these codes, with statistics measured for them, and the bytes of its file.
    fn measured_graph(&mut self, coded: Vec<CodedWeight>) -> Result<(Graph, usize), CompressError> {
        for (layer, coded) in self.layers.iter().zip(&coded) {
            layer.write_weights(&coded.codes, self.step_size, self.network.parameter_mut(layer.weight));
        }
        self.measure_statistics()?;
        let graph = finish(self.network.to_graph(), coded)?;
        let bytes = start::file(graph.clone(), &self.options.metadata)?.len();
        Ok((graph, bytes))
    }

    /// Batch-norm statistics of the network with the codes as weights.
    fn measure_statistics(&mut self) -> Result<(), CompressError> {
        let epoch = self.options.epochs as usize + 1;
        let batches = self.options.loader(self.data)?.epoch(epoch, 0).take(STATISTICS_BATCHES);
        // The file will be run in single precision.
        self.network.set_precision(Precision::Fp32);
        self.network.reestimate_statistics(batches)?;
        self.network.set_precision(self.options.precision);
        Ok(())
    }

    /// Accuracy of the dense network rounded to a file of so many bytes, without training. Ends the run: network and
    /// latent weights are the dense ones afterwards.
    fn round_dense(&mut self, bytes: f64) -> Result<f64, CompressError> {
        self.expand(Survivors::default())?;
        self.solve(bytes);
        self.upload();
        self.measure_statistics()?;
        Ok(evaluate(&mut self.network, &self.data.validation, &self.options.normalization)?.top1)
    }
}

/// The least number at which a file keeps its budget, by bisection of the logarithm between one at which it is too large and one at
/// which it is not; the first that is found to fill the budget. `share` is the part of the budget that it takes.
fn bisect<E>(mut too_small: f32, mut enough: f32, mut share: impl FnMut(f32) -> Result<f64, E>) -> Result<f32, E> {
    for _ in 0..FIT_ROUNDS {
        let middle = (too_small * enough).sqrt();
        let share = share(middle)?;
        if share > 1.0 {
            too_small = middle;
            continue;
        }
        enough = middle;
        if share >= FILLED {
            break;
        }
    }
    Ok(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_ends_in_what_fits_and_stops_when_the_budget_is_filled() {
        let mut calls = 0;
        let found = bisect(1.0, 4.0, |x| {
            calls += 1;
            Ok::<_, ()>(3.0 / f64::from(x))
        });
        assert!(found.is_ok_and(|x| (3.0..=3.0 / 0.985).contains(&x)), "{found:?}");
        assert!(calls < FIT_ROUNDS);
        // Nothing fills it: the size jumps.
        let found = bisect(1.0, 4.0, |x| Ok::<_, ()>(if x < 2.5 { 1.5 } else { 0.5 }));
        assert!(found.is_ok_and(|x| (2.5..2.502).contains(&x)), "{found:?}");
        assert_eq!(bisect(1.0, 4.0, |_| Ok::<_, ()>(1.1)), Ok(4.0));
        assert_eq!(bisect(1.0, 4.0, |_| Err("a full disk")), Err("a full disk"));
    }
}
