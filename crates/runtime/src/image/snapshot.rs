//! Writable layers of containers: `snapshots/ID/{upper,work,root,rootfs.json}`.

use std::{collections::HashSet, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Image, Rootfs,
    copy::copy_attributes,
    failure::Failure,
    parents::{extra_layer_id, root_source},
    store::Store,
};

const ID_LENGTH_MAX: usize = 128;

/// What a writable layer stands on, kept beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Digest of the image.
    pub(super) image: String,
    /// Names of the layers below, as in the `layers` directory.
    pub(super) layers: Vec<String>,
    rootfs: Rootfs,
}

pub(super) fn directory(store: &Store, container_id: &str) -> Result<PathBuf, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = (1..=ID_LENGTH_MAX).contains(&container_id.len())
        && container_id.bytes().all(fits)
        && !container_id.starts_with('.');
    if valid {
        Ok(store.path("snapshots").join(container_id))
    } else {
        Err(Failure::io(format!("container id {container_id:?}"), io::ErrorKind::InvalidInput))
    }
}

/// Makes the writable layer of `container_id`, or returns the one it has on the same image.
pub(super) fn prepare(store: &Store, container_id: &str, image: &Image) -> Result<Rootfs, Failure> {
    let directory = directory(store, container_id)?;
    match store.read_record::<Snapshot>(&directory.join("rootfs.json")) {
        Some(found) if found.image == image.digest => {
            found.layers.iter().try_for_each(|layer| store.mount_layer(layer))?;
            return Ok(found.rootfs);
        }
        _ => store.trash.discard(&directory).map_err(|error| Failure::io("replace a writable layer", error))?,
    }
    let layers = layer_names(store, image)?;
    let failed = |error| Failure::io("create a writable layer", error);
    let scratch = store.scratch()?;
    for name in ["upper", "work", "root"] {
        fs::create_dir(scratch.join(name)).map_err(failed)?;
    }
    let rootfs = Rootfs {
        lower_dirs: lower_dirs(store, &layers, &directory.join("empty")),
        upper_dir: directory.join("upper"),
        work_dir: directory.join("work"),
        mount_point: directory.join("root"),
    };
    if layers.is_empty() {
        fs::create_dir(scratch.join("empty")).map_err(failed)?;
    }
    // The writable layer is the topmost one, so the root's attributes are taken from it.
    match root_source(store, &image.layers) {
        Some(source) => copy_attributes(&source, &scratch.join("upper")).map_err(failed)?,
        None => fs::set_permissions(scratch.join("upper"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(failed)?,
    }
    let snapshot = Snapshot { image: image.digest.clone(), layers, rootfs };
    store.write_record(&scratch.join("rootfs.json"), &snapshot)?;
    fs::rename(&scratch, &directory).map_err(failed)?;
    Ok(snapshot.rootfs)
}

/// Moves the writable layer away; the trash has to be emptied afterwards.
pub(super) fn discard(store: &Store, container_id: &str) -> Result<(), Failure> {
    let directory = directory(store, container_id)?;
    store.trash.discard(&directory).map_err(|error| Failure::io("remove a writable layer", error))
}

/// Every writable layer on this host.
pub(super) fn all(store: &Store) -> io::Result<Vec<Snapshot>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(store.path("snapshots"))? {
        snapshots.extend(store.read_record(&entry?.path().join("rootfs.json")));
    }
    Ok(snapshots)
}

/// Names of the layers that `image` is mounted from, topmost first. They can be used when this returns: those that
/// are images are mounted.
pub(super) fn layer_names(store: &Store, image: &Image) -> Result<Vec<String>, Failure> {
    let mut names = Vec::with_capacity(image.layers.len() + 1);
    let extra = extra_layer_id(&image.layers);
    if store.has_layer(&extra) {
        names.push(extra);
    }
    // overlayfs refuses a directory that appears twice. The topmost of two equal layers hides the other completely,
    // so leaving out the lower one changes nothing.
    let mut seen = HashSet::new();
    for diff_id in image.layers.iter().rev().filter(|diff_id| seen.insert(*diff_id)) {
        match store.layer(diff_id) {
            Some(layer) if layer.entries == 0 => {}
            Some(_) => {
                store.mount_layer(diff_id)?;
                names.push(diff_id.clone());
            }
            None => return Err(Failure::io(format!("layer {diff_id}"), io::ErrorKind::NotFound)),
        }
    }
    Ok(names)
}

/// Their directories; `empty` stands in for an image without any.
pub(super) fn lower_dirs(store: &Store, names: &[String], empty: &std::path::Path) -> Vec<PathBuf> {
    match names {
        [] => vec![empty.to_owned()],
        names => names.iter().map(|name| store.layer_root(name)).collect(),
    }
}
