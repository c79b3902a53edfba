//! Files of volumes, and what becomes of them when power fails. What is mounted of them is looked at from inside a
//! container, end to end.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use rustix::mount::{UnmountFlags, unmount};

use super::*;

#[tokio::test]
async fn a_volume_has_its_room_from_the_beginning_and_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("vol-1.img");
    fs::write(unfinished(&image), "left by somebody who was killed").unwrap();
    make(&image, 16 << 20, Filesystem::Ext4).await.unwrap();
    let made = fs::metadata(&image).unwrap();
    assert_eq!((made.len(), made.mode() & 0o777), (16 << 20, 0o600));
    assert!(kept_bytes(&image) >= 16 << 20, "{} bytes", kept_bytes(&image));
    make(&image, 16 << 20, Filesystem::Ext4).await.unwrap();
    assert_eq!(fs::metadata(&image).unwrap().ino(), made.ino());
    remove(&image).unwrap();
    remove(&image).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn one_that_does_not_fit_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let refused = make(&directory.path().join("vol-1.img"), 1 << 60, Filesystem::Ext4).await.unwrap_err();
    assert!(matches!(refused, VolumeError::NoRoom { .. }), "{refused}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// The size of the smallest volume that can be asked for.
const SMALLEST: u64 = 1 << 30;

#[tokio::test]
async fn the_smallest_volume_of_each_kind_has_its_size_and_survives_a_power_cut() {
    for kind in Filesystem::ALL {
        let directory = tempfile::tempdir().unwrap();
        let (image, at) = (directory.path().join("vol-1.img"), directory.path().join("at"));
        make(&image, SMALLEST, kind).await.unwrap();
        mount(&image, &at, kind).unwrap();
        let size = rustix::fs::statvfs(&at).unwrap();
        let bytes = size.f_blocks * size.f_frsize;
        assert!((SMALLEST / 10 * 9..=SMALLEST).contains(&bytes), "{kind:?} has {bytes} bytes");
        assert_eq!(fs::metadata(&at).unwrap().mode() & 0o777, 0o775);
        let mut file = File::create(at.join("synced")).unwrap();
        file.write_all(b"kept").unwrap();
        file.sync_all().unwrap();
        drop(file);
        // As the disk is at this moment, with what the journal holds only.
        let cut = directory.path().join("cut.img");
        assert!(
            std::process::Command::new("cp").arg("--sparse=always").args([&image, &cut]).status().unwrap().success()
        );
        unmount(&at, UnmountFlags::empty()).unwrap();

        mount(&cut, &at, kind).unwrap();
        assert_eq!(fs::read(at.join("synced")).unwrap(), b"kept", "{kind:?}");
        unmount(&at, UnmountFlags::empty()).unwrap();
        let (checker, arguments) = match kind {
            Filesystem::Xfs => ("xfs_repair", &["-n", "-f"][..]),
            Filesystem::Ext3 | Filesystem::Ext4 => ("e2fsck", &["-f", "-n"][..]),
        };
        let checked = std::process::Command::new(find(checker).unwrap()).args(arguments).arg(&cut).output().unwrap();
        assert!(checked.status.success(), "{kind:?}: {checked:?}");
    }
}

#[tokio::test]
async fn a_file_system_that_cannot_be_made_says_why_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let refused = make(&directory.path().join("vol-1.img"), 16 << 20, Filesystem::Xfs).await.unwrap_err();
    let VolumeError::Program { program, output } = refused else { panic!("{refused:?}") };
    assert!(program == "mkfs.xfs" && output.contains("must be larger than 300MB"), "{output}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_kind_that_is_made_when_none_is_named_is_that_of_ecs() {
    assert_eq!(filesystem_default(), Some(Filesystem::Xfs));
}

#[test]
fn kinds_have_the_names_of_the_api() {
    for kind in Filesystem::ALL {
        assert_eq!(Filesystem::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(Filesystem::parse("ntfs"), None);
}
