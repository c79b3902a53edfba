//! From files to devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Edits, Gpus,
    document::{Document, Head},
};

/// Where the specification has the files; what a later directory says of a device counts.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The file of a machine full of GPUs is a tenth of that.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that are looked at in one directory.
const FILES_MAX: usize = 1000;
/// Stands for every device of a kind.
const ALL: &str = "all";

/// (kind, name)
type QualifiedName = (String, String);
/// What a container needs, or why it cannot have the device.
type Usable = Result<Edits, String>;
type Devices = BTreeMap<QualifiedName, Usable>;

impl Gpus {
    /// Reads the files of these directories; one that is not there has none.
    pub fn read<P: AsRef<Path>>(directories: &[P]) -> Self {
        let mut troubles = Vec::new();
        let mut found: Devices = BTreeMap::new();
        for directory in directories {
            let mut here = BTreeMap::new();
            for path in files(directory.as_ref(), &mut troubles) {
                match read(&path) {
                    Ok(devices) => devices.into_iter().for_each(|(name, edits)| join(&mut here, name, edits)),
                    Err(why) => troubles.push(format!("{}: {why}", path.display())),
                }
            }
            found.extend(here);
        }
        Self { devices: with_ids(each_once(found)), troubles }
    }
}

/// Two files of one directory may not describe the same device: neither counts.
fn join(here: &mut Devices, name: QualifiedName, edits: Usable) {
    let edits = match here.contains_key(&name) {
        true => Err("two files of one directory describe it".to_owned()),
        false => edits,
    };
    here.insert(name, edits);
}

fn files(directory: &Path, troubles: &mut Vec<String>) -> BTreeSet<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(error) => {
            troubles.push(format!("{}: {error}", directory.display()));
            return BTreeSet::new();
        }
    };
    let known = |path: &PathBuf| {
        path.extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|one| matches!(one, "json" | "yaml" | "yml"))
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(known).take(FILES_MAX).collect()
}

/// The GPUs of a file; none when it is about something else.
fn read(path: &Path) -> Result<Vec<(QualifiedName, Usable)>, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let json = path.extension().is_some_and(|extension| extension == "json");
    let head: Head = parse(&text, json)?;
    if !head.is_of_gpus() {
        return Ok(Vec::new());
    }
    head.check_version()?;
    let document: Document = parse(&text, json)?;
    let common = Edits::of(&document.container_edits);
    let edits = |own: &super::document::ContainerEdits| {
        let mut edits: Edits = common.clone()?;
        edits.add(&Edits::of(own)?);
        Usable::Ok(edits)
    };
    let mut names = BTreeSet::new();
    if let Some(twice) = document.devices.iter().find(|device| !names.insert(device.name.as_str())) {
        return Err(format!("it describes the device {} twice", twice.name));
    }
    let device =
        |device: &super::document::Device| ((head.kind.clone(), device.name.clone()), edits(&device.container_edits));
    Ok(document.devices.iter().map(device).collect())
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, json: bool) -> Result<T, String> {
    match json {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => serde_norway::from_str(text).map_err(|error| error.to_string()),
    }
}

/// Files name a GPU by its number and by its UUID, and all of them together. Each counts once, by its UUID if it has one:
/// numbers change when a card is put in.
fn each_once(mut found: Devices) -> Devices {
    let kinds: BTreeSet<String> = found.keys().map(|(kind, _)| kind.clone()).collect();
    for kind in kinds {
        // Where the driver knows no single ones, all of them are one.
        if found.keys().filter(|(of, _)| *of == kind).count() > 1 {
            found.remove(&(kind.clone(), ALL.to_owned()));
        }
    }
    let better: Vec<QualifiedName> = found.keys().filter(|(_, name)| is_uuid(name)).cloned().collect();
    for name in better {
        let Some(Ok(edits)) = found.get(&name).cloned() else { continue };
        found.retain(|other, known| {
            let same = known.as_ref().is_ok_and(|known| known.devices() == edits.devices());
            other.0 != name.0 || is_uuid(&other.1) || edits.devices().is_empty() || !same
        });
    }
    found
}

fn is_uuid(name: &str) -> bool {
    name.len() >= 32 && name.contains('-')
}

/// A UUID is an id as it is. Any other name is one with its kind before it, so that the id stays the same when another
/// vendor's devices are added.
fn with_ids(found: Devices) -> BTreeMap<String, Usable> {
    let mut devices: BTreeMap<String, Usable> = BTreeMap::new();
    for ((kind, name), edits) in found {
        let id = if is_uuid(&name) { name } else { format!("{kind}={name}") };
        let edits = if devices.contains_key(&id) { Err("devices of two kinds have this id".to_owned()) } else { edits };
        devices.insert(id, edits);
    }
    devices
}
