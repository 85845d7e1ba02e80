//! A zoo of architectures, built with initial values and with the parameter names of their PyTorch originals.
//!
//! ```
//! use gaunt_graph::zoo::{self, Arch};
//!
//! let arch: Arch = "resnet20".parse()?;
//! let graph = zoo::build(arch, 10, [3, 32, 32], 0)?;
//! assert_eq!(graph.parameter_count(), 269_722 + 2 * 688); // trainable, and running statistics
//! # Ok::<(), zoo::ZooError>(())
//! ```
//!
//! The networks are those that publications on CIFAR compress; state dicts of the following repositories load as they
//! are:
//! - `vgg16`, `resnet18`, `mobilenet-v1`, `mobilenet-v2`: kuangliu/pytorch-cifar;
//! - `resnet20`, `resnet32`, `resnet56`: akamaster/pytorch_resnet_cifar10 (shortcuts without parameters);
//! - `lenet5`: `conv1`, `conv2`, `fc1`, `fc2`, `fc3` as usual for images of 28 x 28 (`conv1` padded by two, `conv2` not;
//!   61,706 parameters for ten classes).
//!
//! Every architecture takes any number of input channels and any image size from [`Arch::min_side`] on, since all but
//! `lenet5` end in a mean over all positions. Initial values depend on the seed alone: convolutions are Kaiming normal
//! for their fan out, linear layers and biases uniform as in PyTorch, batch norms do nothing.

mod builder;
mod lenet;
mod mobilenet;
mod random;
mod resnet;
#[cfg(test)]
mod tests;
mod vgg;

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec,
};
use core::{fmt, str::FromStr};

use builder::{Builder, Built};

use crate::{Dim, Graph, GraphError, ValueId};

/// Most classes: the linear layer of a million has 2 GB for `resnet18`.
const MAX_CLASSES: usize = 1_000_000;
/// Most input channels.
const MAX_CHANNELS: usize = 1024;
/// Longest side of an image: the first linear layer of `lenet5` has 2 GB then.
const MAX_SIDE: usize = 2048;

/// An architecture of the zoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// LeNet-5.
    Lenet5,
    /// VGG-16 for CIFAR: 13 convolutions with batch norm, one linear layer.
    Vgg16,
    /// ResNet-18 for CIFAR.
    Resnet18,
    /// ResNet-20, thin, for CIFAR.
    Resnet20,
    /// ResNet-32, thin, for CIFAR.
    Resnet32,
    /// ResNet-56, thin, for CIFAR.
    Resnet56,
    /// MobileNet V1 for CIFAR.
    MobilenetV1,
    /// MobileNet V2 for CIFAR.
    MobilenetV2,
}

/// What the zoo knows of an architecture.
struct Entry {
    arch: Arch,
    name: &'static str,
    min_side: usize,
    build: fn(&mut Builder, ValueId, usize) -> Built,
}

#[rustfmt::skip]
static ENTRIES: [Entry; 8] = [
    Entry { arch: Arch::Lenet5, name: "lenet5", min_side: 4, build: lenet::lenet5 },
    Entry { arch: Arch::Vgg16, name: "vgg16", min_side: 32, build: vgg::vgg16 },
    Entry { arch: Arch::Resnet18, name: "resnet18", min_side: 1, build: resnet::resnet18 },
    Entry { arch: Arch::Resnet20, name: "resnet20", min_side: 1, build: |b, x, classes| resnet::thin(b, x, classes, 3) },
    Entry { arch: Arch::Resnet32, name: "resnet32", min_side: 1, build: |b, x, classes| resnet::thin(b, x, classes, 5) },
    Entry { arch: Arch::Resnet56, name: "resnet56", min_side: 1, build: |b, x, classes| resnet::thin(b, x, classes, 9) },
    Entry { arch: Arch::MobilenetV1, name: "mobilenet-v1", min_side: 1, build: mobilenet::v1 },
    Entry { arch: Arch::MobilenetV2, name: "mobilenet-v2", min_side: 1, build: mobilenet::v2 },
];

/// Why a network could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZooError {
    /// A name that is not in the table.
    #[error("`{name}` is not an architecture; choose one of {known}")]
    Unknown {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// Too few or too many classes.
    #[error("{0} classes are asked for; a network has 1 to {MAX_CLASSES}")]
    Classes(usize),
    /// Too few or too many channels.
    #[error("the input has {0} channels; a network takes 1 to {MAX_CHANNELS}")]
    Channels(usize),
    /// Images that are too small or too large.
    #[error(
        "images of {height} x {width} do not fit {arch}; it takes {min} x {min} to {MAX_SIDE} x {MAX_SIDE}, so resize them"
    )]
    Side {
        /// The architecture.
        arch: Arch,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
        /// The shortest side that it takes.
        min: usize,
    },
    /// The layers do not fit each other.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl Arch {
    /// All architectures, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.arch)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Shortest height or width of an image, in pixels.
    pub fn min_side(self) -> usize {
        self.entry().min_side
    }

    fn entry(self) -> &'static Entry {
        // A test checks that the table follows the order of the variants.
        &ENTRIES[self as usize]
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = ZooError;

    fn from_str(name: &str) -> Result<Self, ZooError> {
        let unknown = || {
            let known = ENTRIES.each_ref().map(|entry| entry.name).join(", ");
            ZooError::Unknown { name: name.to_owned(), known }
        };
        ENTRIES.iter().find(|entry| entry.name == name).map(|entry| entry.arch).ok_or_else(unknown)
    }
}

/// Builds a network for images `input = [channels, height, width]`: from `input`, `[N, C, H, W]`, to `[N, classes]`
/// without softmax.
///
/// # Errors
/// If the numbers of classes or channels or the size of the images are beyond what the architecture takes.
pub fn build(arch: Arch, classes: usize, input: [usize; 3], seed: u64) -> Result<Graph, ZooError> {
    let [channels, height, width] = input;
    let min = arch.min_side();
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(ZooError::Classes(classes));
    }
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(ZooError::Channels(channels));
    }
    if [height, width].iter().any(|side| !(min..=MAX_SIDE).contains(side)) {
        return Err(ZooError::Side { arch, height, width, min });
    }
    let mut builder = Builder::new(&arch.to_string(), seed);
    let shape = vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)];
    let x = builder.graph.add_input("input", shape);
    let output = (arch.entry().build)(&mut builder, x, classes)?;
    builder.graph.outputs.push(output);
    Ok(builder.graph)
}
