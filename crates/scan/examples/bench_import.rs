//! How long an import takes and how much memory: `bench_import [RECORDS]` makes an archive of so many advisories (100,000
//! unless told otherwise) in the layout of osv.dev's `all.zip` and imports it. Prints seconds, records per second, the
//! most memory the process ever had, and the sizes of archive and database.
//!
//! The mix is that of the large ecosystems: Debian and Ubuntu records that name several releases, npm records that
//! repeat every version of a range by name, records with aliases, and one in fifty withdrawn.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn record(number: usize) -> String {
    let id = format!("GANTRY-2026-{number:06}");
    let package = format!("package-{}", number % 20_000);
    let withdrawn = if number.is_multiple_of(50) { r#""withdrawn":"2026-02-01T00:00:00Z","# } else { "" };
    let details =
        "A flaw in how lengths are checked lets a remote attacker write past the end of a buffer. ".repeat(12);
    let range = |kind: &str, number: usize| {
        format!(r#"{{"type":"{kind}","events":[{{"introduced":"0"}},{{"fixed":"1.{}.{}"}}]}}"#, number % 40, number % 7)
    };
    let affected = match number % 3 {
        0 => ["Debian:11", "Debian:12", "Debian:13", "Ubuntu:22.04:LTS", "Ubuntu:24.04:LTS"]
            .map(|ecosystem| {
                let range = range("ECOSYSTEM", number);
                format!(r#"{{"package":{{"ecosystem":"{ecosystem}","name":"{package}"}},"ranges":[{range}]}}"#)
            })
            .join(","),
        1 => {
            let versions: Vec<String> = (0..120).map(|patch| format!("\"1.{}.{patch}\"", number % 40)).collect();
            let range = range("SEMVER", number);
            format!(
                r#"{{"package":{{"ecosystem":"npm","name":"{package}"}},"ranges":[{range}],"versions":[{}]}}"#,
                versions.join(",")
            )
        }
        _ => ["Alpine:v3.18", "Alpine:v3.19", "Alpine:v3.20"]
            .map(|ecosystem| {
                let range = range("ECOSYSTEM", number);
                format!(r#"{{"package":{{"ecosystem":"{ecosystem}","name":"{package}"}},"ranges":[{range}]}}"#)
            })
            .join(","),
    };
    format!(
        r#"{{"schema_version":"1.7.0","id":"{id}","modified":"2026-01-01T00:00:00Z","published":"2025-01-01T00:00:00Z",{withdrawn}"aliases":["CVE-2026-{number}"],"summary":"Buffer overflow in {package}","details":"{details}","severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}],"references":[{{"type":"ADVISORY","url":"https://example.com/{id}"}}],"affected":[{affected}]}}"#
    )
}

/// An archive as osv.dev publishes them: `ID.json` each, deflated; zip64 where there are more than 65,535.
fn archive(path: &Path, records: usize) -> Result<u64, Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    let (mut central, mut offset) = (Vec::new(), 0_u64);
    for number in 0..records {
        let (name, content) = (format!("GANTRY-2026-{number:06}.json"), record(number));
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(content.as_bytes())?;
        let data = deflate.finish()?;
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(u32::try_from(data.len())?.to_le_bytes());
        common.extend(u32::try_from(content.len())?.to_le_bytes());
        common.extend(u16::try_from(name.len())?.to_le_bytes());
        common.extend([0, 0]);
        central.extend(b"PK\x01\x02\x14\0");
        central.extend(&common);
        central.extend([0; 10]);
        central.extend(u32::try_from(offset)?.to_le_bytes());
        central.extend(name.as_bytes());
        file.write_all(b"PK\x03\x04")?;
        file.write_all(&common)?;
        file.write_all(name.as_bytes())?;
        file.write_all(&data)?;
        offset += (4 + common.len() + name.len() + data.len()) as u64;
    }
    let (count, length) = (records as u64, central.len() as u64);
    file.write_all(&central)?;
    let mut end = b"PK\x06\x06".to_vec();
    end.extend(44_u64.to_le_bytes());
    end.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [count, count, length, offset] {
        end.extend(number.to_le_bytes());
    }
    end.extend(b"PK\x06\x07\0\0\0\0");
    end.extend((offset + length).to_le_bytes());
    end.extend(1_u32.to_le_bytes());
    end.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    end.extend(u32::try_from(length)?.to_le_bytes());
    end.extend(u32::try_from(offset)?.to_le_bytes());
    end.extend([0, 0]);
    file.write_all(&end)?;
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    let records: usize = std::env::args().nth(1).map_or(Ok(100_000), |records| records.parse())?;
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let path = folder.path().join("all.zip");
    let size = archive(&path, records)?;
    let database = folder.path().join("db");
    let begun = Instant::now();
    let imported = gantry_scan::database::import(&database, &[path], 1_700_000_000_000, &mut |_| {})?;
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned();
    let file = std::fs::metadata(database.join("advisories.redb"))?.len();
    println!(
        "{} advisories kept, {} left out: {seconds:.1} s, {:.0} records/s, peak {peak}, archive {} MB, database {} MB",
        imported.summary.advisories,
        imported.left_out,
        records as f64 / seconds,
        size / 1_000_000,
        file / 1_000_000,
    );
    Ok(())
}
