//! The values of a Berkeley DB hash table, as RPM used it until 4.16. Little-endian files only: the others come from
//! machines that no image of today is for.
//!
//! Package headers are larger than a page's share, so they lie on chains of overflow pages; items inside a hash page
//! are keys and counters.

use super::{Damaged, HEADER_BYTES_MAX, u16_le, u32_le};

const HASH_MAGIC: u32 = 0x0006_1561;
const PAGE_HEADER: usize = 26;
const PAGE_HASH_UNSORTED: u8 = 2;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_HASH: u8 = 13;
const ITEM_OFF_PAGE: u8 = 3;

pub(super) fn values(file: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Damaged> {
    if u32_le(file, 12) != Some(HASH_MAGIC) {
        return Err(Damaged);
    }
    let page_size = usize::try_from(u32_le(file, 20).ok_or(Damaged)?).map_err(|_| Damaged)?;
    if !(512..=65536).contains(&page_size) || !page_size.is_power_of_two() {
        return Err(Damaged);
    }
    // Each page belongs to one chain at most.
    let mut budget = file.len() / page_size;
    for page in file.chunks_exact(page_size).skip(1) {
        if !matches!(page[25], PAGE_HASH_UNSORTED | PAGE_HASH) {
            continue;
        }
        let entries = u16_le(page, 20).ok_or(Damaged)?;
        // Keys and values take turns.
        for index in (1..entries).step_by(2) {
            let at = u16_le(page, PAGE_HEADER + 2 * index).ok_or(Damaged)?;
            let Some(item) = page.get(at..) else { return Err(Damaged) };
            if item.first() != Some(&ITEM_OFF_PAGE) {
                continue;
            }
            let first = u32_le(item, 4).ok_or(Damaged)?;
            let length = usize::try_from(u32_le(item, 8).ok_or(Damaged)?).map_err(|_| Damaged)?;
            if length > HEADER_BYTES_MAX {
                return Err(Damaged);
            }
            each(&chain(file, page_size, first, length, &mut budget)?);
        }
    }
    Ok(())
}

fn chain(file: &[u8], size: usize, first: u32, length: usize, budget: &mut usize) -> Result<Vec<u8>, Damaged> {
    let (mut value, mut next) = (Vec::new(), first);
    while value.len() < length {
        *budget = budget.checked_sub(1).ok_or(Damaged)?;
        let start = usize::try_from(next).ok().and_then(|next| next.checked_mul(size)).ok_or(Damaged)?;
        let page = file.get(start..start + size).filter(|page| page[25] == PAGE_OVERFLOW).ok_or(Damaged)?;
        let part = (length - value.len()).min(size - PAGE_HEADER);
        value.extend_from_slice(&page[PAGE_HEADER..PAGE_HEADER + part]);
        next = u32_le(page, 16).ok_or(Damaged)?;
    }
    Ok(value)
}
