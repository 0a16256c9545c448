//! A file that a command writes: opened before the gateway is asked, so that nothing is made that cannot be kept.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

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

/// A file that is open and empty. One that is not written in the end is taken away again.
#[derive(Debug)]
pub(super) struct NewFile {
    /// As the operator wrote it.
    path: PathBuf,
    file: File,
    made: Made,
}

/// The use of the open file.
#[derive(Debug)]
enum Made {
    /// It stands in its place, which was free.
    InPlace,
    /// It stands beside the file that it will replace.
    Beside { draft: PathBuf, target: PathBuf },
    /// It is a pipe or a device, which is written to and never replaced.
    Stream,
    /// All is done, or undone.
    Settled,
}

impl NewFile {
    /// Opens a file in a place that is free, or with `force` in place of a file that is there.
    pub(super) fn open(path: &Path, readers: Readers, force: bool) -> Result<Self, Failure> {
        let opened = match fs::metadata(path) {
            Ok(found) if found.is_file() && !force => Err(io::ErrorKind::AlreadyExists.into()),
            Ok(found) if found.is_file() => Self::beside(path, readers),
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => stream(path),
            Err(_) => in_place(path, readers),
        };
        let (file, made) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => unwritable(path, &error).help("nothing was asked of the gateway"),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            made,
        })
    }

    /// Beside the file, so that the rename stays within one file system; where links lead to it, they stay.
    fn beside(path: &Path, readers: Readers) -> io::Result<(File, Made)> {
        let target = fs::canonicalize(path)?;
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.draft", std::process::id()));
        let draft = target.with_file_name(name);
        Ok((create(&draft, readers)?, Made::Beside { draft, target }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the whole content; after a failure there is no part of it, and a file that was there is as it was.
    pub(super) fn write(mut self, content: &[u8]) -> Result<(), Failure> {
        self.fill(content)
            .map_err(|error| unwritable(&self.path, &error))?;
        self.made = Made::Settled;
        Ok(())
    }

    fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        let place = match &self.made {
            Made::Stream | Made::Settled => return Ok(()),
            Made::InPlace => &self.path,
            Made::Beside { target, .. } => target,
        };
        self.file.sync_all()?;
        if let Made::Beside { draft, target } = &self.made {
            fs::rename(draft, target)?;
        }
        File::open(folder(place))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = match &self.made {
            Made::InPlace => fs::remove_file(&self.path),
            Made::Beside { draft, .. } => fs::remove_file(draft),
            Made::Stream | Made::Settled => Ok(()),
        };
    }
}

fn in_place(path: &Path, readers: Readers) -> io::Result<(File, Made)> {
    Ok((create(path, readers)?, Made::InPlace))
}

fn stream(path: &Path) -> io::Result<(File, Made)> {
    Ok((OpenOptions::new().write(true).open(path)?, Made::Stream))
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    let mode = readers.mode();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The mode at creation is narrowed by the umask; what was asked for is what is given.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn taken(path: &Path) -> Failure {
    let message = format!(
        "{} exists; nothing was asked of the gateway",
        path.display()
    );
    Failure::new(Exit::Failed, message).help("name another file, or replace this one with --force")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_is_kept_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "old").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, forced) in [
            ("file", true),
            ("link", true),
            ("dangling", false),
            ("folder", false),
            ("no/such", false),
        ] {
            let refused = NewFile::open(&at(name), Readers::Owner, false).unwrap_err();
            assert_eq!(refused.exit, Exit::Failed, "{name}");
            assert!(refused.to_string().contains(name), "{refused}");
            assert_eq!(
                NewFile::open(&at(name), Readers::Owner, true).is_ok(),
                forced,
                "{name}"
            );
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"old");
        NewFile::open(&at("link"), Readers::Everyone, true)
            .unwrap()
            .write(b"new")
            .unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"new");
        let mode = fs::metadata(at("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(names(dir.path()), ["dangling", "file", "folder", "link"]);
    }

    #[test]
    fn a_file_that_is_not_written_in_the_end_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        drop(NewFile::open(&path, Readers::Owner, false).unwrap());
        assert!(!path.exists());
        let file = NewFile::open(&path, Readers::Owner, false).unwrap();
        assert!(
            path.exists(),
            "the place is taken before the gateway is asked"
        );
        file.write(b"content").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        drop(NewFile::open(&path, Readers::Owner, true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(names(dir.path()), ["new"]);
    }

    #[test]
    fn a_device_is_written_to_and_never_replaced() {
        for force in [false, true] {
            let null = NewFile::open(Path::new("/dev/null"), Readers::Everyone, force).unwrap();
            null.write(b"x").unwrap();
        }
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full = NewFile::open(Path::new("/dev/full"), Readers::Owner, false).unwrap();
        full.write(b"x").unwrap_err();
    }
}
