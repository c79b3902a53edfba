//! The sizes a Fargate task may have.

/// Whether FARGATE runs a Linux task of `cpu_units` with `memory_mib`.
pub fn is_size(cpu_units: u32, memory_mib: u32) -> bool {
    let (least, most, step) = match cpu_units {
        // The smallest size is the only one with half a GiB.
        256 => return [512, 1024, 2048].contains(&memory_mib),
        512 => (1024, 4096, 1024),
        1024 => (2048, 8192, 1024),
        2048 => (4096, 16_384, 1024),
        4096 => (8192, 30_720, 1024),
        8192 => (16_384, 61_440, 4096),
        16_384 => (32_768, 122_880, 8192),
        _ => return false,
    };
    (least..=most).contains(&memory_mib) && (memory_mib - least).is_multiple_of(step)
}

/// Whether the size is among those that Windows tasks may have: 1 to 4 vCPU.
pub fn is_windows_size(cpu_units: u32, memory_mib: u32) -> bool {
    (1024..=4096).contains(&cpu_units) && is_size(cpu_units, memory_mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_published_sizes_and_no_other() {
        let cpus = [0, 128, 256, 512, 1024, 2048, 3072, 4096, 8192, 16_384, 32_768];
        let sizes = |cpu| (0..=131_072).step_by(256).filter(|&memory| is_size(cpu, memory)).count();
        assert_eq!(cpus.map(sizes), [0, 0, 3, 4, 7, 13, 0, 23, 12, 12, 0]);
        assert_eq!((0..=131_072).filter(|&memory| is_size(256, memory)).count(), 3);
    }

    #[test]
    fn the_edges_of_each_row_are_sizes() {
        for (cpu, least, most) in [
            (256, 512, 2048),
            (512, 1024, 4096),
            (1024, 2048, 8192),
            (2048, 4096, 16_384),
            (4096, 8192, 30_720),
            (8192, 16_384, 61_440),
            (16_384, 32_768, 122_880),
        ] {
            assert!(is_size(cpu, least) && is_size(cpu, most), "{cpu}");
            assert!(!is_size(cpu, least - 1) && !is_size(cpu, most + 1), "{cpu}");
        }
    }

    #[test]
    fn windows_has_the_middle_of_the_table() {
        assert!(is_windows_size(1024, 2048));
        assert!(!is_windows_size(512, 1024));
        assert!(!is_windows_size(8192, 16_384));
    }
}
