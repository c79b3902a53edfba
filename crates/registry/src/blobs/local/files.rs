//! The plain file work under the local content store. Everything here blocks.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::blobs::{BlobError, BlobStat};
use crate::digest::{Algorithm, Digest};

pub(super) fn unreadable_as_unknown(digest: &Digest) -> impl Fn(std::io::Error) -> BlobError {
    move |error| match error.kind() {
        ErrorKind::NotFound => BlobError::Unknown(digest.clone()),
        _ => BlobError::io("opening a blob")(error),
    }
}

pub(super) fn stat_from(digest: Digest, metadata: &Metadata) -> Result<BlobStat, BlobError> {
    let committed_at = metadata.modified().map_err(BlobError::io("looking at a blob"))?;
    Ok(BlobStat { digest, size: metadata.len(), committed_at })
}

/// Writes a new file and syncs its content.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BlobError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    };
    write().map_err(BlobError::io("writing a small blob"))
}

/// Makes an upload's empty file, and its scope's directory when this is the first.
pub(super) fn create_upload(path: &Path) -> Result<(), BlobError> {
    let create = || OpenOptions::new().write(true).create_new(true).open(path).map(drop);
    let created = match (create(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(directory).and_then(|()| create())
        }
        (created, _) => created,
    };
    created.map_err(BlobError::io("creating an upload"))
}

/// Makes one directory whose parent exists, and makes its name durable.
pub(super) fn create_directory_durably(path: &Path) -> Result<(), BlobError> {
    let create = || {
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    create().map_err(BlobError::io("creating a directory of blobs"))
}

/// The whole of a file that is `length` bytes long.
pub(super) fn read_all(file: &File, length: u64) -> Result<Vec<u8>, BlobError> {
    let doing = "reading a small blob";
    let length = usize::try_from(length).map_err(|error| BlobError::io(doing)(std::io::Error::other(error)))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).map_err(BlobError::io(doing))?;
    Ok(bytes)
}

/// What lies in a directory; nothing when it does not exist.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let list = || fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect();
    match list() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        listed => listed.map_err(BlobError::io("listing a directory")),
    }
}

/// How many uploads a former process left.
pub(super) fn count_uploads(uploads: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for scope in fs::read_dir(uploads)? {
        count += fs::read_dir(scope?.path()).map_or(0, Iterator::count);
    }
    Ok(count)
}

pub(super) fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|since| since >= age))
}

/// Up to `limit` blobs in the order of their digests, after `after`. One fan-out directory is read at a time.
pub(super) fn list_blobs(root: &Path, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobStat>, BlobError> {
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        if after.is_some_and(|after| after.algorithm() > algorithm) {
            continue;
        }
        let after = after.filter(|after| after.algorithm() == algorithm).map(Digest::hex);
        for directory in sorted(entries(&root.join(algorithm.as_str()))?) {
            let prefix = file_name(&directory);
            if after.is_some_and(|after| prefix.as_str() < &after[..2]) {
                continue;
            }
            for file in sorted(entries(&directory)?) {
                let Ok(digest) = format!("{}:{}", algorithm.as_str(), file_name(&file)).parse::<Digest>() else {
                    continue;
                };
                if after.is_some_and(|after| digest.hex() <= after) {
                    continue;
                }
                // A blob deleted meanwhile is no error.
                if let Ok(metadata) = fs::metadata(&file) {
                    found.push(stat_from(digest, &metadata)?);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
