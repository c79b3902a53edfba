//! Removes what nobody needs any more.
//!
//! Plan first, then act: the plan is a pure question about sets. What a running pull or a new writable layer is about
//! to use is pinned, and pins are taken and looked at under one lock, so that nothing disappears between "it is here"
//! and "I use it".

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    digest::digits,
    parents::extra_layer_id,
    snapshot::{self, Snapshot},
    store::Store,
};

/// What a reference resolved to at its last pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// In canonical form.
    pub(super) reference: String,
    /// Of the manifest or index.
    pub(super) digest: String,
    /// Every document on the way: index, manifest.
    pub(super) documents: Vec<String>,
    pub(super) config_digest: String,
    /// Diff ids, lowest first.
    pub(super) layers: Vec<String>,
}

/// Digests (blobs, diff ids, references) in use right now.
#[derive(Debug, Default, Clone)]
pub(super) struct Pins(Arc<Mutex<HashMap<String, usize>>>);

/// Keeps digests from being collected while it lives.
pub(super) struct Pinned {
    pins: Pins,
    names: Vec<String>,
}

impl Pins {
    pub(super) fn pin(&self, names: impl IntoIterator<Item = String>) -> Pinned {
        let names: Vec<String> = names.into_iter().collect();
        let mut pins = self.0.lock();
        for name in &names {
            *pins.entry(name.clone()).or_default() += 1;
        }
        drop(pins);
        Pinned { pins: self.clone(), names }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        for name in &self.names {
            if let Some(count) = pins.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(name);
                }
            }
        }
    }
}

/// Moves everything unneeded into the trash and returns its size in bytes. The trash is not emptied.
pub(super) fn collect(store: &Store, pins: &Pins, keep: &[String]) -> io::Result<u64> {
    let pinned = pins.0.lock();
    let records = records(store)?;
    let needed = needed(&records, &snapshot::all(store)?, keep, pinned.keys());
    let mut freed = 0;
    for (path, record) in &records {
        if !needed.contains(&*record.digest) {
            fs::remove_file(path)?;
        }
    }
    let is_needed: HashSet<&str> = needed.iter().map(|name| digits(name)).collect();
    for directory in ["layers", "blobs"] {
        for entry in fs::read_dir(store.path(directory))? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| is_needed.contains(name)) {
                continue;
            }
            freed += size(store, &entry.path())?;
            match directory {
                "layers" => store.discard_layer(&entry.path())?,
                _ => store.trash.discard(&entry.path())?,
            }
        }
    }
    Ok(freed)
}

/// Names of every image, layer and blob that has to stay.
fn needed<'a>(
    records: &[(std::path::PathBuf, Record)],
    snapshots: &[Snapshot],
    keep: &'a [String],
    pinned: impl Iterator<Item = &'a String>,
) -> HashSet<String> {
    let mut needed: HashSet<String> = pinned.chain(keep).cloned().collect();
    for snapshot in snapshots {
        needed.insert(snapshot.image.clone());
        needed.extend(snapshot.layers.iter().cloned());
    }
    for (_, record) in records {
        if needed.contains(&record.digest) {
            needed.extend(record.documents.iter().cloned());
            needed.insert(record.config_digest.clone());
            needed.extend(record.layers.iter().cloned());
            needed.insert(extra_layer_id(&record.layers));
        }
    }
    needed
}

fn records(store: &Store) -> io::Result<Vec<(std::path::PathBuf, Record)>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(store.path("references"))? {
        let path = entry?.path();
        match store.read_record(&path) {
            Some(record) => records.push((path, record)),
            // Unreadable after a crash: it names nothing, so it protects nothing.
            None => fs::remove_file(&path)?,
        }
    }
    Ok(records)
}

fn size(store: &Store, path: &Path) -> io::Result<u64> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let layer: Option<super::unpack::Layer> = store.read_record(&path.join("layer.json"));
    Ok(layer.map_or(0, |layer| layer.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(digest: &str, layers: &[&str]) -> (std::path::PathBuf, Record) {
        let record = Record {
            reference: format!("r/{digest}"),
            digest: digest.to_owned(),
            documents: vec![digest.to_owned(), format!("{digest}-manifest")],
            config_digest: format!("{digest}-config"),
            layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
        };
        (Path::new("unused").to_owned(), record)
    }

    #[test]
    fn kept_used_and_pinned_images_stay_with_all_their_parts() {
        let records = [record("a", &["base", "la"]), record("b", &["base", "lb"]), record("c", &["lc"])];
        let pins = ["lp".to_owned()];
        let stay = needed(&records, &[], &["a".to_owned()], pins.iter());
        for name in ["a", "a-manifest", "a-config", "base", "la", "lp"] {
            assert!(stay.contains(name), "{name}");
        }
        for name in ["b", "lb", "c", "lc", "b-config"] {
            assert!(!stay.contains(name), "{name}");
        }
    }

    #[test]
    fn a_pin_counts_its_holders() {
        let pins = Pins::default();
        let first = pins.pin(["x".to_owned()]);
        let second = pins.pin(["x".to_owned(), "y".to_owned()]);
        drop(first);
        assert!(pins.0.lock().contains_key("x"));
        drop(second);
        assert!(pins.0.lock().is_empty());
    }
}
