//! Writing files so that nothing is ever half written or lost.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Fails early if `path` cannot become an output: before hours of work, not after.
pub fn check(path: &Path, force: bool) -> Result<()> {
    if path.is_dir() {
        bail!("{}: is a folder, but the output must be a file", path.display());
    }
    if !force && path.exists() {
        bail!("{}: exists already; choose another name, or overwrite it with --force", path.display());
    }
    // A temporary file in the same folder shows that it exists and can be written.
    NamedTempFile::new_in(folder(path)).with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(())
}

/// Writes beside, syncs, renames. An existing file is replaced only with `force`.
pub fn write(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let context = || format!("{}: cannot be written", path.display());
    let mut file = NamedTempFile::new_in(folder(path)).with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    set_ordinary_mode(file.as_file()).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    if force {
        file.persist(path).map_err(|error| error.error).with_context(context)?;
    } else {
        file.persist_noclobber(path).map_err(|error| error.error).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{}: exists already; overwrite it with --force", path.display())
            }
            _ => anyhow::Error::new(error).context(context()),
        })?;
    }
    // The rename itself must survive a power cut. Not every system can sync a folder; the file is whole either way.
    if let Ok(folder) = File::open(folder(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Reads a file whole, up to a limit.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let context = || format!("{}: cannot be read", path.display());
    let length = fs::metadata(path).with_context(context)?.len();
    if length > limit {
        bail!("{}: has {length} bytes, but at most {limit} are read", path.display());
    }
    fs::read(path).with_context(context)
}

/// The folder of a path that may be a bare name.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Temporary files are private; an output is as readable as any other file.
#[cfg(unix)]
fn set_ordinary_mode(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_ordinary_mode(_: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_replaced_only_with_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write(&path, b"one", false).unwrap();
        assert!(write(&path, b"two", false).unwrap_err().to_string().contains("--force"));
        assert!(check(&path, false).is_err());
        write(&path, b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn folders_and_missing_folders_are_refused_early() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), true).is_err());
        assert!(check(&folder.path().join("missing/out"), false).is_err());
    }
}
