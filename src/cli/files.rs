//! Input and output files of commands. Files are written completely or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// The maximum size of a certificate signing request; the largest honest one has a few kilobytes.
pub(super) const CSR_BYTES_MAX: u64 = 64 * 1024;

/// The permissions of a file that a command writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    Everyone,
    Owner,
}

impl Readers {
    const fn mode(self) -> u32 {
        match self {
            Self::Everyone => 0o644,
            Self::Owner => 0o600,
        }
    }
}

/// Reads a whole file, or stdin when the path is `-`, refusing more than `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(max + 1)
            .read_to_end(&mut bytes)
    } else {
        let file = File::open(path).map_err(cannot)?;
        file.take(max + 1).read_to_end(&mut bytes)
    };
    let length = read.map_err(cannot)?;
    if u64::try_from(length).is_ok_and(|length| length <= max) {
        Ok(bytes)
    } else {
        let message = format!("{} is larger than {max} bytes", path.display());
        Err(Failure::new(Exit::Invalid, message))
    }
}

/// Reads a file that must be text.
pub(super) fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, max)?).map_err(|error| {
        let message = format!("{} is not text: {error}", path.display());
        Failure::new(Exit::Invalid, message)
    })
}

/// Writes a file atomically: after a crash it is either the old file or the complete new one.
pub(super) fn write(path: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    let draft = draft(path);
    replace(path, &draft, content, readers).map_err(|error| {
        let _ = std::fs::remove_file(&draft);
        Failure::io(format!("cannot write {}", path.display()), &error)
    })
}

fn replace(path: &Path, draft: &Path, content: &[u8], readers: Readers) -> std::io::Result<()> {
    let mode = readers.mode();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(draft)?;
    // The mode at creation is narrowed by the umask; what was asked for is what is given.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    folder(path).map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The temporary file, next to the file, so that the rename stays within one file system.
fn draft(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.draft", std::process::id()));
    path.with_file_name(name)
}

fn folder(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_the_mode_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.pem");
        write(&path, b"one", Readers::Owner).unwrap();
        write(&path, b"two", Readers::Everyone).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        std::fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(write(&taken, b"x", Readers::Owner).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/such/x"), b"x", Readers::Owner).is_err());
    }

    #[test]
    fn reading_is_bounded_and_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csr");
        std::fs::write(&path, [b'x'; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert_eq!(read(&path, 9).unwrap_err().exit, Exit::Invalid);
        let missing = read(&dir.path().join("none"), 9).unwrap_err();
        assert_eq!(missing.exit, Exit::NotFound);
        assert!(missing.to_string().contains("none"));
    }
}
