//! Resampling of images.

use crate::{
    Dim, NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode,
    onnx::{
        call::{Call, axes},
        constant::Affine,
        error::{Outcome, Reason, fail},
        import::{Importer, Item},
    },
};

/// `Upsample` of opset 9, which lives on as `Resize` of opset 10.
pub(super) fn upsample<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    resize_10(cx, call)
}

pub(super) fn resize<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    if call.opset < 11 {
        return resize_10(cx, call);
    }
    call.only("antialias", 0)?;
    call.only("exclude_outside", 0)?;
    let policy = call.string("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" {
        return fail!("`keep_aspect_ratio_policy` = `{policy}` is not supported; `stretch` is");
    }
    let x = call.input(0)?;
    let image = Image::of(&cx.shape(&x))?;
    let axes = match call.ints("axes") {
        Some(list) => axes(&list, 4)?,
        None => (0..4).collect(),
    };
    let (size, scale) = match (call.floats(2)?, call.affine(3)?) {
        (_, Some(sizes)) if !sizes.is_empty() => image.by_sizes(&axes, &sizes)?,
        (Some(scales), _) if !scales.is_empty() => image.by_scales(&axes, &scales)?,
        _ => return fail!("has neither scales nor sizes"),
    };
    let mode = mode(call, rounding(call.string("nearest_mode", "round_prefer_floor")?)?)?;
    let coordinates = match call.string("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => ResizeCoordinates::HalfPixel,
        "pytorch_half_pixel" => ResizeCoordinates::PytorchHalfPixel,
        "align_corners" => ResizeCoordinates::AlignCorners,
        "asymmetric" => ResizeCoordinates::Asymmetric,
        other => {
            return fail!(
                "`coordinate_transformation_mode` = `{other}` is not supported; `half_pixel`, `pytorch_half_pixel`, \
                 `align_corners` and `asymmetric` are"
            );
        }
    };
    cx.emit(Op::Resize(Resize { size, scale, mode, coordinates }), &[x])
}

/// Without attributes for coordinates: asymmetric; nearest rounds down when it enlarges, up when it shrinks.
fn resize_10<'a>(cx: &mut Importer<'a>, call: &Call<'a>) -> Outcome<Item> {
    let x = call.input(0)?;
    let Some(scales) = call.floats(1)? else { return fail!("has no scales") };
    let (size, scale) = Image::of(&cx.shape(&x))?.by_scales(&[0, 1, 2, 3], &scales)?;
    let (shrinks, enlarges) = (scale.iter().any(|&s| s < 1.0), scale.iter().any(|&s| s > 1.0));
    let rounding = if shrinks { NearestRounding::Ceil } else { NearestRounding::Floor };
    let mode = mode(call, rounding)?;
    if shrinks && enlarges && mode != ResizeMode::Linear {
        return fail!("shrinks one axis and enlarges the other; export with opset 11 or later");
    }
    cx.emit(Op::Resize(Resize { size, scale, mode, coordinates: ResizeCoordinates::Asymmetric }), &[x])
}

fn mode(call: &Call<'_>, rounding: NearestRounding) -> Outcome<ResizeMode> {
    match call.string("mode", "nearest")? {
        "nearest" => Ok(ResizeMode::Nearest(rounding)),
        "linear" | "bilinear" => Ok(ResizeMode::Linear),
        other => fail!("`mode` = `{other}` is not supported; `nearest` and `linear` are"),
    }
}

fn rounding(name: &str) -> Outcome<NearestRounding> {
    match name {
        "round_prefer_floor" => Ok(NearestRounding::RoundPreferFloor),
        "round_prefer_ceil" => Ok(NearestRounding::RoundPreferCeil),
        "floor" => Ok(NearestRounding::Floor),
        "ceil" => Ok(NearestRounding::Ceil),
        other => fail!("`nearest_mode` = `{other}` is not known"),
    }
}

/// The input, whose batch and channels must stay.
struct Image {
    shape: Vec<Dim>,
    size: [usize; 2],
}

impl Image {
    fn of(shape: &[Dim]) -> Outcome<Self> {
        match *shape {
            [_, _, Dim::Fixed(height), Dim::Fixed(width)] if height > 0 && width > 0 => {
                Ok(Self { shape: shape.to_vec(), size: [height, width] })
            }
            _ => fail!("takes [N, C, H, W], but the input has {} axes", shape.len()),
        }
    }

    fn by_sizes(&self, axes: &[usize], sizes: &[Affine]) -> Outcome<([usize; 2], [f32; 2])> {
        let mut size = self.size;
        for (axis, wanted) in pairs(axes, sizes)? {
            match Dim::try_from(wanted)? {
                Dim::Fixed(wanted) if axis >= 2 => size[axis - 2] = wanted,
                same if same == self.shape[axis] => {}
                _ => return fail!("resizes axis {axis}; only height and width can be resized"),
            }
        }
        Ok((size, [0, 1].map(|axis| size[axis] as f32 / self.size[axis] as f32)))
    }

    fn by_scales(&self, axes: &[usize], scales: &[f32]) -> Outcome<([usize; 2], [f32; 2])> {
        let (mut size, mut scale) = (self.size, [1.0; 2]);
        for (axis, factor) in pairs(axes, scales)? {
            if axis >= 2 {
                scale[axis - 2] = factor;
                size[axis - 2] = (self.size[axis - 2] as f32 * factor).floor() as usize;
            } else if factor != 1.0 {
                return fail!("resizes axis {axis} by {factor}; only height and width can be resized");
            }
        }
        Ok((size, scale))
    }
}

/// Axes with their numbers.
fn pairs<T: Copy>(axes: &[usize], numbers: &[T]) -> Outcome<Vec<(usize, T)>> {
    if axes.len() != numbers.len() {
        return Err(Reason(format!("gives {} numbers for {} axes", numbers.len(), axes.len())));
    }
    Ok(axes.iter().copied().zip(numbers.iter().copied()).collect())
}
