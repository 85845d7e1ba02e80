//! The embedded network and what it must compute.

use gaunt_runtime::{RuntimeError, Session};

/// The file that pins the format: a convolution with a shortcut, a mean, a linear layer; floats and codes.
const FILE: &[u8] = include_bytes!("../../crates/gaunt-format/tests/data/tiny.gaunt");
const PIXELS: usize = 2 * 4 * 4;
/// The outputs for the numbers from -2 on in steps of an eighth, the same on every machine.
const EXPECTED: [f32; 3] = [-1.3681704, -2.2816813, -1.0243235];

/// Whether the network computes here what it computes elsewhere.
pub fn is_right() -> Result<bool, RuntimeError> {
    let image: [f32; PIXELS] = core::array::from_fn(|pixel| pixel as f32 / 8.0 - 2.0);
    let mut session = Session::from_bytes(FILE)?;
    let inputs = [&image[..]];
    let outputs = session.run(&inputs, 1)?;
    let bits = |floats: &[f32]| -> Option<[u32; 3]> {
        floats.try_into().ok().map(|floats: [f32; 3]| floats.map(f32::to_bits))
    };
    Ok(outputs.get(0).and_then(|output| bits(output.data)) == bits(&EXPECTED))
}
