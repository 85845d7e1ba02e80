//! NumPy's `.npy` files: one array as numbers for a network.
//!
//! The format is that of `numpy.lib.format`, versions 1 to 3. Arrays must be in C order; integers, booleans and
//! floats of 32 and 64 bits are read, in either byte order, and become `f32` without any scaling.

use std::path::Path;

use crate::{DataError, files};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Axes that an array may have.
const MAX_RANK: usize = 32;

const MISSING: &str = "name an existing .npy file";
const REMEDY: &str = "save it with numpy.save(path, numpy.ascontiguousarray(array, dtype=numpy.float32))";

/// Reads an array: its shape and its elements, row-major.
///
/// # Errors
/// If the file is missing, is no `.npy` file, is in Fortran order, has another element type, or its length is not
/// what the shape asks for.
pub fn read(path: impl AsRef<Path>) -> Result<(Vec<usize>, Vec<f32>), DataError> {
    let path = path.as_ref();
    let bytes = files::read(path, MISSING)?;
    decode(&bytes).map_err(|problem| DataError::malformed(path, problem, REMEDY))
}

/// The bytes of a `.npy` file of `f32` in little-endian order.
///
/// # Panics
/// If `values` does not have as many elements as `shape` says.
pub fn encode(shape: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "values of an array of shape {shape:?}");
    let comma = if shape.len() == 1 { "," } else { "" };
    let extents = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ") + comma;
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    // The array begins at a multiple of 64 bytes, after a line feed.
    let beginning = MAGIC.len() + 4;
    let padding = (beginning + header.len() + 1).next_multiple_of(64) - (beginning + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');

    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// Shape and elements of the array in a file, or what is wrong with it.
fn decode(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let (header, data) = split_header(bytes).ok_or("no .npy file, or its header is cut")?;
    let field = |key: &str| {
        let (_, value) = header.split_once(&format!("'{key}':")).ok_or(format!("the header has no `{key}`"))?;
        Ok::<_, String>(value.trim_start())
    };
    if !field("fortran_order")?.starts_with("False") {
        return Err("the array is not in C order".to_owned());
    }
    let shape = parse_shape(field("shape")?).ok_or("the shape of the header cannot be read")?;
    let kind = field("descr")?.strip_prefix('\'').and_then(|text| text.split_once('\'')).map_or("", |(kind, _)| kind);
    let element = Element::parse(kind).ok_or_else(|| format!("elements of type `{kind}` are not read"))?;

    let expected = shape.iter().fold(element.size as u128, |bytes, &extent| bytes.saturating_mul(extent as u128));
    if expected != data.len() as u128 {
        return Err(format!("shape {shape:?} of `{kind}` has {expected} bytes, but the file has {}", data.len()));
    }
    Ok((shape, data.chunks_exact(element.size).map(|bytes| element.value(bytes)).collect()))
}

/// The text of the header and what follows it.
fn split_header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&[major, _minor], rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?,
        2 | 3 => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The extents of a Python tuple, such as `(2, 3)`, `(2,)` or `()`.
fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let (extents, _) = text.strip_prefix('(')?.split_once(')')?;
    let extents = extents.trim().trim_end_matches(',');
    let extents = extents.split(',').filter(|_| !extents.is_empty());
    let shape: Vec<usize> = extents.map(|extent| extent.trim().parse().ok()).collect::<Option<_>>()?;
    (shape.len() <= MAX_RANK).then_some(shape)
}

/// How elements are stored.
struct Element {
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
    /// The value of its bytes in little-endian order, filled up with zeros.
    convert: fn([u8; 8]) -> f32,
}

impl Element {
    /// The element type of a `descr`, such as `<f4`.
    fn parse(descr: &str) -> Option<Self> {
        let (order, kind) = descr.split_at_checked(1)?;
        let (size, convert): (_, fn([u8; 8]) -> f32) = match kind {
            "f4" => (4, |bytes| f32::from_bits(u64::from_le_bytes(bytes) as u32)),
            "f8" => (8, |bytes| f64::from_le_bytes(bytes) as f32),
            "b1" | "u1" => (1, |bytes| u64::from_le_bytes(bytes) as f32),
            "u2" => (2, |bytes| u64::from_le_bytes(bytes) as f32),
            "u4" => (4, |bytes| u64::from_le_bytes(bytes) as f32),
            "u8" => (8, |bytes| u64::from_le_bytes(bytes) as f32),
            "i1" => (1, |bytes| u64::from_le_bytes(bytes) as i8 as f32),
            "i2" => (2, |bytes| u64::from_le_bytes(bytes) as i16 as f32),
            "i4" => (4, |bytes| u64::from_le_bytes(bytes) as i32 as f32),
            "i8" => (8, |bytes| u64::from_le_bytes(bytes) as i64 as f32),
            _ => return None,
        };
        let big_endian = match order {
            "<" | "|" => false,
            ">" => true,
            _ => return None,
        };
        Some(Self { size, big_endian, convert })
    }

