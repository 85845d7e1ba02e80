//! Weights in files beside the model.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use onnx_rs::ast::TensorProto;

use super::error::{Outcome, Reason, fail};

/// Where external weights may be read from.
pub(super) enum External {
    /// Nowhere: the model came as bytes.
    None,
    /// From files in this folder and below it.
    Folder(PathBuf),
}

impl External {
    /// The bytes of a tensor that names a location, an offset and a length.
    pub fn read(&self, tensor: &TensorProto<'_>) -> Outcome<Vec<u8>> {
        let entry = |key| tensor.external_data().iter().find(|entry| entry.key == key).map(|entry| entry.value);
        let Some(location) = entry("location") else {
            return fail!("is stored outside of the model, but no location is given");
        };
        let Self::Folder(folder) = self else {
            return fail!("is stored in `{location}` beside the model; read the model from its path, not from memory");
        };
        let number = |key| match entry(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => fail!("`{key}` of its external data is not a number"),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let path = inside(folder, location)?;
        read_range(&path, offset, length).map_err(|error| Reason(format!("cannot read {}: {error}", path.display())))
    }
}

/// The path of a location that stays inside of the folder, symbolic links included.
fn inside(folder: &Path, location: &str) -> Outcome<PathBuf> {
    let relative = Path::new(location);
    let leaves = relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if leaves {
        return fail!("its location `{location}` leaves the folder of the model");
    }
    let path = folder.join(relative);
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) if path.starts_with(&folder) => Ok(path),
        (Err(error), _) | (_, Err(error)) => fail!("cannot read {}: {error}", path.display()),
        _ => fail!("its location `{location}` leaves the folder of the model"),
    }
}

fn read_range(path: &Path, offset: u64, length: Option<u64>) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let available = file.metadata()?.len().saturating_sub(offset);
    let length = length.unwrap_or(available);
    if length > available {
        let message = format!("{length} bytes from {offset} on are wanted, but {available} are there");
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
