//! What is here of an image that is still being fetched: a sparse file, and which of its chunks are in it.
//!
//! A chunk is written before its mark, so after a crash of a process every marked chunk is there. After a crash of the
//! machine nothing of this is trusted: the store drops the layer.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use gantry_layers::{erofs, prepared::chunks::Chunks};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{MARKS, PLAN, Plan, TABLE};
use crate::image::{failure::Failure, unpack::IMAGE};

/// The store's mark of a layer that survives a power failure. One that is not whole never has it.
const SYNCED: &str = "synced";

pub(super) struct LocalImage {
    image: File,
    marks: File,
    chunks: Chunks,
    present: Vec<AtomicBool>,
    missing: AtomicUsize,
}

impl LocalImage {
    /// Makes the files in the empty directory `directory`; nothing is there yet.
    pub(super) fn create(directory: &Path, plan: &Plan, table: &[u8]) -> Result<(), Failure> {
        let chunks = plan.read_table(table)?;
        let create = || {
            File::create_new(directory.join(IMAGE))?.set_len(plan.prepared.image_size)?;
            fs::write(directory.join(MARKS), vec![0; chunks.count()])?;
            fs::write(directory.join(TABLE), table)?;
            fs::write(directory.join(PLAN), serde_json::to_vec(plan)?)
        };
        create().map_err(|error| Failure::io("create a layer's image", error))
    }

    /// Opens what an earlier process left.
    pub(super) fn open(directory: &Path, plan: &Plan) -> Result<Self, Failure> {
        let failed = |error| Failure::io("open a layer's image", error);
        let open = |name| File::options().read(true).write(true).open(directory.join(name));
        let chunks = plan.read_table(&fs::read(directory.join(TABLE)).map_err(failed)?)?;
        let (image, marks) = (open(IMAGE).map_err(failed)?, open(MARKS).map_err(failed)?);
        claim(&marks).map_err(failed)?;
        let marked = fs::read(directory.join(MARKS)).map_err(failed)?;
        let present: Vec<AtomicBool> =
            (0..chunks.count()).map(|index| AtomicBool::new(marked.get(index) == Some(&1))).collect();
        let missing = present.iter().filter(|present| !present.load(Ordering::Relaxed)).count();
        Ok(Self { image, marks, chunks, present, missing: AtomicUsize::new(missing) })
    }

    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    pub(super) fn image_size(&self) -> u64 {
        self.chunks.image_size()
    }

    /// Chunks that are not here.
    pub(super) fn missing(&self) -> usize {
        self.missing.load(Ordering::Acquire)
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.present.get(index).is_some_and(|present| present.load(Ordering::Acquire))
    }

    pub(super) fn has_all(&self, mut chunks: Range<usize>) -> bool {
        chunks.all(|index| self.has(index))
    }

    /// Checks and keeps chunk `index`.
    pub(super) fn keep(&self, index: usize, frame: &[u8]) -> Result<(), Failure> {
        if self.has(index) {
            return Ok(());
        }
        let bytes = self.chunks.unpack(index, frame)?;
        let failed = |error| Failure::io("write a layer's image", error);
        self.image.write_all_at(&bytes, self.chunks.place(index).start).map_err(failed)?;
        self.marks.write_all_at(&[1], index as u64).map_err(failed)?;
        if let Some(present) = self.present.get(index)
            && !present.swap(true, Ordering::AcqRel)
        {
            self.missing.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Up to `size` bytes from `offset`, whose chunks are here.
    pub(super) fn read(&self, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        read(&self.image, self.image_size(), offset, size)
    }

    /// The chunks in the order in which a start is likely to want them: the superblock, the inodes and directories
    /// (which are at the end), and then the files.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.chunks.count();
        let mut start = vec![0; 4096];
        let inodes = match self.image.read_exact_at(&mut start, 0) {
            Ok(()) if self.has(0) => erofs::inodes_at(&start),
            _ => None,
        };
        let inodes = inodes.map_or(count..count, |at| self.chunks.covering(at..self.image_size()));
        (0..count.min(1)).chain(inodes.clone()).chain(1..inodes.start)
    }

    /// Makes it an ordinary image that survives a power failure. All chunks are here.
    pub(super) fn finish(&self, directory: &Path) -> io::Result<()> {
        self.image.sync_all()?;
        let folder = File::open(directory)?;
        rustix::fs::syncfs(&folder)?;
        File::create(directory.join(SYNCED))?;
        fs::remove_file(directory.join(PLAN))?;
        folder.sync_all()?;
        for name in [MARKS, TABLE] {
            fs::remove_file(directory.join(name))?;
        }
        Ok(())
    }
}

/// Makes the caller the one keeper (of the image) or worker (of the marks) of a layer, for as long as it lives.
pub(super) fn claim(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Whether the layer in `directory` has a keeper, or a worker that goes on without one.
pub(super) fn is_served(directory: &Path) -> bool {
    [IMAGE, MARKS].iter().any(|name| {
        let file = File::open(directory.join(name));
        file.is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
    })
}

/// Whether [`LocalImage::finish`] came to its end. False for a layer that is being deleted, too: its file has holes.
pub(super) fn is_whole(directory: &Path) -> bool {
    directory.join(SYNCED).exists() && !directory.join(PLAN).exists()
}

/// Up to `size` bytes from `offset` of an image of `length` bytes.
pub(super) fn read(image: &File, length: u64, offset: u64, size: u32) -> io::Result<Vec<u8>> {
    let end = offset.saturating_add(u64::from(size)).min(length);
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap_or(0)];
    image.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
