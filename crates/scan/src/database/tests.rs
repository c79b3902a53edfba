#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;

pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/advisories")
}

fn import_into(folder: &Path, sources: &[PathBuf]) -> Result<Imported, ImportError> {
    import(folder, sources, 1_700_000_000_000, &mut |_| {})
}

/// A zip archive, deflated, as OSV publishes it.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut central) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(content).unwrap();
        let data = deflate.finish().unwrap();
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        central.extend(b"PK\x01\x02\x14\0");
        central.extend(&common);
        central.extend([0; 10]);
        central.extend((bytes.len() as u32).to_le_bytes());
        central.extend(name.as_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(data);
    }
    let (offset, length) = (bytes.len() as u32, central.len() as u32);
    bytes.extend(central);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((files.len() as u16).to_le_bytes());
    bytes.extend((files.len() as u16).to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn record(id: &str, name: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"{name}"}},"versions":["1"]}}]}}"#
    )
}

#[test]
fn a_directory_is_imported_and_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let imported = import_into(folder.path(), &[samples()]).unwrap();
    assert_eq!((imported.summary.advisories, imported.left_out, imported.unreadable), (28, 2, 0));
    let database = Database::open(folder.path()).unwrap();
    assert_eq!(database.summary(), &imported.summary);
    assert_eq!(database.summary().ecosystems["Debian:12"], 6);
    let found = database.affected("Debian:12", "openssl").unwrap();
    assert_eq!(found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["GANTRY-2026-0001", "GANTRY-2026-0002"]);
    assert_eq!(database.advisory("GANTRY-2026-0001").unwrap().unwrap().cves, ["CVE-2026-90001"]);
    assert_eq!(database.affected("Debian:12", "opens").unwrap(), []);
    assert_eq!(database.advisory("none").unwrap(), None);
}

#[test]
fn an_archive_and_files_are_imported_together() {
    let folder = tempfile::tempdir().unwrap();
    let sources = tempfile::tempdir().unwrap();
    let (archive, single) = (sources.path().join("all.zip"), sources.path().join("one.json"));
    let (a, b, twice) = (record("A", "a"), record("B", "b"), record("A", "a"));
    let files: [(&str, &[u8]); 5] = [
        ("A.json", a.as_bytes()),
        ("B.json", b.as_bytes()),
        ("README", b"x"),
        ("broken.json", b"{"),
        ("../../evil.json", twice.as_bytes()),
    ];
    std::fs::write(&archive, zip(&files)).unwrap();
    std::fs::write(&single, record("C", "c")).unwrap();
    let imported = import_into(folder.path(), &[archive.clone(), single]).unwrap();
    assert_eq!((imported.summary.advisories, imported.unreadable), (3, 1));
    assert!(imported.examples[0].starts_with("broken.json"));

    // A damaged archive changes nothing.
    let whole = std::fs::read(&archive).unwrap();
    let before = Database::open(folder.path()).unwrap().summary().clone();
    for cut in [0, 10, whole.len() / 2, whole.len() - 5] {
        std::fs::write(&archive, &whole[..cut]).unwrap();
        assert!(import_into(folder.path(), std::slice::from_ref(&archive)).is_err());
    }
    assert_eq!(Database::open(folder.path()).unwrap().summary(), &before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn a_new_import_takes_the_place_of_the_old_under_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Database::open(folder.path()), Err(DatabaseError::Absent(_))));
    assert_eq!(Database::file_id(folder.path()), None);
    let file = folder.path().join("x.json");
    std::fs::write(&file, record("OLD", "a")).unwrap();
    let into = folder.path().join("db");
    import_into(&into, std::slice::from_ref(&file)).unwrap();
    let (old, old_id) = (Database::open(&into).unwrap(), Database::file_id(&into));
    std::fs::write(&file, record("NEW", "a")).unwrap();
    import_into(&into, std::slice::from_ref(&file)).unwrap();
    assert_ne!(Database::file_id(&into), old_id);
    assert_eq!(old.affected("npm", "a").unwrap()[0].0, "OLD");
    let new = Database::open(&into).unwrap();
    assert_eq!(new.affected("npm", "a").unwrap()[0].0, "NEW");
}

#[test]
fn nothing_usable_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    std::fs::write(&file, "{}").unwrap();
    let into = folder.path().join("db");
    assert!(matches!(import_into(&into, &[file]), Err(ImportError::Nothing { unreadable: 1 })));
    assert!(matches!(import_into(&into, &["/nowhere".into()]), Err(ImportError::Source { .. })));
    assert!(Database::open(&into).is_err());
    std::fs::write(into.join(FILE), "garbage").unwrap();
    assert!(matches!(Database::open(&into), Err(DatabaseError::Damaged(_))));
}
