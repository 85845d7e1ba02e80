//! Training runs on the embedded digits: progress, determinism, resume, recovery.

mod support;

use std::{cell::Cell, time::Duration};

use gaunt_data::Split;
use gaunt_graph::{
    Graph,
    zoo::{self, Arch},
};
use gaunt_train::{
    Checkpoint, Checkpoints, Device, EpochMetrics, Growth, Network, Precision, Progress, TrainError, TrainOptions,
    TrainOutcome, evaluate, optim::Algorithm, schedule::Schedule, train,
};
use support::{digits, digits_graph, digits_normalization, digits_options};

/// Stops after so many steps, and writes down what it hears.
#[derive(Default)]
struct Listener {
    stop_after: Option<u64>,
    steps: Cell<u64>,
    losses: Vec<f64>,
    epochs: Vec<EpochMetrics>,
    rollbacks: Vec<(u64, u64, f32)>,
}

impl Progress for Listener {
    fn on_step(&mut self, _step: u64, _total: u64, loss: f64) {
        self.steps.set(self.steps.get() + 1);
        self.losses.push(loss);
    }

    fn on_epoch(&mut self, metrics: &EpochMetrics) {
        self.epochs.push(metrics.clone());
    }

    fn on_rollback(&mut self, from: u64, to: u64, rate_share: f32) {
        self.rollbacks.push((from, to, rate_share));
    }

    fn should_stop(&self) -> bool {
        self.stop_after.is_some_and(|stop| self.steps.get() >= stop)
    }
}

fn run(options: &TrainOptions, listener: &mut Listener) -> Result<(Graph, TrainOutcome), TrainError> {
    let mut network = Network::new(&digits_graph(), &Device::flex())?;
    let outcome = train(&mut network, None, &digits(Split::Train), None, options, listener)?;
    Ok((network.to_graph(), outcome))
}

#[test]
fn two_epochs_learn_the_digits() {
    let mut network = Network::new(&digits_graph(), &Device::flex()).unwrap();
    let validation = digits(Split::Val);
    let before = evaluate(&mut network, &validation, &digits_normalization()).unwrap();
    let mut listener = Listener::default();
    let options = digits_options();
    train(&mut network, None, &digits(Split::Train), Some(&validation), &options, &mut listener).unwrap();
    let after = evaluate(&mut network, &validation, &digits_normalization()).unwrap();

    let [first, second] = listener.epochs.as_slice() else { panic!("{} epochs", listener.epochs.len()) };
    assert!(second.loss < 0.75 * first.loss, "the loss went from {} to {}", first.loss, second.loss);
    assert_eq!(second.validation_top1, Some(after.top1));
    assert!(before.top1 < 40.0 && after.top1 > 60.0, "from {} to {}", before.top1, after.top1);
    assert_eq!(after.predictions.len(), validation.len());
}

#[test]
fn bfloat16_learns_as_single_precision_does() {
    let losses = |precision| {
        let mut network = Network::new(&digits_graph(), &Device::flex()).unwrap();
        network.set_precision(precision);
        let mut listener = Listener::default();
        train(&mut network, None, &digits(Split::Train), None, &digits_options(), &mut listener).unwrap();
        assert_eq!(network.precision(), precision);
        listener.losses
    };
    let (single, rounded) = (losses(Precision::Fp32), losses(Precision::Bf16));
    assert_ne!(single, rounded, "rounding shows");
    let end = |losses: &[f64]| losses[losses.len() - 10..].iter().sum::<f64>() / 10.0;
    assert!((end(&single) / end(&rounded) - 1.0).abs() < 0.1, "{} and {}", end(&single), end(&rounded));
}

#[test]
fn threads_leave_no_trace() {
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&digits_options(), &mut Listener::default())).unwrap().0
    };
    let one = with_threads(1);
    assert!(one == with_threads(2), "1 and 2 threads gave different networks");
    assert!(one == with_threads(3), "1 and 3 threads gave different networks");
}

#[test]
fn a_resumed_run_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, resume| Checkpoints { path: folder.path().join(name), interval: Duration::ZERO, resume };
    let undisturbed = TrainOptions { batch_size: 16, checkpoints: Some(file("a", false)), ..digits_options() };
    let (expected, outcome) = run(&undisturbed, &mut Listener::default()).unwrap();
    assert!(!outcome.stopped);

    let mut parts = 0;
    let disturbed = TrainOptions { checkpoints: Some(file("b", true)), ..undisturbed.clone() };
    let found = loop {
        parts += 1;
        let mut listener = Listener { stop_after: Some(61), ..Listener::default() };
        let (graph, outcome) = run(&disturbed, &mut listener).unwrap();
        if !outcome.stopped {
            break graph;
        }
    };
    assert!(parts > 2, "the run was never disturbed");
    assert!(found == expected, "the resumed run gave another network");
    let bytes = ["a", "b"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert!(bytes[0] == bytes[1], "the last checkpoints differ");
}

