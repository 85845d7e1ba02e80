//! Checkpoints: named arrays in one safetensors file, checksummed, and replaced as a whole.
//!
//! A save writes beside the target, syncs and renames, so that a kill at any moment leaves either the old file or
//! the new one. A load verifies the checksum, which covers every name, type and byte.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    io::Write,
    path::{Path, PathBuf},
};

use crc::{CRC_64_XZ, Crc, Table};
use safetensors::{Dtype, SafeTensors, View};

/// The only key of the safetensors metadata; its value is the checksum in hexadecimal.
const CHECKSUM_KEY: &str = "gaunt-checkpoint-crc64";

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// Named arrays: the whole state of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    arrays: BTreeMap<String, Array>,
}

/// One array of a [`Checkpoint`].
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Parameters, moments, statistics.
    F32(Vec<f32>),
    /// Counters, seeds, bits of doubles.
    U64(Vec<u64>),
    /// Integer codes.
    I32(Vec<i32>),
    /// Text or anything else.
    Bytes(Vec<u8>),
}

/// Why a checkpoint could not be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system said no.
    #[error("checkpoint `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not a checkpoint, cut short, or damaged.
    #[error("checkpoint `{}` is damaged or not a checkpoint ({reason}); remove it to start from the beginning", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An array that is needed is not there.
    #[error("the checkpoint has no array `{0}`; it belongs to another network or other options")]
    Missing(String),
    /// An array has another type or length than needed.
    #[error(
        "array `{name}` of the checkpoint is {found}, but {expected} is needed; it belongs to another network or other options"
    )]
    Mismatch {
        /// The array.
        name: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl Checkpoint {
    /// No arrays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces an array.
    pub fn insert(&mut self, name: impl Into<String>, array: impl Into<Array>) {
        self.arrays.insert(name.into(), array.into());
    }

    /// An array by name.
    ///
    /// # Errors
    /// If it is missing.
    pub fn array(&self, name: &str) -> Result<&Array, CheckpointError> {
        self.arrays.get(name).ok_or_else(|| CheckpointError::Missing(name.into()))
    }

    /// An array of floats.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn floats(&self, name: &str) -> Result<&[f32], CheckpointError> {
        match self.array(name)? {
            Array::F32(values) => Ok(values),
            other => Err(mismatch(name, other, "floats".into())),
        }
    }

    /// An array of unsigned integers.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn integers(&self, name: &str) -> Result<&[u64], CheckpointError> {
        match self.array(name)? {
            Array::U64(values) => Ok(values),
            other => Err(mismatch(name, other, "unsigned integers".into())),
        }
    }

    /// An array of integer codes.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn codes(&self, name: &str) -> Result<&[i32], CheckpointError> {
        match self.array(name)? {
            Array::I32(values) => Ok(values),
            other => Err(mismatch(name, other, "integer codes".into())),
        }
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn bytes(&self, name: &str) -> Result<&[u8], CheckpointError> {
        match self.array(name)? {
            Array::Bytes(values) => Ok(values),
            other => Err(mismatch(name, other, "bytes".into())),
        }
    }

    /// A single unsigned integer.
    ///
    /// # Errors
    /// If it is missing, of another type, or not single.
    pub fn scalar(&self, name: &str) -> Result<u64, CheckpointError> {
        match self.array(name)? {
            Array::U64(values) if values.len() == 1 => Ok(values[0]),
            other => Err(mismatch(name, other, "one unsigned integer".into())),
        }
    }

    /// Copies an array of floats over `target`.
    ///
    /// # Errors
    /// If it is missing, of another type, or of another length.
    pub fn read_into(&self, name: &str, target: &mut [f32]) -> Result<(), CheckpointError> {
        match self.array(name)? {
            Array::F32(values) if values.len() == target.len() => target.copy_from_slice(values),
            other => return Err(mismatch(name, other, format!("{} floats", target.len()))),
        }
        Ok(())
    }

    /// Replaces the file at `path`, atomically.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.into(), source };
        let metadata = HashMap::from([(CHECKSUM_KEY.to_string(), format!("{:016x}", self.checksum()))]);
        let views = self.arrays.iter().map(|(name, array)| (name, Raw::new(array)));
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| io(std::io::Error::other(error)))?;

        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        sync_folder(folder).map_err(io)
    }

    /// Reads the file at `path` and verifies it.
    ///
    /// # Errors
    /// If it cannot be read, is not a checkpoint, or its checksum is wrong.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged { path: path.into(), reason };
        let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let stored = metadata.metadata().as_ref().and_then(|map| map.get(CHECKSUM_KEY).cloned());
        let stored = stored.ok_or_else(|| damaged("it holds no checksum".into()))?;

        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let mut checkpoint = Self::new();
        for (name, view) in tensors.iter() {
            let array = Array::from_bytes(view.dtype(), view.data());
            let array = array.ok_or_else(|| damaged(format!("array `{name}` is of type {:?}", view.dtype())))?;
            checkpoint.arrays.insert(name.into(), array);
        }
        let found = format!("{:016x}", checkpoint.checksum());
        if found != stored {
            return Err(damaged(format!("its checksum is {found}, but {stored} was written")));
        }
        Ok(checkpoint)
    }

    /// Over names, types, lengths and bytes, in the order of the names.
    fn checksum(&self) -> u64 {
        let mut digest = CRC.digest();
        for (name, array) in &self.arrays {
            let raw = Raw::new(array);
            digest.update(name.as_bytes());
            digest.update(&[0, array.kind() as u8]);
            digest.update(&(raw.data.len() as u64).to_le_bytes());
            digest.update(&raw.data);
        }
        digest.finalize()
    }
}

