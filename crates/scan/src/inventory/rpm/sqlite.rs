//! Just enough of the SQLite file format (<https://sqlite.org/fileformat2.html>) to read the blobs of one table.
//!
//! Every page is visited at most once and every payload has a bound, whatever the pointers say.

use std::collections::HashMap;

use super::{Damaged, HEADER_BYTES_MAX, u16_be, u32_be};

pub(super) struct Database<'a> {
    main: &'a [u8],
    /// Pages that the write-ahead log has newer.
    newer: HashMap<u32, &'a [u8]>,
    page_size: usize,
    /// Page size without what extensions reserve.
    usable: usize,
}

impl<'a> Database<'a> {
    pub(super) fn open(main: &'a [u8], wal: Option<&'a [u8]>) -> Result<Self, Damaged> {
        if main.get(..16) != Some(b"SQLite format 3\0") {
            return Err(Damaged);
        }
        let page_size = match u16_be(main, 16).ok_or(Damaged)? {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return Err(Damaged),
        };
        let usable = page_size.checked_sub(usize::from(*main.get(20).ok_or(Damaged)?)).filter(|size| *size >= 480);
        let newer = wal.and_then(|wal| newer_pages(wal, page_size)).unwrap_or_default();
        Ok(Self { main, newer, page_size, usable: usable.ok_or(Damaged)? })
    }

    /// Hands the second column of each row of `table` to `each`.
    pub(super) fn table(&self, table: &str, mut each: impl FnMut(&[u8])) -> Result<(), Damaged> {
        let mut root = None;
        self.walk(1, |payload| {
            let columns = columns(payload)?;
            let is_table = columns.first() == Some(&Column::Bytes(b"table"));
            if is_table && columns.get(1) == Some(&Column::Bytes(table.as_bytes())) {
                root = match columns.get(3) {
                    Some(Column::Integer(page)) => u32::try_from(*page).ok(),
                    _ => None,
                };
            }
            Some(())
        })?;
        self.walk(root.ok_or(Damaged)?, |payload| {
            if let Some(Column::Bytes(blob)) = columns(payload)?.get(1) {
                each(blob);
            }
            Some(())
        })
    }

    /// All rows of the table tree at `root`.
    fn walk(&self, root: u32, mut each: impl FnMut(&[u8]) -> Option<()>) -> Result<(), Damaged> {
        let mut budget = self.main.len() / self.page_size + self.newer.len() + 1;
        let mut pages = vec![root];
        while let Some(number) = pages.pop() {
            budget = budget.checked_sub(1).ok_or(Damaged)?;
            let page = self.page(number).ok_or(Damaged)?;
            let header = if number == 1 { 100 } else { 0 };
            let count = u16_be(page, header + 3).ok_or(Damaged)?;
            let interior = match page.get(header) {
                Some(0x05) => true,
                Some(0x0d) => false,
                _ => return Err(Damaged),
            };
            let pointers = header + if interior { 12 } else { 8 };
            for index in 0..count {
                let at = u16_be(page, pointers + 2 * index).ok_or(Damaged)?;
                if interior {
                    pages.push(u32_be(page, at).ok_or(Damaged)?);
                    continue;
                }
                let payload = self.payload(page, at).ok_or(Damaged)?;
                each(&payload).ok_or(Damaged)?;
            }
            if interior {
                pages.push(u32_be(page, header + 8).ok_or(Damaged)?);
            }
            if pages.len() > budget {
                return Err(Damaged);
            }
        }
        Ok(())
    }

    fn page(&self, number: u32) -> Option<&'a [u8]> {
        if let Some(page) = self.newer.get(&number) {
            return Some(page);
        }
        let start = usize::try_from(number.checked_sub(1)?).ok()?.checked_mul(self.page_size)?;
        self.main.get(start..start.checked_add(self.page_size)?)
    }

    /// The payload of the leaf cell at `at`, put together from its overflow pages.
    fn payload(&self, page: &'a [u8], at: usize) -> Option<std::borrow::Cow<'a, [u8]>> {
        let (length, rest) = varint(page.get(at..)?)?;
        let (_rowid, rest) = varint(rest)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= HEADER_BYTES_MAX)?;
        if length <= self.usable - 35 {
            return rest.get(..length).map(Into::into);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.usable - 4);
        let local = if fitting <= self.usable - 35 { fitting } else { least };
        let mut payload = rest.get(..local)?.to_vec();
        let mut next = u32_be(rest, local)?;
        while payload.len() < length {
            let overflow = self.page(next)?;
            next = u32_be(overflow, 0)?;
            let part = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(overflow.get(4..4 + part)?);
        }
        Some(payload.into())
    }
}

/// The frames of a log up to its last commit.
fn newer_pages(wal: &[u8], page_size: usize) -> Option<HashMap<u32, &[u8]>> {
    let magic = u32_be(wal, 0)?;
    if magic & !1 != 0x377f_0682 || usize::try_from(u32_be(wal, 8)?).ok()? != page_size {
        return None;
    }
    let salts = wal.get(16..24)?;
    let (mut committed, mut open) = (HashMap::new(), Vec::new());
    for frame in wal.get(32..)?.chunks_exact(24 + page_size) {
        if &frame[8..16] != salts {
            break;
        }
        open.push((u32_be(frame, 0)?, &frame[24..]));
        if u32_be(frame, 4)? != 0 {
            committed.extend(open.drain(..));
        }
    }
    Some(committed)
}

#[derive(Debug, PartialEq, Eq)]
enum Column<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
    Other,
}

fn columns(payload: &[u8]) -> Option<Vec<Column<'_>>> {
    let (length, rest) = varint(payload)?;
    let length = usize::try_from(length).ok()?;
    let mut types = payload.get(payload.len() - rest.len()..length)?;
    let mut data = payload.get(length..)?;
    let mut columns = Vec::new();
    while !types.is_empty() && columns.len() < 16 {
        let (kind, rest) = varint(types)?;
        types = rest;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (kind - 12) / 2,
        };
        let (value, rest) = data.split_at_checked(usize::try_from(size).ok()?)?;
        data = rest;
        columns.push(match kind {
            1..=6 => Column::Integer(value.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))),
            12.. => Column::Bytes(value),
            _ => Column::Other,
        });
    }
    Some(columns)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), &bytes[9..]));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
