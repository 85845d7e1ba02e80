//! Dead channels leave the network while it is trained, so that steps get cheaper as the file gets smaller.
//!
//! What is dead, and what is left of every parameter, is [`gaunt_graph::rewrite`]'s to say. Latent weights, moments
//! of the optimiser and statistics of those that live go on as they are, so that the next step is the one that the
//! network would have taken anyway. The dense network stays whole: sizes and ratios keep their meaning.

use std::mem;

use gaunt_graph::{
    Graph, Tensor, ValueId,
    rewrite::{DeadChannels, Mode, Survivors},
};
use gaunt_train::Network;

use crate::{CompressError, Observer, Run, options::COMPACTION, rate::CodeShape, run, start};

impl Run<'_> {
    /// Takes out the channels that were dead at this evaluation and at the one before, if they cost enough.
    ///
    /// A weight whose code is zero is trained on and may come back, which it cannot once it is gone. So death is believed
    /// only after an interval between evaluations; then the pull of the rate has had hundreds of steps to press the latent
    /// weights to zero, with no gradient against it. Nothing is gained by waiting longer: while the file shrinks, steps
    /// of the quantiser grow and channels only die.
    pub(crate) fn compact(&mut self, observer: &mut dyn Observer) -> Result<(), CompressError> {
        let whole = self.network.to_graph();
        let living = DeadChannels::find(&whole, Mode::Training, |_, _| true);
        let living = mem::replace(&mut self.living, self.survivors.then(living.survivors()));
        let dead = DeadChannels::find(&whole, Mode::Training, |value, channel| {
            !living.hold(value, self.survivors.original(value, channel))
        });
        let mut graph = whole.clone();
        dead.remove(&mut graph);
        let work = |graph: &Graph| graph.multiplications() as f64;
        if work(&graph) > (1.0 - COMPACTION) * work(&whole) {
            return Ok(());
        }
        self.take_out(&dead, &whole, &graph)?;
        observer.notice(&format!(
            "{} dead channels have left the network; a step takes {:.1} % of the multiplications of the first one",
            dead.count(),
            100.0 * work(&graph) / work(&self.teachers.dense.to_graph())
        ));
        Ok(())
    }

    /// Goes on with `graph`, which is `whole` without the dead.
    fn take_out(&mut self, dead: &DeadChannels, whole: &Graph, graph: &Graph) -> Result<(), CompressError> {
        for selection in dead.survivors().selections(whole) {
            let kept = selection.elements(shape(whole, selection.parameter));
            if let Some(index) = self.layers.iter().position(|layer| layer.weight == selection.parameter) {
                let shape = CodeShape::of(shape(graph, selection.parameter));
                self.layers[index].keep(shape, &kept);
                self.optimizer.keep_elements(index, &kept);
            } else if let Some(index) = self.others.iter().position(|&value| value == selection.parameter) {
                self.optimizer.keep_elements(self.layers.len() + index, &kept);
            }
        }
        self.network = Network::new(graph, &self.device)?.with_precision(self.options.precision);
        self.survivors = self.survivors.then(dead.survivors());
        self.size.overhead = start::overhead(graph, &self.options.metadata)?;
        self.size.calibrate(&self.layers);
        Ok(())
    }

    /// Starts again from the dense weights of these channels, with nothing learnt but the quantiser's steps.
    pub(crate) fn expand(&mut self, survivors: Survivors) -> Result<(), CompressError> {
        let mut graph = self.teachers.dense.to_graph();
        if !survivors.fit(&graph) {
            return Err(CompressError::Mismatch("it has other channels".into()));
        }
        survivors.keep_in(&mut graph);
        self.network = Network::new(&graph, &self.device)?.with_precision(self.options.precision);
        for layer in &mut self.layers {
            layer.restart(CodeShape::of(shape(&graph, layer.weight)), self.network.parameter(layer.weight));
        }
        self.optimizer = run::optimizer(&self.network, &self.layers, &self.others);
        self.size.overhead = start::overhead(&graph, &self.options.metadata)?;
        self.survivors = survivors;
        Ok(())
    }
}

