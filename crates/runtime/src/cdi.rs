//! The GPUs of a host, as the Container Device Interface (CDI) describes them: files in a few directories say which
//! devices there are and what of the host a container needs to use one.
//!
//! A device is a GPU when the class of its kind is `gpu` (`nvidia.com/gpu`, `amd.com/gpu` …). What a file asks for and
//! we cannot do makes its device none of ours, by name: a container would otherwise start without what it needs.
//!
//! Nothing is kept: drivers are replaced while we run, and their files with them. Whoever wants to know reads again.

mod document;
mod edits;
mod read;

use std::collections::BTreeMap;

pub use edits::Edits;
pub use read::DIRECTORIES;

/// The GPUs of this host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gpus {
    /// By id: what a container needs to use it, or why none can.
    devices: BTreeMap<String, Result<Edits, String>>,
    /// Files that could not be read, and why.
    troubles: Vec<String>,
}

/// Why a container cannot have a GPU.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// There is none of this id.
    #[error("GPU {0} is not among the host's CDI devices")]
    Missing(String),
    /// It asks for what we cannot do.
    #[error("GPU {id}: {why}")]
    Unusable {
        /// Its id.
        id: String,
        /// What that is.
        why: String,
    },
}

impl Gpus {
    /// The ids of those that containers can have.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().filter(|(_, edits)| edits.is_ok()).map(|(id, _)| id.as_str())
    }

    /// What is wrong with the files and devices that are left out.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let unusable = |(id, edits): (&String, &Result<Edits, String>)| {
            edits.as_ref().err().map(|why| GpuError::Unusable { id: id.clone(), why: why.clone() }.to_string())
        };
        self.troubles.iter().cloned().chain(self.devices.iter().filter_map(unusable))
    }

    /// What a container with these GPUs needs, each thing once.
    ///
    /// # Errors
    /// [`GpuError`] for the first of them that is not there or cannot be used.
    pub fn edits<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<Edits, GpuError> {
        let mut all = Edits::default();
        for id in ids {
            match self.devices.get(id) {
                None => return Err(GpuError::Missing(id.to_owned())),
                Some(Err(why)) => return Err(GpuError::Unusable { id: id.to_owned(), why: why.clone() }),
                Some(Ok(edits)) => all.add(edits),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
