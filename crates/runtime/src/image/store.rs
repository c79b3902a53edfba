//! Where things lie under the image directory, and what a crash may leave there.
//!
//! ```text
//! blobs/DIGITS            manifests, indexes, configurations; checked against their digest whenever they are read
//! layers/DIGITS/fs        an unpacked layer, named by its diff id, or where its image is mounted
//! layers/DIGITS/image.erofs
//! layers/DIGITS/layer.json
//! layers/DIGITS/synced    present once the layer is known to be on the disk
//! layers/DIGITS/lazy.json present as long as the image has holes; see `lazy.rs`
//! references/DIGITS.json  what a reference resolved to, named by the reference's own hash
//! snapshots/ID/           writable layer of a container
//! tmp/, trash/            never needed after a restart
//! boot                    the boot that wrote last
//! ```
//!
//! A directory under `layers` can be used: it is renamed there when all of it is verified, or when it is mounted and
//! what is missing is verified as it arrives. After a crash of the process the
//! page cache still holds all of it, so nobody has to wait for the disk. After a crash of the *machine* files may be
//! empty; then every layer without `synced` is dropped. Mounts end with the machine; an image is mounted (again) when
//! somebody is about to use its layer, and stays mounted as long as the layer is here: containers that use the same
//! layer then share what the kernel caches of it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    digest::{digits, matches},
    erofs,
    failure::Failure,
    lazy::{self, Starter},
    trash::Trash,
    unpack::{IMAGE, Layer},
};
use crate::mounts::is_mounted;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
    pub(super) trash: Trash,
    /// Held while looking whether a layer is mounted and mounting it.
    mounting: Arc<Mutex<()>>,
    /// This kernel mounts EROFS images from files, also below overlayfs.
    pub(super) mounts_erofs: bool,
    /// Serves layers that are not whole, where that is possible.
    pub(super) lazy: Option<Arc<Starter>>,
}

