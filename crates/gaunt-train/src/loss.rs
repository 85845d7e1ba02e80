//! The loss: cross entropy with label smoothing, and distillation from a teacher's logits.
//!
//! It is computed on the host, in a fixed order and in `f64` where sums are long, so that it is the same for any
//! number of threads and any device. Logits are few; only their gradient goes back to the device.

use gaunt_kernels::profile;

use crate::TrainError;

/// What the logits of a batch should have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target<'a> {
    /// The class of each image.
    pub labels: &'a [usize],
    /// Share of the probability that is spread evenly over all classes, in `0..1`.
    pub smoothing: f32,
    /// A network to imitate.
    pub teacher: Option<Teacher<'a>>,
}

/// Distillation (Hinton, Vinyals and Dean, *Distilling the knowledge in a neural network*, 2015): the loss becomes
/// `(1 - weight) * cross entropy + weight * temperature^2 * KL(teacher || student)`, with both softened by the
/// temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Teacher<'a> {
    /// The teacher's logits for the batch, `[batch, classes]`.
    pub logits: &'a [f32],
    /// Positive; higher is softer.
    pub temperature: f32,
    /// Share of the distillation in the loss, in `0..=1`.
    pub weight: f32,
}

impl Teacher<'_> {
    /// A temperature that is right for images of few classes, where nothing else is known.
    pub const TEMPERATURE: f32 = 3.0;
}

impl<'a> Target<'a> {
    /// Plain cross entropy against labels.
    pub fn labels(labels: &'a [usize]) -> Self {
        Self { labels, smoothing: 0.0, teacher: None }
    }
}

/// A loss, and how it changes with the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Mean over the batch, in nats.
    pub value: f64,
    /// Images whose largest logit is that of their label.
    pub correct: usize,
    /// Derivative of `value` by each logit, `[batch, classes]`.
    pub gradient: Vec<f32>,
}

impl Loss {
    /// The loss of `logits [batch, classes]` against `target`.
    ///
    /// # Errors
    /// If the counts of logits, labels and teacher's logits do not fit together or a label is not a class.
    pub fn new(logits: &[f32], target: &Target) -> Result<Self, TrainError> {
        let _timer = profile::timer("loss");
        let classes = check(logits, target)?;
        let mut loss = Loss { value: 0.0, correct: 0, gradient: Vec::with_capacity(logits.len()) };
        let scale = 1.0 / target.labels.len() as f64;
        let mut row = Row::new(classes);
        for (i, (logits, &label)) in logits.chunks_exact(classes).zip(target.labels).enumerate() {
            let mut value = row.cross_entropy(logits, label, f64::from(target.smoothing));
            if let Some(teacher) = target.teacher {
                value = row.distil(logits, &teacher.logits[i * classes..][..classes], &teacher, value);
            }
            loss.value += value * scale;
            loss.correct += usize::from(argmax(logits) == label);
            loss.gradient.extend(row.gradient.iter().map(|&g| (g * scale) as f32));
        }
        Ok(loss)
    }
}

/// The index of the largest element, the first of equal ones; 0 for an empty slice.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}

fn check(logits: &[f32], target: &Target) -> Result<usize, TrainError> {
    let images = target.labels.len();
    if images == 0 || logits.is_empty() || !logits.len().is_multiple_of(images) {
        let reason = format!("{} logits do not divide into {images} labelled images", logits.len());
        return Err(TrainError::Target(reason));
    }
    let classes = logits.len() / images;
    if let Some((i, label)) = target.labels.iter().enumerate().find(|&(_, &label)| label >= classes) {
        let reason =
            format!("image {i} of the batch has label {label}, but the network knows classes 0 to {}", classes - 1);
        return Err(TrainError::Target(reason));
    }
    match target.teacher {
        Some(teacher) if teacher.logits.len() != logits.len() => {
            let reason = format!("the teacher gave {} logits, but the network {}", teacher.logits.len(), logits.len());
            Err(TrainError::Target(reason))
        }
        _ => Ok(classes),
    }
}

/// Buffers for one image.
struct Row {
    gradient: Vec<f64>,
    student: Vec<f64>,
    teacher: Vec<f64>,
}

impl Row {
    fn new(classes: usize) -> Self {
        let zeros = vec![0.0; classes];
        Self { gradient: zeros.clone(), student: zeros.clone(), teacher: zeros }
    }

    /// Sets the gradient, returns the loss.
    fn cross_entropy(&mut self, logits: &[f32], label: usize, smoothing: f64) -> f64 {
        log_softmax(logits, 1.0, &mut self.student);
        let even = smoothing / logits.len() as f64;
        let mut value = 0.0;
        for (i, (gradient, &log)) in self.gradient.iter_mut().zip(&self.student).enumerate() {
            let wanted = even + if i == label { 1.0 - smoothing } else { 0.0 };
            value -= wanted * log;
            *gradient = log.exp() - wanted;
        }
        value
    }