#[test]
fn images_that_grow_teach_and_survive_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, resume| Checkpoints { path: folder.path().join(name), interval: Duration::ZERO, resume };
    let growth = Some(Growth { first: 4, share: 0.5 });
    let undisturbed = TrainOptions { growth, epochs: 6, checkpoints: Some(file("a", false)), ..digits_options() };
    let mut network = Network::new(&digits_graph(), &Device::flex()).unwrap();
    let validation = digits(Split::Val);
    let mut listener = Listener::default();
    train(&mut network, None, &digits(Split::Train), Some(&validation), &undisturbed, &mut listener).unwrap();
    let expected = network.to_graph();
    assert_eq!(expected.values[expected.inputs[0].index()].shape, digits_graph().values[0].shape);
    let accuracies: Vec<f64> = listener.epochs.iter().filter_map(|epoch| epoch.validation_top1).collect();
    assert!(accuracies.len() == 6 && accuracies[5] > 60.0, "{accuracies:?}");

    let disturbed = TrainOptions { checkpoints: Some(file("b", true)), ..undisturbed.clone() };
    let found = loop {
        let mut listener = Listener { stop_after: Some(41), ..Listener::default() };
        let (graph, outcome) = run(&disturbed, &mut listener).unwrap();
        assert_eq!(graph.values[0].shape, digits_graph().values[0].shape);
        if !outcome.stopped {
            break graph;
        }
    };
    assert!(found == expected, "the resumed run gave another network");
}

#[test]
fn a_network_that_cannot_take_small_images_is_named() {
    let graph = zoo::build(Arch::Vgg16, 10, [1, 32, 32], 0).unwrap();
    let mut network = Network::new(&graph, &Device::flex()).unwrap();
    let error = network.resize_images([16, 16]).unwrap_err().to_string();
    assert!(error.contains("features."), "{error}");
    assert_eq!(network.to_graph().values[0].shape, graph.values[0].shape);
}

#[test]
fn a_checkpoint_of_other_options_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints { path: folder.path().join("state"), interval: Duration::ZERO, resume: true };
    let options = TrainOptions { checkpoints: Some(checkpoints.clone()), ..digits_options() };
    let mut listener = Listener { stop_after: Some(1), ..Listener::default() };
    run(&options, &mut listener).unwrap();
    let message = |result: Result<_, TrainError>| result.map(|_| ()).unwrap_err().to_string();

    let other = TrainOptions { seed: 2, ..options.clone() };
    assert!(message(run(&other, &mut listener)).contains("seed: 1"));
    let mut damaged = std::fs::read(&checkpoints.path).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&checkpoints.path, damaged).unwrap();
    assert!(message(run(&options, &mut listener)).contains("checksum"));
}

#[test]
fn divergence_rolls_back_and_halves_the_rate() {
    let options = TrainOptions {
        algorithm: Algorithm::Sgd { momentum: 0.99, nesterov: false },
        rate: 1e30,
        schedule: Schedule::Constant,
        ..digits_options()
    };
    let mut listener = Listener::default();
    let error = run(&options, &mut listener).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { attempts: 9, .. }), "{error}");
    let shares: Vec<f32> = listener.rollbacks.iter().map(|&(_, _, share)| share).collect();
    assert_eq!(shares[..3], [0.5, 0.25, 0.125]);
    assert!(listener.rollbacks.iter().all(|&(from, to, _)| from > to));
}

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let graph = digits_graph();
    let mut teacher = Network::new(&graph, &Device::flex()).unwrap();
    let data = digits(Split::Train);
    train(&mut teacher, None, &data, None, &digits_options(), &mut ()).unwrap();
    let mut options = digits_options();
    options.distillation.weight = 1.0;
    let mut student = Network::new(&graph, &Device::flex()).unwrap();
    let mut listener = Listener::default();
    train(&mut student, Some(&mut teacher), &data, None, &options, &mut listener).unwrap();
    let (first, last) = (listener.losses[0], listener.losses[listener.losses.len() - 1]);
    assert!(last < 0.3 * first, "divergence from the teacher went from {first} to {last}");
}

#[test]
fn a_teacher_sees_images_at_their_own_size_while_they_grow() {
    let graph = digits_graph();
    let (mut teacher, mut student) =
        (Network::new(&graph, &Device::flex()).unwrap(), Network::new(&graph, &Device::flex()).unwrap());
    let mut options = TrainOptions { rate: 0.0, epochs: 2, ..digits_options() };
    (options.distillation.weight, options.weight_decay) = (1.0, 0.0);
    // The student is the teacher's double, and learns nothing: it differs by what it sees.
    let mut divergences = |growth| {
        let (options, mut listener) = (TrainOptions { growth, ..options.clone() }, Listener::default());
        train(&mut student, Some(&mut teacher), &digits(Split::Train), None, &options, &mut listener).unwrap();
        listener.epochs.iter().map(|epoch| epoch.loss).collect::<Vec<f64>>()
    };
    let same = divergences(None);
    let grown = divergences(Some(Growth { first: 4, share: 0.5 }));
    assert!(grown[0] > 1.3 * same[0], "{grown:?}, with images of the same size {same:?}");
    assert_eq!(grown[1], same[1], "at their own size the images are the same");
}

#[test]
fn a_checkpoint_names_its_arrays_for_people() {
    let mut checkpoint = Checkpoint::new();
    let network = Network::new(&digits_graph(), &Device::flex()).unwrap();
    network.save(&mut checkpoint);
    for parameter in network.parameters() {
        let stored = checkpoint.floats(&format!("network.{}", parameter.name)).unwrap();
        assert_eq!(stored, network.parameter(parameter.value));
    }
}
