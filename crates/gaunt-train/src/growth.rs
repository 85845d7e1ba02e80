//! Images that are small at first and grow: early epochs cost a fraction, and what is learnt from small images holds for large
//! ones (Howard, *Progressive resizing*, as in fast.ai's DAWNBench entries, 2018).

/// How images grow over a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// The shorter side of the images of the first epoch, in pixels.
    pub first: usize,
    /// From this share of the epochs on, images have their own size.
    pub share: f64,
}

/// Sides grow by this many pixels at a time: kernels like maps that halve a few times.
const STRIDE: usize = 4;

impl Growth {
    /// Height and width of the images of an epoch (from 0), whose own size is `full`.
    pub fn size(&self, epoch: usize, epochs: usize, full: [usize; 2]) -> [usize; 2] {
        let shorter = full[0].min(full[1]);
        let grown = (self.share * epochs as f64).ceil() as usize;
        if epoch >= grown || self.first >= shorter {
            return full;
        }
        let side = self.first + (shorter - self.first) * epoch / grown;
        let side = (side / STRIDE * STRIDE).max(self.first);
        full.map(|extent| (extent * side / shorter).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_grow_to_their_size() {
        let growth = Growth { first: 16, share: 0.7 };
        let sides: Vec<usize> = (0..10).map(|epoch| growth.size(epoch, 10, [32, 32])[0]).collect();
        assert_eq!(sides, [16, 16, 20, 20, 24, 24, 28, 32, 32, 32]);
        assert_eq!(growth.size(0, 10, [32, 64]), [16, 32]);
        assert_eq!(growth.size(0, 10, [8, 8]), [8, 8]);
        assert_eq!(Growth { first: 16, share: 0.0 }.size(0, 10, [32, 32]), [32, 32]);
    }
}