impl Store {
    pub(super) fn open(root: PathBuf, lazy: Option<lazy::LazyOptions>) -> Result<Self, Failure> {
        let failed = |error| Failure::io("open the image directory", error);
        fs::create_dir_all(&root).map_err(failed)?;
        // Layers contain setuid programs: nobody but root may reach them outside a container.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&root, private).map_err(failed)?;
        let trash = Trash::open(root.join("trash")).map_err(failed)?;
        let mut store = Self { root, trash, mounting: Arc::default(), mounts_erofs: false, lazy: None };
        // `downloads` was needed by earlier versions.
        for name in ["tmp", "downloads"] {
            store.trash.discard(&store.path(name)).map_err(failed)?;
        }
        for name in ["blobs", "layers", "references", "snapshots", "tmp"] {
            fs::create_dir_all(store.path(name)).map_err(failed)?;
        }
        let scratch = store.scratch()?;
        let probed = erofs::probe(&scratch);
        store.trash.discard(&scratch).map_err(failed)?;
        match probed {
            Ok(()) => {
                store.mounts_erofs = true;
                store.lazy =
                    lazy.filter(|_| Path::new("/dev/fuse").exists()).map(|options| Arc::new(Starter::new(options)));
            }
            Err(error) => {
                tracing::info!(%error, "the kernel mounts no EROFS images from files here; layers are unpacked");
                store.drop_images().map_err(failed)?;
            }
        }
        store.drop_unsynced_after_boot(&fs::read_to_string(BOOT_ID).unwrap_or_default()).map_err(failed)?;
        Ok(store)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn layer_directory(&self, diff_id: &str) -> PathBuf {
        self.path("layers").join(digits(diff_id))
    }

    pub(super) fn layer_root(&self, diff_id: &str) -> PathBuf {
        self.layer_directory(diff_id).join("fs")
    }

    /// Mounts the layer's image when it has one that is not mounted.
    pub(super) fn mount_layer(&self, diff_id: &str) -> Result<(), Failure> {
        let directory = self.layer_directory(diff_id);
        let image = directory.join(IMAGE);
        if !image.exists() {
            return Ok(());
        }
        if let Some(lazy) = &self.lazy {
            lazy.revive(&directory)?;
        }
        // Its own file has holes until it is whole.
        if lazy::is_unfinished(&directory) && !is_mounted(&directory.join("fs")).unwrap_or(false) {
            return Err(Failure::io(format!("layer {diff_id} is not whole"), io::ErrorKind::NotFound));
        }
        let _guard = self.mounting.lock();
        erofs::mount(&image, &directory.join("fs"))
            .map_err(|error| Failure::io(format!("mount the image of layer {diff_id}"), error))
    }

    /// Moves a layer into the trash, unmounted.
    pub(super) fn discard_layer(&self, directory: &Path) -> io::Result<()> {
        {
            let _guard = self.mounting.lock();
            erofs::unmount(&directory.join("fs"))?;
        }
        self.trash.discard(directory)
    }

    /// Ends every mount. Containers that run keep theirs; those of an image that is not whole cannot read the rest.
    pub(super) fn unmount_all(root: &Path) -> io::Result<()> {
        let layers = match fs::read_dir(root.join("layers")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for layer in layers {
            let directory = layer?.path();
            lazy::end(&directory);
            erofs::unmount(&directory.join("fs"))?;
        }
        Ok(())
    }

    /// Drops layers that another kernel could mount and this one cannot.
    fn drop_images(&self) -> io::Result<()> {
        for layer in fs::read_dir(self.path("layers"))? {
            let path = layer?.path();
            if path.join(IMAGE).exists() {
                self.discard_layer(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn has_layer(&self, diff_id: &str) -> bool {
        self.layer_directory(diff_id).exists()
    }

    pub(super) fn layer(&self, diff_id: &str) -> Option<Layer> {
        self.read_record(&self.layer_directory(diff_id).join("layer.json"))
    }

    /// A fresh directory that [`Store::adopt_layer`] takes, or the next start deletes.
    pub(super) fn scratch(&self) -> Result<PathBuf, Failure> {
        let path = self.path("tmp").join(uuid::Uuid::new_v4().simple().to_string());
        fs::create_dir(&path).map_err(|error| Failure::io("create a directory", error))?;
        Ok(path)
    }

    /// A path for a file that will be renamed to its place.
    pub(super) fn scratch_file(&self) -> PathBuf {
        self.path("tmp").join(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Makes the unpacked layer in `scratch` (holding `fs`) visible. When somebody was faster, theirs stays.
    pub(super) fn adopt_layer(&self, diff_id: &str, scratch: &Path, layer: &Layer) -> Result<(), Failure> {
        self.write_record(&scratch.join("layer.json"), layer)?;
        match fs::rename(scratch, self.layer_directory(diff_id)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                self.trash.discard(scratch).map_err(|error| Failure::io("remove a directory", error))
            }
            other => other.map_err(|error| Failure::io("rename a layer", error)),
        }
    }

    /// A small blob, when it is here and intact.
    pub(super) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path("blobs").join(digits(digest))).ok()?;
        matches(&bytes, digest).then_some(bytes)
    }

    /// Keeps a small blob that was checked.
    pub(super) fn keep_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.replace(&self.path("blobs").join(digits(digest)), bytes)
    }

    /// Replaces a file at once or not at all. Not synced: an unreadable record counts as absent.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |error| Failure::io(format!("write {}", path.display()), error);
        let scratch = self.scratch_file();
        let mut file = File::create_new(&scratch).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        fs::rename(&scratch, path).map_err(failed)
    }

    pub(super) fn write_record(&self, path: &Path, record: &impl Serialize) -> Result<(), Failure> {
        let bytes =
            serde_json::to_vec(record).map_err(|error| Failure::io("write a record", io::Error::other(error)))?;
        self.replace(path, &bytes)
    }

    pub(super) fn read_record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Writes everything to the disk and marks the layers `diff_ids` as safe. May take seconds.
    pub(super) fn sync(&self, diff_ids: &[String]) -> io::Result<()> {
        let root = File::open(&self.root)?;
        rustix::fs::syncfs(&root)?;
        for diff_id in diff_ids {
            // The layer may have been collected meanwhile.
            match File::create(self.layer_directory(diff_id).join("synced")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn drop_unsynced_after_boot(&self, boot_id: &str) -> io::Result<()> {
        let record = self.path("boot");
        if fs::read_to_string(&record).is_ok_and(|last| last == boot_id) {
            return Ok(());
        }
        for layer in fs::read_dir(self.path("layers"))? {
            let path = layer?.path();
            if !path.join("synced").exists() || lazy::is_unfinished(&path) {
                tracing::info!(layer = %path.display(), "dropping a layer that may not be whole after the reboot");
                self.discard_layer(&path)?;
            }
        }
        let mut file = File::create(&record)?;
        file.write_all(boot_id.as_bytes())?;
        file.sync_all()?;
        File::open(&self.root)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn add_layer(store: &Store, diff_id: &str) {
        let scratch = store.scratch().unwrap();
        fs::create_dir(scratch.join("fs")).unwrap();
        store.adopt_layer(diff_id, &scratch, &Layer::default()).unwrap();
    }

    #[test]
    fn a_reboot_drops_what_may_not_be_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("images");
        let store = Store::open(root.clone(), None).unwrap();
        add_layer(&store, "sha256:aa");
        add_layer(&store, "sha256:bb");
        store.sync(&["sha256:aa".to_owned(), "sha256:gone".to_owned()]).unwrap();

        let store = Store::open(root, None).unwrap();
        assert!(store.has_layer("sha256:aa") && store.has_layer("sha256:bb"), "the process alone died");

        store.drop_unsynced_after_boot("another boot").unwrap();
        assert!(store.has_layer("sha256:aa"));
        assert!(!store.has_layer("sha256:bb"));
    }

    #[test]
    fn a_damaged_record_counts_as_absent() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_owned(), None).unwrap();
        let bytes = b"manifest";
        let digest = super::super::digest::sha256(bytes);
        store.keep_blob(&digest, bytes).unwrap();
        assert_eq!(store.blob(&digest).unwrap(), bytes);
        fs::write(store.path("blobs").join(digits(&digest)), "").unwrap();
        assert_eq!(store.blob(&digest), None);
        fs::write(store.path("x.json"), "{\"bytes\":").unwrap();
        assert_eq!(store.read_record::<Layer>(&store.path("x.json")), None);
    }

    #[test]
    fn the_second_of_two_equal_layers_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().to_owned(), None).unwrap();
        add_layer(&store, "sha256:aa");
        add_layer(&store, "sha256:aa");
        assert_eq!(fs::read_dir(store.path("tmp")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(store.path("layers")).unwrap().count(), 1);
    }
}
