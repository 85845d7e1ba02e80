//! The end of a compression: final codes, the graph of the file, and whether the budget holds.

use gaunt_graph::Graph;
use gaunt_train::evaluate;

use crate::{
    CompressError, Observer, Run, accuracy,
    finish::{CodedWeight, finish},
    options::STATISTICS_BATCHES,
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

/// Times that the final codes are made coarser to keep a size.
const FIT_ROUNDS: usize = 24;

impl Run<'_> {
    /// Makes the final graph of the trained codes. If it loses more than the budget allows, the best state seen
    /// during training is taken instead.
    ///
    /// # Errors
    /// If the network cannot be run or written.
    pub fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome, CompressError> {
        let mut outcome = self.candidate(observer)?;
        if !outcome.holds
            && let Some((_, best)) = self.best.take()
        {
            observer.notice("the last state is over budget: taking the best one that was not");
            self.restore(&best)?;
            let other = self.candidate(observer)?;
            if other.holds {
                outcome = other;
            }
        }
        observer.phase("rounding without training, for comparison");
        outcome.before_tuning = self.round_dense(outcome.bytes as f64)?;
        Ok(outcome)
    }

    fn candidate(&mut self, observer: &mut dyn Observer) -> Result<Outcome, CompressError> {
        observer.phase("choosing the final codes");
        let (graph, bytes) = self.fit()?;
        observer.phase("evaluating the result");
        let validation = &self.data.validation;
        let predictions = predict(&graph, validation, &self.options.normalization, &|_| {})?;
        let after_tuning = accuracy(&predictions, validation);
        let (dense, before_tuning) = (self.dense_accuracy, f64::NAN);
        let holds = self.options.budget.holds(self.parameters, bytes, dense - after_tuning);
        Ok(Outcome { graph, bytes, predictions, dense, before_tuning, after_tuning, holds })
    }

    /// The graph of the current codes, made coarser until its file keeps the size budget.
    fn fit(&mut self) -> Result<(Graph, usize), CompressError> {
        let limit = self.options.budget.bytes(self.parameters).unwrap_or(f64::INFINITY);
        let mut rounds = 0;
        loop {
            let graph = self.coded_graph()?;
            let bytes = start::file(graph.clone(), &self.options.metadata)?.len();
            rounds += 1;
            if bytes as f64 <= limit || rounds == FIT_ROUNDS {
                return Ok((graph, bytes));
            }
            // Bytes fall more slowly than steps grow.
            self.step_size *= 1.002 * (bytes as f64 / limit).powf(1.5) as f32;
            self.round();
        }
    }

    fn coded_graph(&mut self) -> Result<Graph, CompressError> {
        self.measure_statistics()?;
        let coded = self.layers.iter().map(|layer| CodedWeight {
            weight: layer.weight,
            codes: refine(layer, self.step_size),
            scales: layer.scales(self.step_size).collect(),
        });
        let coded: Vec<CodedWeight> = coded.collect();
        for (layer, refined) in self.layers.iter_mut().zip(&coded) {
            layer.codes.copy_from_slice(&refined.codes);
        }
        self.upload();
        self.measure_statistics()?;
        Ok(finish(self.network.to_graph(), coded)?)
    }

    /// Batch-norm statistics of the network with the codes as weights.
    fn measure_statistics(&mut self) -> Result<(), CompressError> {
        let epoch = self.options.epochs as usize + 1;
        let batches = self.options.loader(self.data)?.epoch(epoch, 0).take(STATISTICS_BATCHES);
        Ok(self.network.reestimate_statistics(batches)?)
    }

    /// Accuracy of the dense network rounded to a file of so many bytes, without training. Ends the run: latent
    /// weights are the dense ones afterwards.
    fn round_dense(&mut self, bytes: f64) -> Result<f64, CompressError> {
        self.forget_training();
        self.solve(bytes);
        self.upload();
        self.measure_statistics()?;
        Ok(evaluate(&mut self.network, &self.data.validation, &self.options.normalization)?.top1)
    }
}
