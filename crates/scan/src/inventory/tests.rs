#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io::{Read, Write};

use super::rpm::tests::header as rpm_header;
use super::*;

const OS_RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\n";

fn dpkg(packages: &[(&str, &str)]) -> String {
    let paragraph = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n")
    };
    packages.iter().map(paragraph).collect()
}

/// A tar archive, entry by entry.
struct Archive(Vec<u8>);

impl Archive {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(mut self, path: &str, kind: u8, mode: u32, link: &str, content: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..263].copy_from_slice(b"ustar\0");
        self.raw(header, content)
    }

    /// Any header, with its checksum set right.
    fn raw(&mut self, mut header: [u8; 512], content: &[u8]) -> Self {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        Self(std::mem::take(&mut self.0))
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, b'0', 0o644, "", content.as_ref())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn read(layers: &[Vec<u8>], limits: Limits) -> Result<Inventory, InventoryError> {
    let never = || false;
    let mut reader = ImageReader::new(limits, &never);
    for layer in layers {
        reader.layer("application/vnd.oci.image.layer.v1.tar+gzip", layer.as_slice())?;
    }
    reader.finish()
}

fn names(layers: &[Vec<u8>]) -> Vec<String> {
    let inventory = read(layers, Limits::default()).unwrap();
    inventory.packages.into_iter().map(|package| format!("{} {}", package.name, package.version)).collect()
}

fn base() -> Archive {
    Archive::new()
        .file("./etc/os-release", OS_RELEASE)
        .file("var/lib/dpkg/status", dpkg(&[("openssl", "3.0.11-1"), ("zlib1g", "1:1.2.13")]))
        .file("app/requirements.txt", "requests==2.30.0\n")
}

#[test]
fn layers_may_be_plain_gzip_or_zstd() {
    let plain = base().end();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for layer in [plain.clone(), gzip(&plain), zstd] {
        let inventory = read(&[layer], Limits::default()).unwrap();
        assert_eq!(inventory.distribution.unwrap().id, "debian");
        assert_eq!(inventory.packages.len(), 3);
    }
    assert!(names(&[Vec::new()]).is_empty());
}

#[test]
fn whiteouts_hide_what_is_below_and_not_what_comes_with_them() {
    let base = || gzip(&base().end());
    let upper = |archive: Archive| names(&[base(), archive.end()]);
    assert_eq!(upper(Archive::new().file("app/.wh.requirements.txt", "")), ["openssl 3.0.11-1", "zlib1g 1:1.2.13"]);
    assert_eq!(upper(Archive::new().file(".wh.var", "")), ["requests 2.30.0"]);
    assert_eq!(upper(Archive::new().file("app/.wh..wh..opq", "")).len(), 2);
    assert_eq!(upper(Archive::new().file(".wh..wh..opq", "")).len(), 0);
    // The order of entries in the layer does not matter.
    let both = Archive::new().file("app/requirements.txt", "idna==3.4\n").file("app/.wh..wh..opq", "");
    assert_eq!(upper(both), ["openssl 3.0.11-1", "zlib1g 1:1.2.13", "idna 3.4"]);
    // A newer database replaces the older, and a file replaces a folder.
    let newer = Archive::new().file("var/lib/dpkg/status", dpkg(&[("openssl", "3.0.13-1")]));
    assert_eq!(upper(newer), ["openssl 3.0.13-1", "requests 2.30.0"]);
    assert_eq!(upper(Archive::new().file("app", "x")).len(), 2);
    assert_eq!(upper(Archive::new().entry("var", b'2', 0o777, "elsewhere", b"")), ["requests 2.30.0"]);
    // A folder with a name that only begins alike stays.
    assert_eq!(upper(Archive::new().file(".wh.ap", "")).len(), 3);
}

