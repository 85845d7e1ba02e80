//! An estimate of the file's bytes that is cheap enough to look at every few steps.

use rayon::prelude::*;

use crate::quantizer::Layer;

/// Bytes of the file as a function of the layers' rate models, kept true by the real coder now and then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeModel {
    /// Bytes of everything but the coded weights: graph, scales, biases, metadata.
    pub overhead: f64,
    /// Bytes of the coder over those of the rate models.
    pub calibration: f64,
}

impl SizeModel {
    /// Bytes of the file.
    pub fn bytes(&self, layers: &[Layer]) -> f64 {
        let bits: f64 = layers.iter().map(|layer| layer.rate.bits).sum();
        self.overhead + self.calibration * bits / 8.0
    }

    /// Bits that the rate models may have in all for a file of `bytes`; at least a little, so that no target is
    /// out of this world.
    pub fn payload_bits(&self, bytes: f64, layers: &[Layer]) -> f64 {
        let weights: usize = layers.iter().map(|layer| layer.codes.len()).sum();
        (8.0 * (bytes - self.overhead) / self.calibration).max(0.01 * weights as f64)
    }

    /// Measures the coder on the codes as they are.
    pub fn calibrate(&mut self, layers: &[Layer]) {
        let coded: usize = layers.par_iter().map(coded_bytes).sum();
        let modelled: f64 = layers.iter().map(|layer| layer.rate.bits / 8.0).sum();
        if modelled > 0.0 {
            self.calibration = coded as f64 / modelled;
        }
    }
}

/// Bytes of a layer's codes in the file.
pub fn coded_bytes(layer: &Layer) -> usize {
    gaunt_format::encode_codes(&layer.codes, &layer.shape.dims()).len()
}
