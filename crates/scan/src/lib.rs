//! What is installed in an image, and which published advisories speak of it.
//!
//! Three parts that know little of each other:
//!
//! * [`inventory`] reads the layers of an image as streams and lists packages. Layers come from strangers: every
//!   read is bounded in bytes, entries, memory and time, and reaching a bound is a result with a name.
//! * [`database`] holds advisories in the OSV format on disk, one file, built by an import and then only read.
//! * [`matching`] compares the two with the version order of each packaging system ([`version`]) and rates what it
//!   finds ([`severity`]).
//!
//! Nothing here knows of registries, repositories or the wire.

pub mod database;
pub mod ecosystem;
pub mod inventory;
pub mod matching;
pub mod osv;
pub mod severity;
pub mod version;
