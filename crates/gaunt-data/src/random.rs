//! Random numbers that depend on the seed and on what they are for, and on nothing else.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// What numbers are drawn for. Each purpose and epoch has its own ChaCha stream.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Choosing the validation images.
    Validation,
    /// The order of an epoch.
    Shuffle { epoch: usize },
    /// Crops of an epoch.
    Crop { epoch: usize },
    /// Which images begin mirrored.
    Mirror,
    /// Holes of an epoch.
    Cutout { epoch: usize },
}

/// The generator of `seed` for `purpose`, at its beginning.
pub(crate) fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    // The crate's name in the key keeps these numbers apart from those that others draw from the same seed.
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..18].copy_from_slice(b"gaunt-data");
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(match purpose {
        Purpose::Validation => 0,
        Purpose::Shuffle { epoch } => (epoch as u64).wrapping_mul(2).wrapping_add(1),
        Purpose::Crop { epoch } => (epoch as u64).wrapping_mul(2).wrapping_add(2),
        Purpose::Mirror => u64::MAX,
        // The upper half of the streams.
        Purpose::Cutout { epoch } => (1 << 63) | epoch as u64,
    });
    generator
}