/// Makes a rename in `folder` outlive a power cut; other systems than Unix have no such call.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

fn mismatch(name: &str, found: &Array, expected: String) -> CheckpointError {
    let (len, what) = match found {
        Array::F32(values) => (values.len(), "floats"),
        Array::U64(values) => (values.len(), "unsigned integers"),
        Array::I32(values) => (values.len(), "integer codes"),
        Array::Bytes(values) => (values.len(), "bytes"),
    };
    CheckpointError::Mismatch { name: name.into(), found: format!("{len} {what}"), expected }
}

impl Array {
    fn kind(&self) -> Dtype {
        match self {
            Array::F32(_) => Dtype::F32,
            Array::U64(_) => Dtype::U64,
            Array::I32(_) => Dtype::I32,
            Array::Bytes(_) => Dtype::U8,
        }
    }

    fn len(&self) -> usize {
        match self {
            Array::F32(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::Bytes(values) => values.len(),
        }
    }

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Array::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::U64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::Bytes(values) => values.into(),
        }
    }

    fn from_bytes(kind: Dtype, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            Dtype::F32 => Array::F32(bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()),
            Dtype::U64 => Array::U64(bytes.as_chunks().0.iter().map(|&chunk| u64::from_le_bytes(chunk)).collect()),
            Dtype::I32 => Array::I32(bytes.as_chunks().0.iter().map(|&chunk| i32::from_le_bytes(chunk)).collect()),
            Dtype::U8 => Array::Bytes(bytes.to_vec()),
            _ => return None,
        })
    }
}

impl From<Vec<f32>> for Array {
    fn from(values: Vec<f32>) -> Self {
        Array::F32(values)
    }
}

impl From<Vec<u64>> for Array {
    fn from(values: Vec<u64>) -> Self {
        Array::U64(values)
    }
}

impl From<Vec<i32>> for Array {
    fn from(values: Vec<i32>) -> Self {
        Array::I32(values)
    }
}

impl From<Vec<u8>> for Array {
    fn from(values: Vec<u8>) -> Self {
        Array::Bytes(values)
    }
}

/// An array as safetensors wants it.
struct Raw<'a> {
    kind: Dtype,
    shape: [usize; 1],
    data: Cow<'a, [u8]>,
}

impl<'a> Raw<'a> {
    fn new(array: &'a Array) -> Self {
        Self { kind: array.kind(), shape: [array.len()], data: array.to_bytes() }
    }
}

impl View for Raw<'_> {
    fn dtype(&self) -> Dtype {
        self.kind
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        checkpoint.insert("weights", vec![1.5_f32, -0.0, f32::MIN_POSITIVE]);
        checkpoint.insert("step", vec![u64::MAX]);
        checkpoint.insert("codes", vec![-3, 0, 7]);
        checkpoint.insert("config", b"epochs = 3".to_vec());
        checkpoint.insert("empty", Vec::<f32>::new());
        checkpoint
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        sample().save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded, sample());
        assert_eq!(loaded.scalar("step").unwrap(), u64::MAX);
        assert_eq!(loaded.codes("codes").unwrap(), [-3, 0, 7]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn equal_checkpoints_are_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            sample().save(path).unwrap();
        }
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        sample().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1 << (i % 8);
            std::fs::write(&path, damaged).unwrap();
            assert!(Checkpoint::load(&path).ok().is_none_or(|loaded| loaded == sample()), "byte {i}");
            std::fs::write(&path, &bytes[..i]).unwrap();
            assert!(Checkpoint::load(&path).is_err(), "{i} bytes");
        }
    }

    #[test]
    fn errors_name_the_array() {
        let checkpoint = sample();
        let missing = checkpoint.floats("bias").unwrap_err().to_string();
        assert!(missing.contains("`bias`"), "{missing}");
        let kind = checkpoint.floats("codes").unwrap_err().to_string();
        assert!(kind.contains("`codes` of the checkpoint is 3 integer codes, but floats is needed"), "{kind}");
        let length = checkpoint.read_into("weights", &mut [0.0; 2]).unwrap_err().to_string();
        assert!(length.contains("3 floats, but 2 floats"), "{length}");
    }
}