fn shape(graph: &Graph, parameter: ValueId) -> &[usize] {
    graph.value(parameter).tensor.as_ref().map(Tensor::shape).unwrap_or_default()
}

/// Survivors as a checkpoint holds them: for each value its id, the number of channels that are left, and those.
pub(crate) fn to_integers(survivors: &Survivors) -> Vec<u64> {
    let entries = survivors.iter().flat_map(|(value, left)| {
        let channels = left.iter().map(|&channel| channel as u64);
        [u64::from(value.0), left.len() as u64].into_iter().chain(channels)
    });
    entries.collect()
}

/// Undoes [`to_integers`].
pub(crate) fn from_integers(mut integers: &[u64]) -> Result<Survivors, CompressError> {
    let mut entries = Vec::new();
    while let &[value, count, ref rest @ ..] = integers {
        let left = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
        let (Ok(value), Some((left, rest))) = (u32::try_from(value), left) else { break };
        entries.push((ValueId(value), left.iter().map(|&channel| channel as usize).collect()));
        integers = rest;
    }
    if integers.is_empty() {
        return Ok(entries.into_iter().collect());
    }
    Err(CompressError::Mismatch("its list of channels is cut short".into()))
}

#[cfg(test)]
mod tests {
    use gaunt_graph::zoo::{Arch, build};
    use gaunt_train::Device;

    use super::*;
    use crate::testing::{Deaf, digits, options};

    /// Empties every third filter, and what reads it, of a network with batch norm and a residual trunk.
    #[test]
    fn logits_and_the_next_codes_stay() {
        let (data, options) = (digits(), options());
        let graph = build(Arch::Resnet20, 10, [1, 8, 8], 0).unwrap();
        let mut run = Run::new(&graph, &data, &options, &Device::flex(), &mut Deaf).unwrap();
        run.train(&mut Deaf).unwrap();
        for layer in &mut run.layers {
            let CodeShape { inputs, taps, .. } = layer.shape;
            let weights = layer.latent.iter_mut().enumerate();
            weights
                .filter(|(i, _)| i / taps / inputs % 3 == 1 || i / taps % inputs % 3 == 1)
                .for_each(|(_, u)| *u = 0.0);
        }
        run.round();
        run.upload();
        let images = data.validation.batches(32, &options.normalization).unwrap().next().unwrap().images;
        let before = run.network.logits(&images, 32).unwrap();
        let dead = DeadChannels::find(&run.network.to_graph(), Mode::Training, |_, _| true);
        run.living = dead.survivors().clone();
        run.compact(&mut Deaf).unwrap();
        assert!(run.survivors == *dead.survivors() && dead.count() > 100, "{} channels are dead", dead.count());
        let after = run.network.logits(&images, 32).unwrap();
        let codes: Vec<Vec<i32>> = run.layers.iter().map(|layer| layer.codes.clone()).collect();
        run.round();
        assert!(run.layers.iter().zip(codes).all(|(layer, codes)| layer.codes == codes));
        let size = before.iter().fold(0.0f32, |size, logit| size.max(logit.abs()));
        for (after, before) in after.iter().zip(&before) {
            assert!((after - before).abs() <= 1e-5 * size, "{after} instead of {before}");
        }
    }

    #[test]
    fn survivors_come_back_from_a_checkpoint() {
        let survivors: Survivors = [(ValueId(7), vec![0, 3]), (ValueId(9), vec![1])].into_iter().collect();
        let integers = to_integers(&survivors);
        assert_eq!(from_integers(&integers).unwrap(), survivors);
        assert_eq!(from_integers(&[]).unwrap(), Survivors::default());
        for len in [1, 3, integers.len() - 1] {
            assert!(from_integers(&integers[..len]).is_err(), "{len}");
        }
        assert!(from_integers(&[u64::MAX, 0]).is_err() && from_integers(&[1, u64::MAX, 2]).is_err());
    }
}
