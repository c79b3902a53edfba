//! Writes a layer as one EROFS image, which the kernel mounts read-only as an overlayfs lower layer.
//!
//! Creating files is most of the work of unpacking a layer; here all of them become one file that is written from
//! front to back while the archive arrives: file contents as they come, each from a block of its own, then the
//! directories and inodes. Only the tree is held in memory, within [`tree::TREE_BYTES_MAX`].
//!
//! The same archive always gives the same image, byte for byte. Nothing is compressed: content is read from the page
//! cache as from any file. Format: Linux, `fs/erofs/erofs_fs.h` and Documentation/filesystems/erofs.rst.

mod attributes;
mod format;
mod tree;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
};

use self::{
    format::BLOCK,
    tree::{Content, Nodes},
};
use crate::{
    Layer, LayerError, Limits, Tree,
    archive::{Entry, Kind},
    path::LayerPath,
};

const BUFFER_BYTES: usize = 1 << 20;

/// Reads the layer `blob` into a new EROFS image in the empty file `image`; see [`crate::read`].
///
/// # Errors
/// As [`crate::read`].
pub fn write(blob: impl io::Read + Send, image: File, diff_id: &str, limits: Limits) -> Result<Layer, LayerError> {
    let mut builder = Builder::new(image)?;
    let extent = crate::read(blob, &mut builder, diff_id, limits)?;
    builder.finish(extent)
}

/// An image with nothing but an empty root directory, to find out whether a kernel mounts it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_empty(image: File) -> Result<(), LayerError> {
    Builder::new(image)?.finish(crate::Extent { bytes: 0, entries: 0 }).map(drop)
}

/// Where the inodes of an image begin, told by its first block. They reach to its end, and what looks for a file
/// reads them first.
pub fn inodes_at(start: &[u8]) -> Option<u64> {
    let superblock = start.get(format::SUPERBLOCK_AT as usize..)?;
    let block = superblock.get(40..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    superblock.starts_with(&format::MAGIC.to_le_bytes()).then_some(u64::from(block) * u64::from(BLOCK))
}

/// A [`Tree`] that becomes an EROFS image.
pub struct Builder {
    output: BufWriter<File>,
    /// Bytes written so far; a multiple of the block between files.
    position: u64,
    nodes: Nodes,
    /// The file that content belongs to, and where it began.
    open: Option<(tree::NodeId, u64)>,
}

impl Builder {
    /// Starts an image in the empty file `image`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(image: File) -> Result<Self, LayerError> {
        let mut builder = Self {
            output: BufWriter::with_capacity(BUFFER_BYTES, image),
            position: 0,
            nodes: Nodes::default(),
            open: None,
        };
        // The superblock's place; it is written last.
        builder.append(&[0; BLOCK as usize])?;
        Ok(builder)
    }

    /// Writes directories, inodes and the superblock.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self, extent: crate::Extent) -> Result<Layer, LayerError> {
        let image = format::lay_out(&self.nodes, self.position / u64::from(BLOCK))?;
        let mut written = 0u64;
        image
            .write(&self.nodes, &mut |bytes| {
                written += bytes.len() as u64;
                self.output.write_all(bytes)
            })
            .map_err(|error| LayerError::io("write the inodes of a layer", error))?;
        self.position += written;
        self.pad()?;
        let superblock = image.superblock(self.position / u64::from(BLOCK));
        let file =
            self.output.into_inner().map_err(|error| LayerError::io("write a layer's image", error.into_error()))?;
        file.write_all_at(&superblock, format::SUPERBLOCK_AT)
            .map_err(|error| LayerError::io("write a layer's superblock", error))?;
        Ok(Layer {
            bytes: extent.bytes,
            entries: extent.entries,
            implied: self.nodes.implied(),
            root_explicit: self.nodes.root_explicit,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.position += bytes.len() as u64;
        self.output.write_all(bytes).map_err(|error| LayerError::io("write a layer's image", error))
    }

    fn pad(&mut self) -> Result<(), LayerError> {
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        let rest = (self.position % u64::from(BLOCK)) as usize;
        if rest > 0 { self.append(&ZEROS[rest..]) } else { Ok(()) }
    }
}

impl Tree for Builder {
    fn create(&mut self, path: &LayerPath, entry: &Entry) -> Result<bool, LayerError> {
        let node = self.nodes.create(path, entry)?;
        self.open = (entry.kind == Kind::File).then_some((node, self.position));
        Ok(entry.kind == Kind::File)
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), LayerError> {
        self.append(piece)
    }

    fn seal(&mut self, _: &LayerPath, _: &Entry) -> Result<(), LayerError> {
        let Some((node, start)) = self.open.take() else { return Ok(()) };
        let size = self.position - start;
        let block = u32::try_from(start / u64::from(BLOCK)).map_err(|_| LayerError::corrupt("layer is too large"))?;
        self.nodes.set_content(node, Content::Blocks { block: if size == 0 { 0 } else { block }, size });
        self.pad()
    }

    fn whiteout(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        self.nodes.whiteout(path)
    }

    fn opaque(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        self.nodes.opaque(path)
    }
}