#[test]
fn a_hard_link_is_its_target() {
    let archive = base().entry("srv/requirements.txt", b'1', 0o644, "./app/requirements.txt", b"");
    let upper = Archive::new().file("app/.wh.requirements.txt", "");
    assert!(names(&[archive.end(), upper.end()]).contains(&"requests 2.30.0".to_owned()));
}

#[test]
fn long_names_and_pax_records_are_understood() {
    let long = format!("{}/requirements.txt", "d/".repeat(100));
    let gnu = Archive::new().entry("././@LongLink", b'L', 0o644, "", format!("{long}\0").as_bytes());
    assert_eq!(names(&[gnu.file("short", "a==1\n").end()]), ["a 1"]);
    let record = format!("path={long}\n");
    let length = record.len() + 4;
    let pax = Archive::new().entry("pax", b'x', 0o644, "", format!("{length} {record}").as_bytes());
    assert_eq!(names(&[pax.file("short", "a==1\n").end()]), ["a 1"]);
}

#[test]
fn paths_that_leave_the_root_are_of_no_interest() {
    let archive = Archive::new()
        .file("../var/lib/dpkg/status", dpkg(&[("evil", "1")]))
        .file("a/../../etc/requirements.txt", "evil==1\n")
        .file("/app/./requirements.txt", "good==1\n");
    assert_eq!(names(&[archive.end()]), ["good 1"]);
}

#[test]
fn every_bound_has_its_own_result() {
    let zeros = vec![0; 3 << 20];
    let bomb = gzip(&Archive::new().file("zeros", &zeros).end());
    assert!(bomb.len() < 64 * 1024, "it is a bomb");
    let limits = Limits { inflated_bytes_max: 1 << 20, ..Limits::default() };
    assert!(matches!(read(std::slice::from_ref(&bomb), limits.clone()), Err(InventoryError::TooLarge(_))));
    // The bound is for all layers together.
    let part = gzip(&Archive::new().file("zeros", &zeros[..600 << 10]).end());
    assert!(read(std::slice::from_ref(&part), limits.clone()).is_ok());
    assert!(matches!(read(&[part.clone(), part], limits), Err(InventoryError::TooLarge(_))));

    let many = (0..50).fold(Archive::new(), |archive, at| archive.file(&format!("f{at}"), "")).end();
    let limits = Limits { entries_max: 49, ..Limits::default() };
    assert!(matches!(read(&[many], limits), Err(InventoryError::TooManyEntries(49))));

    let limits = Limits { packages_max: 2, ..Limits::default() };
    assert!(matches!(read(&[base().end()], limits), Err(InventoryError::TooManyPackages(2))));

    let limits = Limits { file_bytes_max: 100, ..Limits::default() };
    let outcome = read(&[Archive::new().file("var/lib/dpkg/status", [b'x'; 101]).end()], limits.clone());
    assert!(matches!(outcome, Err(InventoryError::Unsupported(_))));
    let noted = read(&[Archive::new().file("app/go.mod", [b'x'; 101]).end()], limits).unwrap();
    assert_eq!(noted.notes, ["app/go.mod has 101 bytes, which is too large to read"]);
}

#[test]
fn time_is_looked_at_inside_of_one_file() {
    let bomb = gzip(&Archive::new().file("zeros", vec![0; 3 << 20]).end());
    let asked = Cell::new(0);
    let expired = || {
        asked.set(asked.get() + 1);
        asked.get() > 10
    };
    let mut reader = ImageReader::new(Limits::default(), &expired);
    assert!(matches!(reader.layer("x", bomb.as_slice()), Err(InventoryError::TimedOut)));
}

#[test]
fn damaged_layers_are_told_from_failing_stores() {
    let good = gzip(&base().end());
    for broken in [b"not a tar archive, not at all".to_vec(), good[..good.len() / 2].to_vec(), vec![7; 1024]] {
        assert!(matches!(read(&[broken], Limits::default()), Err(InventoryError::Damaged(_))));
    }
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let never = || false;
    let outcome = ImageReader::new(Limits::default(), &never).layer("x", Failing);
    assert!(matches!(outcome, Err(InventoryError::Source(_))));
    let outcome = ImageReader::new(Limits::default(), &never).layer("application/x.tar+gzip+encrypted", &b""[..]);
    assert!(matches!(outcome, Err(InventoryError::Unsupported(_))));
}

