//! Networks to learn from.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gaunt_data::Dataset;

use super::{
    args::{Data, Model},
    data,
    model::{self, Loaded},
};

/// Reads a teacher, which must know the images and their classes.
pub fn load(path: &Path, data: &Data, training: &Dataset) -> Result<Loaded> {
    let at = || format!("teacher {}", path.display());
    let loaded = model::load(&Model { model: path.to_path_buf(), arch: None }, &data.input).with_context(at)?;
    let (wanted, [channels, height, width]) = (data::input_shape(&loaded.graph).with_context(at)?, training.shape());
    if wanted != [channels, height, width] {
        let [wanted_channels, wanted_height, wanted_width] = wanted;
        bail!(
            "{}: takes {wanted_channels} channels of {wanted_height}x{wanted_width}, but the images have {channels} of {height}x{width}",
            at()
        );
    }
    data::check_classes(training, &loaded.graph, &data.data).with_context(at)?;
    Ok(loaded)
}
