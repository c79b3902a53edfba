//! RPM's own database, as SUSE uses it: pages of slots that point at blobs.

use super::{Damaged, HEADER_BYTES_MAX, u32_le};

const SLOT: usize = 16;
const PAGE: usize = 4096;
const BLOCK: usize = 16;

pub(super) fn values(file: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Damaged> {
    if file.get(..4) != Some(b"RpmP") || u32_le(file, 4) != Some(0) {
        return Err(Damaged);
    }
    let pages = usize::try_from(u32_le(file, 12).ok_or(Damaged)?).map_err(|_| Damaged)?;
    let slots = file.get(..pages.checked_mul(PAGE).ok_or(Damaged)?).ok_or(Damaged)?;
    // A file cannot hold more than it has bytes, however often slots name the same blob.
    let mut budget = file.len();
    for slot in slots.chunks_exact(SLOT).skip(2) {
        if &slot[..4] != b"Slot" || u32_le(slot, 4) == Some(0) {
            continue;
        }
        let offset = usize::try_from(u32_le(slot, 8).ok_or(Damaged)?).map_err(|_| Damaged)?;
        let blob = offset.checked_mul(BLOCK).and_then(|at| file.get(at..)).ok_or(Damaged)?;
        if blob.get(..4) != Some(b"BlbS") || blob.get(4..8) != slot.get(4..8) {
            return Err(Damaged);
        }
        let length = usize::try_from(u32_le(blob, 12).ok_or(Damaged)?).map_err(|_| Damaged)?;
        budget = budget.checked_sub(length).ok_or(Damaged)?;
        let header = blob.get(16..16_usize.checked_add(length).ok_or(Damaged)?).ok_or(Damaged)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(Damaged);
        }
        each(header);
    }
    Ok(())
}