    /// Mixes the distillation into the gradient and the loss so far, returns the loss.
    fn distil(&mut self, logits: &[f32], teacher_logits: &[f32], teacher: &Teacher, value: f64) -> f64 {
        let (temperature, weight) = (f64::from(teacher.temperature), f64::from(teacher.weight));
        log_softmax(logits, temperature, &mut self.student);
        log_softmax(teacher_logits, temperature, &mut self.teacher);
        let mut divergence = 0.0;
        for ((gradient, &student), &teacher) in self.gradient.iter_mut().zip(&self.student).zip(&self.teacher) {
            let wanted = teacher.exp();
            divergence += wanted * (teacher - student);
            *gradient = (1.0 - weight) * *gradient + weight * temperature * (student.exp() - wanted);
        }
        (1.0 - weight) * value + weight * temperature * temperature * divergence
    }
}

/// `log softmax(logits / temperature)`.
fn log_softmax(logits: &[f32], temperature: f64, out: &mut [f64]) {
    let largest = f64::from(logits[argmax(logits)]);
    let mut sum = 0.0;
    for (out, &logit) in out.iter_mut().zip(logits) {
        *out = (f64::from(logit) - largest) / temperature;
        sum += out.exp();
    }
    let log = sum.ln();
    out.iter_mut().for_each(|out| *out -= log);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [2.0, 1.0, 0.1, -1.0, 0.5, 3.0];

    /// `F.cross_entropy` gives 0.4170300 and 2.5956743 for the images, 1.5063522 on average.
    #[test]
    fn cross_entropy_by_hand() {
        let loss = Loss::new(&LOGITS, &Target::labels(&[0, 1])).unwrap();
        assert!((loss.value - 1.506_352_2).abs() < 1e-6, "{}", loss.value);
        assert_eq!(loss.correct, 1);
        let row: f32 = loss.gradient[..3].iter().sum();
        assert!(row.abs() < 1e-7, "gradients of a softmax sum to zero, not {row}");
        assert!((loss.gradient[0] - (0.659_001_2 - 1.0) / 2.0).abs() < 1e-6);
    }

    /// Smoothing 0.3 over 3 classes: 0.7 of the labelled loss plus 0.1 of every class's loss.
    #[test]
    fn smoothing_spreads_the_target() {
        let image = &LOGITS[..3];
        let of = |label| Loss::new(image, &Target::labels(&[label])).unwrap().value;
        let smooth = Loss::new(image, &Target { smoothing: 0.3, ..Target::labels(&[0]) }).unwrap().value;
        assert!((smooth - (0.7 * of(0) + 0.1 * (of(0) + of(1) + of(2)))).abs() < 1e-7);
    }

    /// Two classes, temperature 2: student softmax([0, 0]) = (1/2, 1/2), teacher softmax([ln 9, 0] / 2) = (3/4, 1/4).
    #[test]
    fn distillation_by_hand() {
        let teacher = Teacher { logits: &[9f32.ln(), 0.0], temperature: 2.0, weight: 0.25 };
        let loss = Loss::new(&[0.0, 0.0], &Target { teacher: Some(teacher), ..Target::labels(&[1]) }).unwrap();
        let divergence = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((loss.value - (0.75 * 2f64.ln() + 0.25 * 4.0 * divergence)).abs() < 1e-7, "{}", loss.value);
        assert!((loss.gradient[0] - (0.75 * 0.5 + 0.25 * 2.0 * (0.5 - 0.75))).abs() < 1e-6);
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let teacher = Teacher { logits: &[0.3, -2.0, 1.0, 1.5, 0.2, -0.7], temperature: 3.0, weight: 0.7 };
        let target = Target { labels: &[2, 1], smoothing: 0.1, teacher: Some(teacher) };
        let loss = Loss::new(&LOGITS, &target).unwrap();
        for i in 0..LOGITS.len() {
            let at = |offset: f32| {
                let mut logits = LOGITS;
                logits[i] += offset;
                Loss::new(&logits, &target).unwrap().value
            };
            let difference = (at(1.0 / 1024.0) - at(-1.0 / 1024.0)) * 512.0;
            assert!((difference - f64::from(loss.gradient[i])).abs() < 1e-5, "logit {i}");
        }
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let loss = Loss::new(&[1e4, -1e4], &Target::labels(&[1])).unwrap();
        assert_eq!(loss.value, 2e4);
    }

    #[test]
    fn impossible_targets_are_errors() {
        let teacher = Teacher { logits: &[0.0], temperature: 1.0, weight: 0.5 };
        let cases = [
            (Target::labels(&[]), "6 logits do not divide into 0"),
            (Target::labels(&[0, 1, 1, 0]), "6 logits do not divide into 4"),
            (Target::labels(&[0, 3]), "image 1 of the batch has label 3, but the network knows classes 0 to 2"),
            (Target { teacher: Some(teacher), ..Target::labels(&[0, 1]) }, "the teacher gave 1 logits"),
        ];
        for (target, message) in cases {
            let error = Loss::new(&LOGITS, &target).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
