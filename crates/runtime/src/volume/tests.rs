//! Files of volumes. What is mounted of them is looked at from inside a container, end to end.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use super::*;

#[tokio::test]
async fn a_volume_has_its_room_from_the_beginning_and_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("vol-1.img");
    fs::write(unfinished(&image), "left by somebody who was killed").unwrap();
    make(&image, 16 << 20, Filesystem::Ext4).await.unwrap();
    let made = fs::metadata(&image).unwrap();
    assert_eq!((made.len(), made.mode() & 0o777), (16 << 20, 0o600));
    assert!(made.blocks() * 512 >= 16 << 20, "{} blocks", made.blocks());
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

#[test]
fn kinds_have_the_names_of_the_api() {
    for kind in Filesystem::ALL {
        assert_eq!(Filesystem::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(Filesystem::parse("ntfs"), None);
}