#[test]
fn hostile_headers_are_refused_quickly() {
    // A size of 2^60 and more, an extension header without end, a number that is none.
    for (kind, size) in [(b'0', "\u{80}"), (b'L', "77777777777"), (b'x', "77777777777"), (b'0', "99999999999")] {
        let mut header = [0_u8; 512];
        header[..3].copy_from_slice(b"abc");
        header[124] = 0x80;
        if size.len() > 2 {
            header[124..135].copy_from_slice(size.as_bytes());
        } else {
            header[125..136].fill(0xff);
        }
        header[156] = kind;
        let outcome = read(&[Archive::new().raw(header, b"").end()], Limits::default());
        assert!(matches!(outcome, Err(InventoryError::Damaged(_))), "{outcome:?}");
    }
    for record in ["9999 path=x\n", "x", "0 =\n", "20", "1 "] {
        let archive = Archive::new().entry("pax", b'x', 0o644, "", record.as_bytes()).file("a", "").end();
        assert!(matches!(read(&[archive], Limits::default()), Err(InventoryError::Damaged(_))), "{record}");
    }
}

#[test]
fn go_sum_gives_way_to_a_complete_go_mod() {
    let sum = "a.b/c v1.0.0 h1:x=\nunused.org/x v1.0.0 h1:x=\n";
    let archive =
        Archive::new().file("app/go.mod", "module m\ngo 1.21\nrequire a.b/c v1.0.0\n").file("app/go.sum", sum);
    assert_eq!(names(&[archive.end()]), ["a.b/c 1.0.0"]);
    let archive = Archive::new().file("app/go.mod", "module m\ngo 1.11\n").file("app/go.sum", sum);
    assert_eq!(names(&[archive.end()]).len(), 2);
}

#[test]
fn programs_are_looked_into() {
    let mut program = b"\x7fELF".to_vec();
    program.resize(256, 0);
    program.extend(super::go::MAGIC);
    program.extend([8, 2]);
    program.resize(256 + 32, 0);
    program.extend(b"\x08go1.20.5\x00");
    let archive = |mode| Archive::new().entry("bin/x", b'0', mode, "", &program).end();
    assert_eq!(names(&[archive(0o755)]), ["stdlib 1.20.5"]);
    assert!(names(&[archive(0o644)]).is_empty(), "what cannot be executed is not a program");
}

