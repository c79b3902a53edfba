//! Gives back what only starting needed.
//!
//! The kernel maps the pages around each one that a program touches, so that after its start a large program has most
//! of itself in its resident set, though an idle agent runs a small part of it. The pages are clean copies of the file:
//! letting go of them costs a few hundred minor faults, once.

use std::{fs, ops::Range};

/// Lets go of the program's own code; what still runs comes back page by page.
pub(crate) fn release_startup_pages() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let Some(program) = program.to_str() else { return };
    for range in code_of(&maps, program) {
        #[expect(unsafe_code, reason = "madvise has no safe wrapper")]
        // SAFETY: the range is a mapping of a file that is private, executable and not writable: its pages are those of
        // the file, and one that is touched again is read from there again.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// The executable, not writable mappings of `program` in /proc/PID/maps.
fn code_of<'a>(maps: &'a str, program: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    maps.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let (range, permissions) = (fields.next()?, fields.next()?);
        if permissions != "r-xp" || fields.nth(3)? != program {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_let_go_of() {
        let maps = "1000-2000 r--p 00000000 fe:00 1 /bin/gantry\n\
                    2000-5000 r-xp 00001000 fe:00 1 /bin/gantry\n\
                    5000-6000 rw-p 00004000 fe:00 1 /bin/gantry\n\
                    7000-8000 r-xp 00000000 fe:00 2 /lib/libc.so.6\n\
                    9000-a000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(code_of(maps, "/bin/gantry").collect::<Vec<_>>(), vec![0x2000..0x5000]);
    }
}
