//! Bytes in and out: variable-length integers, floats, strings.

use alloc::{format, string::String, vec::Vec};

use crate::FormatError;

/// Appends values.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first, the top bit set on all but the last.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Zigzag: 0, -1, 1, -2 become 0, 1, 2, 3.
    pub(crate) fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    pub(crate) fn size(&mut self, size: usize) {
        self.number(size as u64);
    }

    pub(crate) fn float(&mut self, float: f32) {
        self.0.extend(float.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.0.extend(bytes);
    }
}

/// Takes values off the front, and says where it is when it cannot.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    place: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], place: &'static str) -> Self {
        Self { bytes, place }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(FormatError::Truncated { place: self.place })?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, FormatError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn number(&mut self) -> Result<u64, FormatError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.invalid("a number has more than 64 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, FormatError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A count or size of at most `u32::MAX`, which no limit exceeds.
    pub(crate) fn size(&mut self) -> Result<usize, FormatError> {
        let number = self.number()?;
        u32::try_from(number)
            .map(|size| size as usize)
            .map_err(|_| self.invalid(format!("{number} is too large a size")))
    }

    pub(crate) fn float(&mut self) -> Result<f32, FormatError> {
        let bytes = self.take(4)?;
        Ok(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(self.float()?.to_bits())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let count = self.size()?;
        self.take(count)
    }

    pub(crate) fn string(&mut self) -> Result<String, FormatError> {
        let bytes = self.bytes()?;
        core::str::from_utf8(bytes).map(Into::into).map_err(|_| self.invalid("a name is not UTF-8"))
    }

    pub(crate) fn end(&self) -> Result<(), FormatError> {
        if self.left() > 0 {
            return Err(self.invalid(format!("{} bytes are left over", self.left())));
        }
        Ok(())
    }

    pub(crate) fn invalid(&self, reason: impl Into<String>) -> FormatError {
        FormatError::invalid(self.place, reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, signed: i64, bytes: Vec<u8>) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.bytes(&bytes);
            let mut reader = Reader::new(&writer.0, "test");
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        assert!(Reader::new(&[0xFF; 11], "test").number().is_err());
        assert!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], "test").number().is_err());
        assert!(Reader::new(&[0x80], "test").number().is_err());
    }
}
