#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::{Form, IMAGE, Layer, Limits, unpack};
use crate::image::{digest::sha256, failure::Failure};

mod same;

const LIMITS: Limits = Limits { bytes_max: 1 << 20, entries_max: 1000 };

/// Builds archives entry by entry, also such as no decent tool writes.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn header(kind: EntryType) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(0);
        header
    }

    fn push(mut self, mut header: Header, path: &str, content: &[u8]) -> Self {
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.push(Self::header(EntryType::Regular), path, content.as_bytes())
    }

    fn directory(self, path: &str, mode: u32) -> Self {
        let mut header = Self::header(EntryType::Directory);
        header.set_mode(mode);
        self.push(header, path, b"")
    }

    fn link(self, kind: EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.push(header, path, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let length = (1..6).map(|digits| rest + digits).find(|l| l.to_string().len() + rest == *l).unwrap();
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.push(Self::header(EntryType::XHeader), "pax", &content)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct Unpacked {
    _directory: tempfile::TempDir,
    root: PathBuf,
    result: Result<Layer, Failure>,
}

/// Unpacks into directories, after checking that the EROFS image of the same blob is the same.
fn unpack_blob(blob: &[u8], diff_id: &str, limits: Limits) -> Unpacked {
    let directory = tempfile::tempdir().unwrap();
    let unpack = |name: &str, form| {
        let scratch = directory.path().join(name);
        fs::create_dir(&scratch).unwrap();
        (unpack(blob, &scratch, form, diff_id, limits), scratch)
    };
    let (result, unpacked) = unpack("unpacked", Form::Directory);
    let (image, written) = unpack("written", Form::Erofs);
    match (&result, &image) {
        (Ok(layer), Ok(same)) => {
            assert_eq!(layer, same);
            same::check(&unpacked.join("fs"), &written.join(IMAGE), &written.join("fs"));
        }
        (Err(Failure::Corrupt(_)), Err(Failure::Corrupt(_))) => {}
        other => panic!("unpacked and written differ: {other:?}"),
    }
    Unpacked { root: unpacked.join("fs"), _directory: directory, result }
}

fn unpack_tar(tar: Tar) -> Unpacked {
    let bytes = tar.end();
    unpack_blob(&bytes, &sha256(&bytes), LIMITS)
}

fn is_corrupt(unpacked: &Unpacked) -> bool {
    matches!(unpacked.result, Err(Failure::Corrupt(_)))
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn owners_modes_times_and_kinds_are_kept() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let mut setuid = Tar::header(EntryType::Regular);
    setuid.set_mode(0o6755);
    setuid.set_uid(12);
    setuid.set_gid(34);
    let mut device = Tar::header(EntryType::Char);
    device.set_mode(0o666);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    let unpacked = unpack_tar(
        Tar::default()
            .directory("./", 0o1777)
            .directory("d/", 0o2750)
            .push(setuid, "d/su", b"program")
            .push(device, "d/null", b"")
            .push(Tar::header(EntryType::Fifo), "d/fifo", b"")
            .link(EntryType::Symlink, "d/sym", "/etc/passwd")
            .link(EntryType::Link, "d/hard", "./d/su")
            .file("d/empty", ""),
    );
    let layer = unpacked.result.unwrap();
    assert!(layer.root_explicit && layer.implied.is_empty());
    assert_eq!(layer.entries, 8);
    let meta = |path: &str| fs::symlink_metadata(unpacked.root.join(path)).unwrap();
    assert_eq!(meta("").mode() & 0o7777, 0o1777);
    assert_eq!(meta("d").mode() & 0o7777, 0o2750);
    assert_eq!(meta("d").mtime(), 1_000_000);
    let program = meta("d/su");
    assert_eq!((program.mode() & 0o7777, program.uid(), program.gid(), program.mtime()), (0o6755, 12, 34, 1_000_000));
    assert_eq!(meta("d/hard").ino(), program.ino());
    assert_eq!(program.nlink(), 2);
    let device = meta("d/null");
    assert!(device.file_type().is_char_device() && device.rdev() == rustix::fs::makedev(1, 3));
    assert_eq!(device.mode() & 0o777, 0o666);
    assert!(meta("d/fifo").file_type().is_fifo());
    assert_eq!(fs::read_link(unpacked.root.join("d/sym")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(meta("d/sym").mtime(), 1_000_000);
    assert_eq!(fs::read(unpacked.root.join("d/su")).unwrap(), b"program");
}

#[test]
fn long_names_and_binary_attributes_come_through_pax() {
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00";
    let name = format!("{}/{}", "directory".repeat(20), "file".repeat(30));
    let unpacked = unpack_tar(
        Tar::default()
            .pax(&[("path", name.as_bytes()), ("mtime", b"5.5"), ("uid", b"3000000")])
            .file("short", "x")
            .pax(&[
                ("SCHILY.xattr.security.capability", &capability[..]),
                ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ])
            .file("ping", "y"),
    );
    unpacked.result.unwrap();
    let meta = fs::metadata(unpacked.root.join(&name)).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec(), meta.uid()), (5, 500_000_000, 3_000_000));
    assert_eq!(xattr(&unpacked.root.join("ping"), "security.capability").unwrap(), capability);
    assert_eq!(xattr(&unpacked.root.join("ping"), "trusted.overlay.redirect"), None);
}

#[test]
fn gnu_long_names_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let name = "n/".repeat(100) + "file";
    let mut header = Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(2);
    builder.append_data(&mut header, &name, &b"ok"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let unpacked = unpack_blob(&bytes, &sha256(&bytes), LIMITS);
    assert_eq!(unpacked.result.unwrap().implied.len(), 100);
    assert_eq!(fs::read(unpacked.root.join(&name)).unwrap(), b"ok");
}

#[test]
fn whiteouts_speak_of_lower_layers_only() {
    let unpacked = unpack_tar(
        Tar::default()
            .file("a/.wh.gone", "")
            .file("a/kept", "1")
            .file("a/.wh.kept", "")
            .directory("a/dir", 0o755)
            .file("a/dir/x", "2")
            .file("a/.wh.dir", "")
            .file("a/.wh.again", "")
            .directory("a/again", 0o700)
            .file("b/.wh..wh..opq", "")
            .file("b/x", "3")
            .file("c/.wh.d", "")
            .file("c/d/e", "4")
            .file(".wh..wh.plnk/1.2", ""),
    );
    unpacked.result.unwrap();
    let root = &unpacked.root;
    let gone = fs::symlink_metadata(root.join("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::read(root.join("a/kept")).unwrap(), b"1");
    assert_eq!(fs::read(root.join("a/dir/x")).unwrap(), b"2");
    for opaque in ["a/dir", "a/again", "b", "c/d"] {
        assert_eq!(xattr(&root.join(opaque), "trusted.overlay.opaque").unwrap(), b"y", "{opaque}");
    }
    assert_eq!(xattr(&root.join("a"), "trusted.overlay.opaque"), None);
    assert!(!root.join(".wh..wh.plnk").exists());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let unpacked = unpack_tar(
        Tar::default()
            .file("f", "old")
            .link(EntryType::Link, "g", "f")
            .file("f", "new")
            .directory("d", 0o755)
            .file("d/inside", "x")
            .file("d", "now a file")
            .link(EntryType::Symlink, "s", "/tmp")
            .directory("s", 0o711)
            .file("s/y", "y")
            .directory("s", 0o700),
    );
    unpacked.result.unwrap();
    let read = |path: &str| fs::read_to_string(unpacked.root.join(path)).unwrap();
    assert_eq!((read("f").as_str(), read("g").as_str(), read("d").as_str()), ("new", "old", "now a file"));
    assert_eq!(read("s/y"), "y");
    assert_eq!(fs::symlink_metadata(unpacked.root.join("s")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn links_resolve_inside_the_layer() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let unpacked = unpack_tar(
        Tar::default()
            .directory("real", 0o755)
            .link(EntryType::Symlink, "absolute", "/real")
            .file("absolute/a", "a")
            .link(EntryType::Symlink, "climbing", "../../../real")
            .file("climbing/b", "b"),
    );
    unpacked.result.unwrap();
    assert_eq!(fs::read(unpacked.root.join("real/a")).unwrap(), b"a");
    assert_eq!(fs::read(unpacked.root.join("real/b")).unwrap(), b"b");

    let escaping = unpack_tar(Tar::default().link(EntryType::Symlink, "out", &target).file("out/a", "a"));
    assert!(is_corrupt(&escaping), "{:?}", escaping.result);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn hostile_archives_are_corrupt() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let outside = outside.path().to_str().unwrap().to_owned();
    // Each link leads to the end of the last one's path, so that nesting outgrows any single path.
    let deep = (0..25).fold(Tar::default(), |tar, level| {
        let directory = "d/".repeat(100);
        let path = if level == 0 { directory } else { format!("l{}/{directory}", level - 1) };
        tar.pax(&[("path", format!("{path}x").as_bytes())]).file("x", "").pax(&[("linkpath", path.as_bytes())]).link(
            EntryType::Symlink,
            &format!("l{level}"),
            "",
        )
    });
    let cases: Vec<(&str, Tar)> = vec![
        ("parent", Tar::default().file("../x", "")),
        ("parent inside", Tar::default().file("a/../../x", "")),
        ("hard link outside", Tar::default().link(EntryType::Link, "a", &outside)),
        ("hard link by parent", Tar::default().link(EntryType::Link, "a", "../../etc/passwd")),
        ("hard link to nothing", Tar::default().link(EntryType::Link, "a", "b")),
        ("hard link to a directory", Tar::default().directory("b", 0o755).link(EntryType::Link, "a", "b")),
        ("file below a file", Tar::default().file("a", "").file("a/b", "")),
        ("link loop", Tar::default().link(EntryType::Symlink, "a", "a").file("a/b", "")),
        ("root as a file", Tar::default().link(EntryType::Symlink, "./", "/etc")),
        ("sparse", Tar::default().push(Tar::header(EntryType::GNUSparse), "a", b"")),
        ("long name", Tar::default().pax(&[("path", "n".repeat(300).as_bytes())]).file("a", "")),
        ("nesting through links", deep),
        ("a thousand entries", (0..1001).fold(Tar::default(), |tar, _| tar.file("a", ""))),
        ("too large", (0..3).fold(Tar::default(), |tar, _| tar.file("a", &"x".repeat(400_000)))),
    ];
    for (name, tar) in cases {
        let unpacked = unpack_tar(tar);
        assert!(is_corrupt(&unpacked), "{name}: {:?}", unpacked.result.map(|layer| layer.entries));
    }
}

#[test]
fn a_link_to_itself_needs_something_to_link_to() {
    assert!(is_corrupt(&unpack_tar(Tar::default().link(EntryType::Link, "a/b", "a/b"))));
    let twice = unpack_tar(Tar::default().file("a", "content").link(EntryType::Link, "a", "a"));
    assert_eq!(fs::read_to_string(twice.root.join("a")).unwrap(), "content");
}

#[test]
fn every_compression_is_told_by_its_first_bytes() {
    let tar = Tar::default().file("a", &"text ".repeat(1000)).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for blob in [&tar, &gzip, &zstd] {
        let unpacked = unpack_blob(blob, &sha256(&tar), LIMITS);
        assert_eq!(unpacked.result.unwrap().bytes, tar.len() as u64);
        assert_eq!(fs::metadata(unpacked.root.join("a")).unwrap().len(), 5000);
    }
    for blob in [&gzip[..gzip.len() - 9], &zstd[..zstd.len() - 1], &tar[..700]] {
        assert!(is_corrupt(&unpack_blob(blob, &sha256(&tar), LIMITS)));
    }
    let mut damaged = gzip;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(is_corrupt(&unpack_blob(&damaged, &sha256(&tar), LIMITS)));
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0u8; 64 << 20];
    let bomb = zstd::encode_all(&zeros[..], 1).unwrap();
    assert!(bomb.len() < 100_000);
    let unpacked = unpack_blob(&bomb, &sha256(&zeros), LIMITS);
    assert!(matches!(unpacked.result, Err(Failure::Corrupt(detail)) if detail.contains("more than")));
}

#[test]
fn the_digest_covers_what_follows_the_archive() {
    let mut bytes = Tar::default().file("a", "").end();
    bytes.extend_from_slice(b"trailing bytes");
    assert!(unpack_blob(&bytes, &sha256(&bytes), LIMITS).result.is_ok());
    let other = unpack_blob(&bytes, &sha256(b"other"), LIMITS);
    assert!(matches!(other.result, Err(Failure::Corrupt(detail)) if detail.contains("expected")));
}

fn component() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just(".."), 1 => Just("."), 1 => Just(""),
        1 => Just(".wh.a"), 1 => Just(".wh..wh..opq"),
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    (any::<bool>(), proptest::collection::vec(component(), 1..5))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn any_entry() -> impl Strategy<Value = (u8, String, String)> {
    (
        0..7u8,
        any_path(),
        prop_oneof![4 => any_path(), 1 => Just("../../victim".to_owned()), 1 => Just("VICTIM".to_owned())],
    )
}

/// Makes the header at `start` (if it is one) valid again, so that what was changed in it is read.
fn repair_checksum(archive: &mut [u8], start: usize) {
    let Some(block) = archive.get_mut(start..start + 512) else { return };
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Mode, links, time and content.
type Seen = (u32, u64, i64, Option<Vec<u8>>);

fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            seen.extend(snapshot(&path));
        }
        let content = meta.is_file().then(|| fs::read(&path).unwrap());
        seen.insert(path, (meta.mode(), meta.nlink(), meta.mtime(), content));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn random_archives_never_touch_anything_outside(entries in proptest::collection::vec(any_entry(), 1..25)) {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("a"), "precious").unwrap();
        fs::create_dir(victim.join("b")).unwrap();
        let before = snapshot(&victim);

        let mut tar = Tar::default();
        for (kind, path, target) in &entries {
            let target = target.replace("VICTIM", victim.to_str().unwrap());
            let kind = match kind {
                0 | 1 => EntryType::Regular,
                2 => EntryType::Directory,
                3 | 4 => EntryType::Symlink,
                5 => EntryType::Link,
                _ => EntryType::Fifo,
            };
            tar = match kind {
                EntryType::Symlink | EntryType::Link => tar.link(kind, path, &target),
                EntryType::Regular => tar.file(path, "evil"),
                kind => tar.push(Tar::header(kind), path, b""),
            };
        }
        let bytes = tar.end();
        let inside = directory.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let result = unpack(&bytes[..], &inside, Form::Directory, &sha256(&bytes), LIMITS);

        prop_assert!(!matches!(result, Err(Failure::Io { .. })), "{result:?}");
        prop_assert_eq!(snapshot(&victim), before);
        let mut beside: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        prop_assert_eq!(beside, ["inside", "victim"]);
        // The same archive as an image.
        unpack_blob(&bytes, &sha256(&bytes), LIMITS);
    }

    #[test]
    fn damaged_archives_are_unpacked_and_written_alike_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        end in any::<proptest::sample::Index>(),
        cut in proptest::bool::weighted(0.2),
    ) {
        let mut bytes = Tar::default()
            .directory("d/", 0o755)
            .pax(&[("path", b"d/long"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b")])
            .file("short", "content")
            .link(EntryType::Symlink, "d/link", "../short")
            .link(EntryType::Link, "hard", "d/long")
            .file("d/.wh.gone", "")
            .end();
        for (place, value, repair) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
            if repair {
                repair_checksum(&mut bytes, place / 512 * 512);
            }
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        // Compares both forms, and panics on anything but "done" and "corrupt".
        unpack_blob(&bytes, &sha256(&bytes), LIMITS);
    }
}

#[test]
fn large_directories_links_and_attributes_are_the_same_in_an_image() {
    let long = "n".repeat(200);
    let mut tar = Tar::default().directory("many", 0o755);
    // Names of all lengths, so that directory blocks end at all places; more than one block of each.
    for number in 0..400usize {
        let name = format!("many/{number}{}", &long[..number % 180]);
        tar = tar.pax(&[("path", name.as_bytes())]).file("x", &"c".repeat(number * 13));
    }
    for length in [1, 59, 60, 4000, 4031, 4032, 4033, 4095] {
        let target = "t".repeat(length);
        tar = tar.pax(&[("linkpath", target.as_bytes())]).link(EntryType::Symlink, &format!("l{length}"), "");
    }
    for length in [0, 1, 2, 3, 1000, 3300, 3500] {
        let value = vec![b'v'; length];
        tar = tar
            .pax(&[
                ("SCHILY.xattr.user.value", &value),
                ("SCHILY.xattr.trusted.other", b"1"),
                ("SCHILY.xattr.bad", b""),
            ])
            .file(&format!("a{length}"), "content")
            .pax(&[("SCHILY.xattr.user.directory", &value)])
            .directory(&format!("d{length}"), 0o2711)
            .file(&format!("d{length}/f"), "x");
    }
    for (size, name) in [(4095, "b"), (4096, "c"), (4097, "e"), (70_000, "f")] {
        tar = tar.file(name, &"z".repeat(size)).link(EntryType::Link, &format!("{name}2"), name);
    }
    let entry = |kind: u8, permissions: u8, id: u32| [&[kind, 0, permissions, 0][..], &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [entry(1, 6, none), entry(2, 4, 1000), entry(4, 4, none), entry(16, 4, none), entry(32, 4, none)];
    let acl = [vec![2, 0, 0, 0], entries.concat()].concat();
    let mut device = Tar::header(EntryType::Block);
    device.set_device_major(259).unwrap();
    device.set_device_minor(70_000).unwrap();
    tar = tar.pax(&[("SCHILY.xattr.system.posix_acl_access", &acl[..])]).file("acl", "").push(device, "disk", b"");
    let bytes = tar.end();
    let unpacked = unpack_blob(&bytes, &sha256(&bytes), Limits { bytes_max: 8 << 20, entries_max: 2000 });
    unpacked.result.unwrap();
}
