//! Runs from which dead channels leave on the way: whatever state is taken up, the same bytes come out.

use std::sync::Arc;

use gaunt_compress::{
    Budget, CompressError, Effort, Method, Metrics, Observer, Options, Outcome, Overrides, Run, Snapshot, TrainingData,
};
use gaunt_data::{Augment, OpenOptions, Source, Split, open_split};
use gaunt_format::Metadata;
use gaunt_graph::{
    Graph,
    zoo::{Arch, build},
};
use gaunt_train::{Checkpoint, CheckpointError, Device, Precision};

/// Keeps all states; stops the run at the first look after channels have left, if that is asked for.
#[derive(Default)]
struct Recorder {
    stops: bool,
    states: Vec<Checkpoint>,
    /// Number of states when channels left.
    compactions: Vec<usize>,
}

impl Observer for Recorder {
    fn evaluated(&mut self, metrics: &Metrics) {
        assert!((0.0..=1.0).contains(&metrics.sparsity), "{metrics:?}");
    }
    fn notice(&mut self, text: &str) {
        if text.contains("dead channels have left") {
            self.compactions.push(self.states.len());
        }
    }
    fn save(&mut self, which: Snapshot, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        if which == Snapshot::Latest {
            self.states.push(checkpoint.clone());
        }
        Ok(())
    }
    fn interrupted(&self) -> bool {
        self.stops && !self.compactions.is_empty()
    }
}

fn data() -> TrainingData {
    let split = |split| Arc::new(open_split(&Source::Digits, split, &OpenOptions::default()).unwrap());
    TrainingData { train: split(Split::Train), validation: split(Split::Val) }
}

fn options(method: Method) -> Options {
    Options {
        budget: Budget { ratio: Some(100.0), ..Budget::default() },
        method,
        overrides: Overrides::default(),
        epochs: 12,
        effort: Effort::default(),
        batch: 32,
        precision: Precision::Fp32,
        seed: 3,
        normalization: Source::Digits.default_normalization(1).unwrap(),
        augment: Augment::NONE,
        views: None,
        metadata: Metadata::default(),
    }
}

fn graph() -> Graph {
    build(Arch::Lenet5, 10, [1, 8, 8], 0).unwrap()
}

fn assert_same(found: &Outcome, expected: &Outcome) {
    assert_eq!(found.graph, expected.graph);
    assert_eq!(found.predictions, expected.predictions);
    assert_eq!((found.bytes, found.before_tuning), (expected.bytes, expected.before_tuning));
}

#[test]
fn a_run_goes_on_from_any_state_and_ends_in_the_same_file() {
    for method in [Method::Joint, Method::Uniform] {
        let (data, options, device) = (data(), options(method), Device::flex());
        let run = |observer: &mut Recorder| Run::new(&graph(), &data, &options, &device, observer).unwrap();

        let mut recorder = Recorder::default();
        let mut whole = run(&mut recorder);
        whole.train(&mut recorder).unwrap();
        let expected = whole.finish(&mut recorder).unwrap();
        let first = recorder.compactions[0];

        // Stopped after channels have left, and taken up by a new run.
        let mut stopped = Recorder { stops: true, ..Recorder::default() };
        let error = run(&mut stopped).train(&mut stopped).unwrap_err();
        assert!(matches!(error, CompressError::Interrupted), "{error}");
        let mut resumed = run(&mut stopped);
        resumed.restore(stopped.states.last().unwrap().clone()).unwrap();
        stopped.stops = false;
        resumed.train(&mut stopped).unwrap();
        assert_same(&resumed.finish(&mut stopped).unwrap(), &expected);

        // From the end back to a state in which all channels were there.
        let mut again = run(&mut recorder);
        again.restore(recorder.states.last().unwrap().clone()).unwrap();
        again.restore(recorder.states[first - 1].clone()).unwrap();
        again.train(&mut recorder).unwrap();
        assert_same(&again.finish(&mut recorder).unwrap(), &expected);
    }
}