    /// The value of an element's bytes.
    fn value(&self, stored: &[u8]) -> f32 {
        let mut bytes = [0; 8];
        let bytes_in_use = &mut bytes[..self.size];
        bytes_in_use.copy_from_slice(stored);
        if self.big_endian {
            bytes_in_use.reverse();
        }
        (self.convert)(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    /// A file as NumPy would write it, with this header.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
    }

    #[test]
    fn element_types() {
        for (descr, data, expected) in [
            ("<f4", &1.5f32.to_le_bytes()[..], 1.5),
            (">f4", &1.5f32.to_be_bytes(), 1.5),
            ("<f8", &(-0.25f64).to_le_bytes(), -0.25),
            (">f8", &(-0.25f64).to_be_bytes(), -0.25),
            ("|u1", &[200], 200.0),
            ("|b1", &[1], 1.0),
            ("|i1", &[200], -56.0),
            ("<u2", &[1, 2], 513.0),
            (">i2", &[0xff, 0xfe], -2.0),
            ("<i4", &(-7i32).to_le_bytes(), -7.0),
            ("<u4", &u32::MAX.to_le_bytes(), u32::MAX as f32),
            (">i8", &(-7i64).to_be_bytes(), -7.0),
            ("<u8", &u64::MAX.to_le_bytes(), u64::MAX as f32),
        ] {
            assert_eq!(decode(&array(descr, "(1,)", data)), Ok((vec![1], vec![expected])), "{descr}");
        }
    }

    #[test]
    fn shapes() {
        for (shape, elements, expected) in
            [("()", 1, vec![]), ("(3,)", 3, vec![3]), ("(2, 3)", 6, vec![2, 3]), ("(0, 5)", 0, vec![0, 5])]
        {
            assert_eq!(
                decode(&array("|u1", shape, &vec![1; elements])),
                Ok((expected, vec![1.0; elements])),
                "{shape}"
            );
        }
    }

    #[test]
    fn what_numpy_cannot_have_meant_is_refused() {
        let fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }";
        let record = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
        for (bytes, expected) in [
            (b"PK\x03\x04".to_vec(), "no .npy file"),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "its header is cut"),
            (b"\x93NUMPY\x04\x00\x00\x00".to_vec(), "no .npy file"),
            (file(fortran, &[0; 4]), "not in C order"),
            (file(record, &[0; 4]), "elements of type"),
            (file("{'fortran_order': False}", &[]), "no `shape`"),
            (array("<c8", "(1,)", &[0; 8]), "elements of type `<c8`"),
            (array("", "(1,)", &[0; 8]), "elements of type ``"),
            (array("=f4", "(1,)", &[0; 4]), "elements of type `=f4`"),
            (array("<f4", "(2, -1)", &[]), "the shape"),
            (array("<f4", "(2", &[]), "the shape"),
            (array("<f4", "(2,)", &[0; 7]), "has 8 bytes, but the file has 7"),
            (array("<f8", "(4294967296, 4294967296, 4294967296)", &[]), "but the file has 0"),
        ] {
            let problem = decode(&bytes).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn written_arrays_are_what_numpy_writes() {
        let bytes = encode(&[2, 1], &[1.0, -2.5]);
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
        assert_eq!(bytes.len(), 128 + 8);
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00"));
        assert_eq!(std::str::from_utf8(&bytes[10..128]).unwrap().trim_end(), header);
        let dir = tempdir().unwrap();
        let path = dir.path().join("x.npy");
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap(), (vec![2, 1], vec![1.0, -2.5]));
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("x.npy");
        assert!(matches!(read(&path), Err(DataError::Missing { .. })));
        fs::write(&path, "text").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("x.npy: no .npy file") && message.contains("numpy.save"), "{message}");
    }
}
