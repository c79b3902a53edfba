//! Go: `go.mod`, `go.sum`, and the build information in programs.

use std::collections::HashMap;

use super::{Manager, Package};

/// `go.mod`: required modules, with replacements; and whether the list is complete (since Go 1.17 it names indirect
/// requirements too).
pub(super) fn go_mod(text: &str, path: &str) -> (Vec<Package>, bool) {
    let (mut required, mut replaced, mut complete, mut block) = (Vec::new(), HashMap::new(), false, String::new());
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
        let words = match words.as_slice() {
            [] => continue,
            [")"] => {
                block.clear();
                continue;
            }
            [directive, "("] => {
                block = (*directive).to_owned();
                continue;
            }
            words if block.is_empty() => words.to_vec(),
            words => [&[block.as_str()], words].concat(),
        };
        match words.as_slice() {
            ["go", version] => complete = crate::version::Scheme::Semver.compare(version, "1.17").is_ge(),
            ["require", module, version] => required.push(((*module).to_owned(), (*version).to_owned())),
            ["replace", old, "=>", new, version] | ["replace", old, _, "=>", new, version] => {
                replaced.insert((*old).to_owned(), ((*new).to_owned(), (*version).to_owned()));
            }
            _ => {}
        }
    }
    let package = |(module, version): (String, String)| {
        let (module, version) = replaced.get(&module).cloned().unwrap_or((module, version));
        Package::new(Manager::Go, module, version.trim_start_matches('v'), path)
    };
    (required.into_iter().map(package).collect(), complete)
}

/// `go.sum`: the newest version of each module whose content was needed.
pub(super) fn go_sum(text: &str, path: &str) -> Vec<Package> {
    let mut newest: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(module), Some(version)) = (words.next(), words.next()) else { continue };
        if version.ends_with("/go.mod") {
            continue;
        }
        let known = newest.entry(module).or_insert(version);
        if crate::version::Scheme::Semver.compare(version, known).is_gt() {
            *known = version;
        }
    }
    newest
        .into_iter()
        .map(|(module, version)| Package::new(Manager::Go, module, version.trim_start_matches('v'), path))
        .collect()
}

/// What begins the build information of a Go program.
pub(super) const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Bytes after the magic that are kept: the version, and the list of modules.
pub(super) const BUILD_INFO_BYTES_MAX: usize = 1 << 20;

/// Reads build information, which begins with [`MAGIC`]. Programs of Go 1.18 and later have it in place; older ones
/// point elsewhere and yield none.
pub(super) fn build_info(bytes: &[u8], path: &str) -> Option<Vec<Package>> {
    const HEADER: usize = 32;
    const INLINE: u8 = 2;
    if *bytes.get(15)? & INLINE == 0 {
        return None;
    }
    let (version, rest) = string(bytes.get(HEADER..)?)?;
    let (modules, _) = string(rest).unwrap_or_default();
    // `go1.21.3`, `go1.22rc1`, `go1.21.3 X:boringcrypto`, `devel go1.22-…`
    let version = version.trim_start_matches("devel ").split([' ', '-']).next()?.strip_prefix("go")?;
    if !version.bytes().next()?.is_ascii_digit() {
        return None;
    }
    let mut found = vec![Package::new(Manager::Go, "stdlib", semver_of_toolchain(version), path)];
    // Sixteen bytes of framing on either side.
    let mut last_is_dependency = false;
    for line in modules.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["dep", module, version, ..] => {
                last_is_dependency = true;
                found.push(Package::new(Manager::Go, *module, version.trim_start_matches('v'), path));
            }
            ["=>", module, version, ..] if last_is_dependency => {
                found.pop();
                found.push(Package::new(Manager::Go, *module, version.trim_start_matches('v'), path));
            }
            _ => last_is_dependency = false,
        }
    }
    Some(found)
}

/// `1.22rc1` → `1.22.0-rc.1`, as advisories spell it.
fn semver_of_toolchain(version: &str) -> String {
    for mark in ["rc", "beta"] {
        if let Some((release, number)) = version.split_once(mark) {
            let patch = if release.matches('.').count() < 2 { ".0" } else { "" };
            return format!("{release}{patch}-{mark}.{number}");
        }
    }
    version.to_owned()
}

/// A string after its length as a varint. Bytes that are not UTF-8 are the framing of the module list.
fn string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (mut length, mut at) = (0_usize, 0);
    loop {
        let byte = *bytes.get(at)?;
        if at >= 4 {
            return None;
        }
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let text = bytes.get(at..at + length)?;
    Some((String::from_utf8_lossy(text).into_owned(), &bytes[at + length..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(packages: &[Package], expected: &[(&str, &str)]) {
        let found: Vec<_> = packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn modules_are_read_from_files() {
        let text = "module example.com/me\n\ngo 1.21\n\nrequire golang.org/x/net v0.8.0\nrequire (\n\ta.b/c v1.0.0 // indirect\n\
            \tx.y/z v2.0.0+incompatible\n)\nreplace a.b/c => d.e/f v1.5.0\nreplace x.y/w => ../w\n";
        let (found, complete) = go_mod(text, "p");
        check(&found, &[("golang.org/x/net", "0.8.0"), ("d.e/f", "1.5.0"), ("x.y/z", "2.0.0+incompatible")]);
        assert!(complete);
        let text =
            "a.b/c v1.0.0 h1:x=\na.b/c v1.2.0 h1:x=\na.b/c v1.2.0/go.mod h1:x=\nonly.mod/x v1.0.0/go.mod h1:x=\n";
        check(&go_sum(text, "p"), &[("a.b/c", "1.2.0")]);
    }

    fn program(version: &str, modules: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, 2]);
        bytes.resize(32, 0);
        for text in [version.as_bytes(), &[&[b'0'; 16], modules.as_bytes(), &[0xf9; 16]].concat()] {
            let mut length = text.len();
            while length >= 0x80 {
                bytes.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
            bytes.extend(text);
        }
        bytes
    }

    #[test]
    fn build_information_of_programs_is_read() {
        let modules = "\npath\tcmd/x\nmod\texample.com/me\t(devel)\t\ndep\tgolang.org/x/net\tv0.7.0\th1:x=\n\
            dep\told.io/m\tv1.0.0\n=>\tnew.io/m\tv1.1.0\th1:y=\nbuild\t-compiler=gc\n";
        let found = build_info(&program("go1.20.5", modules), "bin/x").unwrap();
        check(&found, &[("stdlib", "1.20.5"), ("golang.org/x/net", "0.7.0"), ("new.io/m", "1.1.0")]);
        check(&build_info(&program("go1.22rc1", ""), "bin/x").unwrap(), &[("stdlib", "1.22.0-rc.1")]);
        for cut in 0..40 {
            let _ = build_info(&program("go1.20.5", modules)[..cut], "bin/x");
        }
        assert!(build_info(&program("%s", ""), "x").is_none());
    }
}
