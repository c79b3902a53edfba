//! Windows into the files of blobs: parts of a file as memory, without a copy of our own.
//!
//! A window is mapped read-only and shared, and filled from the disk before anybody sees it, so that a slow or broken
//! disk shows here, as an error, and not where the bytes are used. Blobs never change and are never cut short; a
//! deleted one keeps its content until the last window closes.
//!
//! Who sends the bytes over a plain socket need not touch the memory at all: [`file_behind`] says which file a slice
//! comes from, and the kernel copies from there (see `sendfile`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The windows that are open, by their first address.
static OPEN: RwLock<BTreeMap<usize, Place>> = RwLock::new(BTreeMap::new());

/// Where a window looks.
struct Place {
    length: usize,
    file: Arc<File>,
    offset: u64,
}

/// `length` bytes of `file` from `offset`, which must be a multiple of the page size and within the file. Blocking.
pub(crate) fn open(file: &Arc<File>, offset: u64, length: usize) -> io::Result<Bytes> {
    if length == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(Window::open(file, offset, length)?))
}

/// The file a slice was mapped from, and its offset there; none for ordinary memory.
pub(crate) fn file_behind(slice: &[u8]) -> Option<(Arc<File>, u64)> {
    let first = slice.as_ptr() as usize;
    let open = OPEN.read();
    let (start, place) = open.range(..=first).next_back()?;
    let within = first - start;
    (within + slice.len() <= place.length).then(|| (Arc::clone(&place.file), place.offset + within as u64))
}

struct Window {
    address: NonNull<u8>,
    length: usize,
}

impl Window {
    fn open(file: &Arc<File>, offset: u64, length: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address, so nothing of ours is mapped over.
        #[expect(unsafe_code, reason = "mapping a file is a system call on raw addresses")]
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, offset) }?;
        let address = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let window = Self { address, length };
        // SAFETY: the range is the mapping made above; this advice reads pages and changes none.
        #[expect(unsafe_code, reason = "advice about a mapping is given by raw address")]
        unsafe { rustix::mm::madvise(address.as_ptr().cast(), length, Advice::LinuxPopulateRead) }?;
        let place = Place { length, file: Arc::clone(file), offset };
        OPEN.write().insert(address.as_ptr() as usize, place);
        Ok(window)
    }
}

// SAFETY: the mapping belongs to the window alone and is only read, so any thread may do so and any may end it.
#[expect(unsafe_code, reason = "a raw address is not Send by itself")]
unsafe impl Send for Window {}
// SAFETY: as above; there is nothing to change through a shared reference.
#[expect(unsafe_code, reason = "a raw address is not Sync by itself")]
unsafe impl Sync for Window {}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is `length` bytes long, lives as long as the window, and its file is a blob: its bytes
        // do not change and its end does not move.
        #[expect(unsafe_code, reason = "the mapped range becomes a slice")]
        unsafe {
            std::slice::from_raw_parts(self.address.as_ptr(), self.length)
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Forgotten first: the address may be given to somebody else as soon as it is unmapped.
        OPEN.write().remove(&(self.address.as_ptr() as usize));
        // SAFETY: the range is this window's mapping, and with the window the last slice of it is gone.
        #[expect(unsafe_code, reason = "a mapping is ended by its raw address")]
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours is unmapped");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_window_shows_the_file_and_is_known_while_it_is_open() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        io::Write::write_all(&mut file, &content).unwrap();
        let file = Arc::new(file);
        let bytes = open(&file, 65_536, 100_000).unwrap();
        assert_eq!(bytes, content[65_536..165_536]);
        let slice = bytes.slice(10..20);
        let (behind, offset) = file_behind(&slice).unwrap();
        assert!(Arc::ptr_eq(&behind, &file));
        assert_eq!(offset, 65_546);
        assert!(file_behind(&content[..10]).is_none());
        drop(bytes);
        // The slice keeps the window open.
        assert_eq!(slice, content[65_546..65_556]);
        assert!(file_behind(&slice).is_some());
        assert_eq!(open(&file, 0, 0).unwrap(), Bytes::new());
        // A window beyond the end of a file is an error at once.
        assert!(open(&file, 1 << 30, 4096).is_err());
    }
}
