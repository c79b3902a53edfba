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
fn of_records_that_come_twice_the_newest_counts_whichever_comes_first() {
    let record = |modified: &str, package: &str, more: &str| {
        format!(
            r#"{{"id":"A","modified":"{modified}",{more}"affected":[{{"package":{{"ecosystem":"Debian:12","name":"{package}"}},"versions":["1"]}}]}}"#
        )
    };
    let old = record("2026-01-01T00:00:00Z", "old", "");
    let new = record("2026-02-01T00:00:00Z", "new", "");
    let withdrawn = record("2026-03-01T00:00:00Z", "new", r#""withdrawn":"2026-03-01T00:00:00Z","#);
    let other = self::record("B", "b");
    let import_of = |files: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("all.zip");
        let names: Vec<String> = (0..files.len()).map(|number| format!("{number}.json")).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().zip(files).map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        std::fs::write(&archive, zip(&files)).unwrap();
        let imported = import_into(&folder.path().join("db"), &[archive]).unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let has = |package: &str| !database.affected("Debian:12", package).unwrap().is_empty();
        (imported.summary.advisories, has("old"), has("new"), database.advisory("A").unwrap().is_some())
    };
    for files in [[&old, &new, &other], [&new, &old, &other], [&other, &old, &new]] {
        assert_eq!(import_of(&files.map(String::as_str)), (2, false, true, true));
    }
    for files in [[&new, &withdrawn, &other], [&withdrawn, &new, &other]] {
        assert_eq!(import_of(&files.map(String::as_str)), (1, false, false, false));
    }
}

/// An archive of so many stored files of one byte, with the zip64 records that more than 65,535 of them need.
fn many(files: u64) -> Vec<u8> {
    let (mut bytes, mut central) = (Vec::new(), Vec::new());
    for number in 0..files {
        let name = format!("{number}.json");
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(1_u32.to_le_bytes());
        common.extend(1_u32.to_le_bytes());
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
        bytes.push(b'x');
    }
    let (offset, length) = (bytes.len() as u64, central.len() as u64);
    bytes.extend(central);
    let end64 = bytes.len() as u64;
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [files, files, length, offset] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(end64.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend((offset as u32).to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

#[test]
fn an_archive_of_more_files_than_zip_can_count_is_read_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), many(70_000)).unwrap();
    let mut seen = 0;
    let each = |name: &str, content: std::io::Result<&[u8]>| {
        assert_eq!((name, content.unwrap()), (format!("{seen}.json").as_str(), &b"x"[..]));
        seen += 1;
        Ok::<_, std::io::Error>(())
    };
    super::zip::for_each(file.path(), 10, |name| name.ends_with(".json"), each).unwrap();
    assert_eq!(seen, 70_000);
}

#[test]
fn a_record_that_inflates_to_more_than_any_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("all.zip");
    let bomb = vec![b' '; (64 << 20) + 1];
    let good = record("A", "a");
    std::fs::write(&archive, zip(&[("bomb.json", &bomb), ("A.json", good.as_bytes())])).unwrap();
    let imported = import_into(&folder.path().join("db"), &[archive]).unwrap();
    assert_eq!((imported.summary.advisories, imported.unreadable), (1, 1));
    assert!(imported.examples[0].contains("too large"), "{:?}", imported.examples);
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
