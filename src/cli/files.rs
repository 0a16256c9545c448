//! Reads what a command is given.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::exit::{Exit, Failure};

/// The maximum size of a certificate signing request; the largest honest one has a few kilobytes.
pub(super) const CSR_BYTES_MAX: u64 = 64 * 1024;

/// Reads a whole file, or stdin when the path is `-`, refusing more than `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::Invalid,
            _ => Exit::Failed,
        };
        Failure::io(format!("cannot read {}", path.display()), &error).exiting(exit)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_bounded_and_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("csr");
        std::fs::write(&path, [b'x'; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert_eq!(read(&path, 9).unwrap_err().exit, Exit::Invalid);
        let missing = read(&dir.path().join("none"), 9).unwrap_err();
        assert_eq!(missing.exit, Exit::Invalid);
        assert!(missing.to_string().contains("none"));
    }
}
