//! Which files of an image say what is installed, and what each says.

use super::{Package, apk, cargo, dpkg, go, npm, python, rpm};
use crate::ecosystem::Distribution;

/// A file of interest, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    OsRelease,
    Dpkg,
    Apk,
    RpmSqlite,
    RpmSqliteWal,
    RpmBdb,
    RpmNdb,
    PythonMetadata,
    Requirements,
    PythonTomlLock,
    PipfileLock,
    PackageLock,
    PackageJson,
    YarnLock,
    PnpmLock,
    GoMod,
    GoSum,
    CargoLock,
}

/// What a file says.
#[derive(Debug, Clone)]
pub(super) enum Parsed {
    Distribution(Distribution),
    Packages {
        packages: Vec<Package>,
        /// A `go.mod` that names every module there is.
        complete: bool,
    },
}

impl Parsed {
    /// Names and versions of unreasonable lengths are not kept.
    pub(super) fn packages(mut packages: Vec<Package>) -> Self {
        packages.retain(Package::is_named);
        Self::Packages { packages, complete: false }
    }

    /// What it counts towards the packages of an image: files are kept too.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Packages { packages, .. } => packages.len().max(1),
            Self::Distribution(_) => 1,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Packages { complete: true, .. })
    }
}

impl FileKind {
    /// What a path promises; none for files of no interest.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "etc/os-release" | "usr/lib/os-release" => return Some(Self::OsRelease),
            "var/lib/dpkg/status" => return Some(Self::Dpkg),
            "lib/apk/db/installed" | "usr/lib/apk/db/installed" => return Some(Self::Apk),
            _ => {}
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match folder {
            "var/lib/dpkg/status.d" if !name.ends_with(".md5sums") => return Some(Self::Dpkg),
            "var/lib/rpm" | "usr/lib/sysimage/rpm" | "usr/share/rpm" => match name {
                "rpmdb.sqlite" => return Some(Self::RpmSqlite),
                "rpmdb.sqlite-wal" => return Some(Self::RpmSqliteWal),
                "Packages" => return Some(Self::RpmBdb),
                "Packages.db" => return Some(Self::RpmNdb),
                _ => {}
            },
            _ => {}
        }
        // Debian's own Python packages are dpkg's to answer for.
        let debian_python = path.starts_with("usr/lib/python3/dist-packages/");
        match name {
            "METADATA" if folder.ends_with(".dist-info") && !debian_python => Some(Self::PythonMetadata),
            "PKG-INFO" if folder.ends_with(".egg-info") && !debian_python => Some(Self::PythonMetadata),
            _ if name.ends_with(".egg-info") && !debian_python => Some(Self::PythonMetadata),
            "requirements.txt" => Some(Self::Requirements),
            "poetry.lock" | "uv.lock" => Some(Self::PythonTomlLock),
            "Pipfile.lock" => Some(Self::PipfileLock),
            "package-lock.json" => Some(Self::PackageLock),
            "package.json" if folder.contains("node_modules/") => Some(Self::PackageJson),
            "yarn.lock" => Some(Self::YarnLock),
            "pnpm-lock.yaml" => Some(Self::PnpmLock),
            "go.mod" => Some(Self::GoMod),
            "go.sum" => Some(Self::GoSum),
            "Cargo.lock" => Some(Self::CargoLock),
            _ => None,
        }
    }

    /// Databases of the distribution: an image whose own cannot be read has no inventory.
    pub(super) fn is_database(self) -> bool {
        matches!(self, Self::Dpkg | Self::Apk | Self::RpmSqlite | Self::RpmSqliteWal | Self::RpmBdb | Self::RpmNdb)
    }

    /// Largest file of the kind that is read, in bytes. JSON and TOML take several times their size in memory.
    pub(super) fn bytes_max(self) -> u64 {
        match self {
            Self::OsRelease => 64 << 10,
            Self::PackageJson | Self::PythonMetadata => 2 << 20,
            Self::PackageLock | Self::PipfileLock | Self::YarnLock | Self::PnpmLock => 8 << 20,
            Self::PythonTomlLock | Self::CargoLock | Self::Requirements | Self::GoMod | Self::GoSum => 4 << 20,
            Self::Dpkg | Self::Apk => 64 << 20,
            Self::RpmSqlite | Self::RpmSqliteWal | Self::RpmBdb | Self::RpmNdb => u64::MAX,
        }
    }

    /// Reads a file; none when it is not what its name promises.
    pub(super) fn parse(self, bytes: &[u8], path: &str) -> Option<Parsed> {
        let text = || String::from_utf8_lossy(bytes);
        let packages = match self {
            Self::OsRelease => return Distribution::parse(&text()).map(Parsed::Distribution),
            Self::Dpkg => dpkg::parse(&text(), path),
            Self::Apk => apk::parse(&text(), path),
            Self::RpmBdb => rpm::bdb(bytes, path).ok()?,
            Self::RpmNdb => rpm::ndb(bytes, path).ok()?,
            Self::RpmSqlite => rpm::sqlite(bytes, None, path).ok()?,
            Self::RpmSqliteWal => Vec::new(),
            Self::PythonMetadata => python::metadata(&text(), path),
            Self::Requirements => python::requirements(&text(), path),
            Self::PythonTomlLock => python::toml_lock(&text(), path)?,
            Self::PipfileLock => python::pipfile_lock(&text(), path)?,
            Self::PackageLock => npm::package_lock(&text(), path)?,
            Self::PackageJson => npm::package_json(&text(), path)?,
            Self::YarnLock => npm::yarn_lock(&text(), path),
            Self::PnpmLock => npm::pnpm_lock(&text(), path),
            Self::GoMod => {
                let (mut packages, complete) = go::go_mod(&text(), path);
                packages.retain(Package::is_named);
                return Some(Parsed::Packages { packages, complete });
            }
            Self::GoSum => go::go_sum(&text(), path),
            Self::CargoLock => cargo::lock(&text(), path)?,
        };
        Some(Parsed::packages(packages))
    }
}
