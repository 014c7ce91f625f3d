//! Files that hold one secret: readable by their owner alone, written whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("{} cannot be used: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is empty; write the secret into it, or delete it to have one made", .path.display())]
    Empty { path: PathBuf },
}

/// `None`: there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<SecretString>, SecretFileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SecretFileError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    match text.trim() {
        "" => Err(SecretFileError::Empty {
            path: path.to_owned(),
        }),
        secret => Ok(Some(SecretString::from(secret))),
    }
}

/// Creates a file that must not exist yet, and its folder if needed. It is complete
/// before it has its name, so that a crash leaves no half of a secret.
pub(super) fn create(path: &Path, secret: &SecretString) -> Result<(), SecretFileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_added_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        writeln!(file, "{}", secret.expose_secret())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces a secret that is there already.
        let linked = fs::hard_link(&new, path);
        fs::remove_file(&new)?;
        linked?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Puts `next` in the place of `path`, which is kept as `kept`. A crash leaves `path` there,
/// old or new.
pub(super) fn replace(path: &Path, next: &Path, kept: &Path) -> Result<(), SecretFileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let replace = || -> io::Result<()> {
        match fs::remove_file(kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::hard_link(path, kept)?;
        fs::rename(next, path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(|source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_its_owners_alone_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/secret");
        assert!(read(&path).unwrap().is_none());
        create(&path, &"first".into()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&path, &"second".into()).is_err());
        assert_eq!(read(&path).unwrap().unwrap().expose_secret(), "first");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, " \n").unwrap();
        assert!(matches!(read(&path), Err(SecretFileError::Empty { .. })));
    }
}
