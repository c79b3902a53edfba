//! Image layers: archives that say what a filesystem looks like, one on top of the other.
//!
//! [`read`] inflates, hashes and reads one layer and describes it, entry by entry, to a [`Tree`]. There are two trees:
//! [`erofs::Builder`] writes the layer as one EROFS image, and the runtime's unpacker writes it as directories and
//! files. Both come to the same filesystem; the tests of the runtime compare them.
//!
//! Nothing is believed here: everything that a layer can make us hold or write is bounded, and the digest of the
//! uncompressed archive is checked before [`read`] returns.

pub mod archive;
pub mod digest;
pub mod erofs;
pub mod path;
pub mod prepared;
mod source;

use std::io;

use self::{
    archive::{Archive, Entry},
    path::{LayerPath, Meaning},
};

/// Why a layer could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The layer itself is at fault.
    #[error("{0}")]
    Corrupt(String),
    /// This host could not do it.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: String,
        /// The error.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// The layer itself is at fault.
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self::Corrupt(detail.into())
    }

    /// This host could not do `action`.
    pub fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { action: action.into(), source: source.into() }
    }
}

/// Bounds for one layer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest uncompressed archive.
    pub bytes_max: u64,
    /// Most entries, extension headers included.
    pub entries_max: u64,
}

/// What is worth knowing of a layer that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Uncompressed archive, bytes.
    pub bytes: u64,
    /// Entries in the archive.
    pub entries: u64,
    /// Directories that exist only because something is in them; their owner and mode are a guess.
    pub implied: Vec<String>,
    /// The archive says what owner and mode the root directory has.
    pub root_explicit: bool,
}

/// Something that becomes what a layer describes.
pub trait Tree {
    /// Creates one entry; true when it is a file that wants its content.
    ///
    /// # Errors
    /// What the archive's content made impossible is [`LayerError::Corrupt`].
    fn create(&mut self, path: &LayerPath, entry: &Entry) -> Result<bool, LayerError>;

    /// Appends to the file that was just created.
    ///
    /// # Errors
    /// When the host cannot keep it.
    fn content(&mut self, piece: &[u8]) -> Result<(), LayerError>;

    /// The file that was just created has all its content.
    ///
    /// # Errors
    /// As for [`Tree::create`].
    fn seal(&mut self, path: &LayerPath, entry: &Entry) -> Result<(), LayerError>;

    /// Hides `path` of lower layers.
    ///
    /// # Errors
    /// As for [`Tree::create`].
    fn whiteout(&mut self, path: &LayerPath) -> Result<(), LayerError>;

    /// Hides everything that lower layers have in the directory `path`.
    ///
    /// # Errors
    /// As for [`Tree::create`].
    fn opaque(&mut self, path: &LayerPath) -> Result<(), LayerError>;
}

/// Size and number of entries of an archive that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Uncompressed, bytes.
    pub bytes: u64,
    /// Headers, extension headers included.
    pub entries: u64,
}

/// Reads the layer `blob` (gzip, zstd or plain tar, told by its first bytes) into `tree` and checks that the
/// uncompressed archive has the digest `diff_id`.
///
/// Inflating and hashing have threads of their own; the tree is written by the caller's.
///
/// # Errors
/// [`LayerError::Corrupt`] when the layer is at fault, and what the tree returned. What was written is then worthless.
pub fn read<T: Tree>(
    blob: impl io::Read + Send,
    tree: &mut T,
    diff_id: &str,
    limits: Limits,
) -> Result<Extent, LayerError> {
    let (entries, summary) = source::read(blob, diff_id, limits.bytes_max, |reader| {
        let mut archive = Archive::new(reader, limits.entries_max);
        while let Some(entry) = archive.next_entry()? {
            write_entry(&mut archive, tree, &entry)?;
        }
        let entries = archive.headers();
        archive.drain()?;
        Ok(entries)
    })?;
    if summary.digest != diff_id {
        return Err(LayerError::corrupt(format!("layer unpacks to {}, expected {diff_id}", summary.digest)));
    }
    Ok(Extent { bytes: summary.bytes, entries })
}

fn write_entry<R: io::BufRead, T: Tree>(
    archive: &mut Archive<R>,
    tree: &mut T,
    entry: &Entry,
) -> Result<(), LayerError> {
    match path::meaning(&entry.path)? {
        Meaning::Ignored => Ok(()),
        Meaning::Whiteout(path) => tree.whiteout(&path),
        Meaning::Opaque(path) => tree.opaque(&path),
        Meaning::Entry(path) => {
            if tree.create(&path, entry)? {
                archive.read_content(|piece| tree.content(piece))?;
                tree.seal(&path, entry)?;
            }
            Ok(())
        }
    }
}