/// A SQLite database with one leaf page of headers, those beyond a page on overflow pages.
fn sqlite(headers: &[Vec<u8>]) -> Vec<u8> {
    const PAGE: usize = 1024;
    fn varint(value: usize) -> Vec<u8> {
        let mut bytes = vec![(value & 0x7f) as u8];
        let mut rest = value >> 7;
        while rest > 0 {
            bytes.insert(0, (rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes
    }
    fn leaf(page: &mut [u8], start: usize, cells: &[Vec<u8>]) {
        let mut end = PAGE;
        page[start] = 0x0d;
        page[start + 3..start + 5].copy_from_slice(&(cells.len() as u16).to_be_bytes());
        for (index, cell) in cells.iter().enumerate() {
            end -= cell.len();
            page[end..end + cell.len()].copy_from_slice(cell);
            let at = start + 8 + 2 * index;
            page[at..at + 2].copy_from_slice(&(end as u16).to_be_bytes());
        }
    }
    let mut overflow: Vec<Vec<u8>> = Vec::new();
    let mut cells = Vec::new();
    for (row, header) in headers.iter().enumerate() {
        let kind = varint(12 + 2 * header.len());
        let mut payload = vec![2 + kind.len() as u8, 0];
        payload.extend(kind);
        payload.extend(header);
        let mut cell = varint(payload.len());
        cell.extend(varint(row + 1));
        let least = (PAGE - 12) * 32 / 255 - 23;
        if payload.len() <= PAGE - 35 {
            cell.extend(&payload);
        } else {
            let fitting = least + (payload.len() - least) % (PAGE - 4);
            let local = if fitting <= PAGE - 35 { fitting } else { least };
            cell.extend(&payload[..local]);
            cell.extend((3 + overflow.len() as u32).to_be_bytes());
            let parts: Vec<&[u8]> = payload[local..].chunks(PAGE - 4).collect();
            for (index, part) in parts.iter().enumerate() {
                let next = if index + 1 < parts.len() { 4 + overflow.len() as u32 } else { 0 };
                let mut page = next.to_be_bytes().to_vec();
                page.extend(*part);
                page.resize(PAGE, 0);
                overflow.push(page);
            }
        }
        cells.push(cell);
    }
    let mut first = vec![0; PAGE];
    first[..16].copy_from_slice(b"SQLite format 3\0");
    first[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
    // type, name, tbl_name, rootpage, sql
    let mut schema = vec![6, 12 * 2 - 1, 12 + 2 * 8 + 1, 12 + 2 * 8 + 1, 1, 13];
    schema[1] = 13 + 2 * 5;
    schema.extend(b"tablePackagesPackages\x02");
    let mut cell = varint(schema.len());
    cell.push(1);
    cell.extend(schema);
    leaf(&mut first, 100, &[cell]);
    let mut second = vec![0; PAGE];
    leaf(&mut second, 0, &cells);
    [first, second, overflow.concat()].concat()
}

fn headers() -> Vec<Vec<u8>> {
    vec![
        rpm_header("openssl-libs", 1, "3.0.7", "16.el9", "openssl-3.0.7-16.el9.src.rpm"),
        rpm_header("gpg-pubkey", 0, "1", "1", ""),
        // Longer than two pages.
        rpm_header(
            "kernel-core",
            0,
            "5.14.0",
            "362.el9",
            &format!("kernel-5.14.0-362.el9{}.src.rpm", "x".repeat(2500)),
        ),
    ]
}

#[test]
fn rpm_databases_in_sqlite_are_read() {
    let database = sqlite(&headers());
    let found = names(&[Archive::new().file("var/lib/rpm/rpmdb.sqlite", &database).end()]);
    assert_eq!(found, ["kernel-core 5.14.0-362.el9", "openssl-libs 1:3.0.7-16.el9"]);
    for at in (0..database.len()).step_by(3) {
        let mut wild = database.clone();
        wild[at] ^= 0xff;
        let _ = super::rpm::sqlite(&wild, None, "p");
        let _ = super::rpm::sqlite(&database[..at], None, "p");
    }
}

#[test]
fn the_log_of_a_database_counts() {
    let (old, new) = (sqlite(&headers()[..1]), sqlite(&headers()));
    let mut wal = [0x377f_0682_u32, 3_007_000, 1024, 0, 5, 6, 0, 0].map(u32::to_be_bytes).concat();
    let pages = new.chunks(1024).count();
    for (index, page) in new.chunks(1024).enumerate() {
        let commit = if index + 1 == pages { pages as u32 } else { 0 };
        wal.extend([index as u32 + 1, commit, 5, 6, 0, 0].map(u32::to_be_bytes).concat());
        wal.extend(page);
    }
    let archive = |wal: &[u8]| {
        let archive = Archive::new().file("var/lib/rpm/rpmdb.sqlite", &old).file("var/lib/rpm/rpmdb.sqlite-wal", wal);
        names(&[archive.end()]).len()
    };
    assert_eq!(archive(b""), 1);
    assert_eq!(archive(&wal), 2);
    assert_eq!(archive(&wal[..wal.len() - 100]), 1, "without its commit the rest of the log does not count");
}

#[test]
fn the_older_forms_of_rpm_databases_are_read() {
    let header = &headers()[0];
    // Berkeley DB: the page of meta data, a hash page with one pair, an overflow page.
    let mut bdb = vec![0; 3 * 512];
    bdb[12..16].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
    bdb[20..24].copy_from_slice(&512_u32.to_le_bytes());
    let hash = &mut bdb[512..1024];
    hash[20] = 2;
    hash[25] = 13;
    hash[26..30].copy_from_slice(&[200, 0, 100, 0]);
    hash[100] = 3;
    hash[104] = 2;
    hash[108..112].copy_from_slice(&(header.len() as u32).to_le_bytes());
    let overflow = &mut bdb[1024..];
    overflow[25] = 7;
    overflow[26..26 + header.len()].copy_from_slice(header);
    assert_eq!(names(&[Archive::new().file("var/lib/rpm/Packages", &bdb).end()]), ["openssl-libs 1:3.0.7-16.el9"]);

    // ndb: one page of slots, the third of which points at the blob behind it.
    let mut ndb = vec![0; 4096];
    ndb[..4].copy_from_slice(b"RpmP");
    ndb[12] = 1;
    ndb[32..36].copy_from_slice(b"Slot");
    ndb[36] = 7;
    ndb[40..42].copy_from_slice(&256_u16.to_le_bytes());
    ndb.extend(b"BlbS\x07\0\0\0\0\0\0\0");
    ndb.extend((header.len() as u32).to_le_bytes());
    ndb.extend(header);
    let found = names(&[Archive::new().file("usr/lib/sysimage/rpm/Packages.db", &ndb).end()]);
    assert_eq!(found, ["openssl-libs 1:3.0.7-16.el9"]);

    for at in 0..bdb.len() {
        bdb[at] ^= 0xff;
        let _ = super::rpm::bdb(&bdb, "p");
        bdb[at] ^= 0xff;
    }
    for at in (0..ndb.len()).filter(|at| *at < 64 || *at > 4090) {
        ndb[at] ^= 0xff;
        let _ = super::rpm::ndb(&ndb, "p");
        ndb[at] ^= 0xff;
    }
    let outcome = read(&[Archive::new().file("var/lib/rpm/Packages", b"garbage").end()], Limits::default());
    assert!(matches!(outcome, Err(InventoryError::Unsupported(_))));
}

#[test]
fn a_file_that_cannot_be_understood_is_noted_and_the_rest_is_read() {
    let archive = base().file("app/Cargo.lock", "]").file("app/package-lock.json", "{");
    let inventory = read(&[archive.end()], Limits::default()).unwrap();
    assert_eq!(inventory.packages.len(), 3);
    assert_eq!(inventory.notes.len(), 2);
}

#[test]
fn names_and_paths_without_measure_are_not_kept() {
    let long = "n".repeat(10_000);
    let archive = Archive::new()
        .file("node_modules/a/package.json", format!(r#"{{"name":"{long}","version":"1.0.0"}}"#))
        .entry("././@LongLink", b'L', 0o644, "", format!("{long}/requirements.txt\0").as_bytes())
        .file("short", "a==1\n");
    assert!(names(&[archive.end()]).is_empty());
    // Files count even when nothing is in them.
    let many = (0..20).fold(Archive::new(), |archive, at| archive.file(&format!("{at}/requirements.txt"), ""));
    let limits = Limits { packages_max: 10, ..Limits::default() };
    assert!(matches!(read(&[many.end()], limits), Err(InventoryError::TooManyPackages(10))));
    // Replacements of modules are looked up, not searched for.
    let lines: String = (0..100_000).map(|at| format!("require m{at} v1\nreplace m{at} => n{at} v2\n")).collect();
    assert!(super::go::go_mod(&lines, "go.mod").0.len() == 100_000);
}
