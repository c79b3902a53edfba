//! What a path inside a layer means: cleaned components, and the whiteout names of the OCI image format. Pure.

use crate::LayerError;

/// Same as PATH_MAX: nothing longer can be opened, and real nesting stays below half of it.
const PATH_BYTES_MAX: usize = 4095;
const NAME_BYTES_MAX: usize = 255;
const WHITEOUT: &[u8] = b".wh.";

/// A path relative to the layer's root, `a/b/c`: no empty, `.` or `..` component. Empty is the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPath(Vec<u8>);

/// What an entry's name asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An ordinary entry.
    Entry(LayerPath),
    /// Hides this path of lower layers.
    Whiteout(LayerPath),
    /// Hides everything that lower layers have in this directory.
    Opaque(LayerPath),
    /// Bookkeeping of aufs, not part of the filesystem.
    Ignored,
}

impl LayerPath {
    /// Cleans `raw`. A leading slash is dropped, as tar does; a component `..` is refused, because no builder writes
    /// one and every use of one is an attack.
    ///
    /// # Errors
    /// [`LayerError::Corrupt`] for a path that no layer may have.
    pub fn parse(raw: &[u8]) -> Result<Self, LayerError> {
        let mut clean = Vec::with_capacity(raw.len());
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(refused(raw, "leaves the layer")),
                _ => {}
            }
            if component.len() > NAME_BYTES_MAX {
                return Err(refused(raw, "has a component of more than 255 bytes"));
            }
            if component.contains(&0) {
                return Err(refused(raw, "contains a zero byte"));
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        if clean.len() > PATH_BYTES_MAX {
            return Err(refused(raw, "is too long"));
        }
        Ok(Self(clean))
    }

    /// The cleaned path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the layer's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory part and the last component; the root has neither.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None if self.0.is_empty() => None,
            None => Some((b"", &self.0)),
        }
    }

    fn sibling(&self, name: &[u8]) -> Self {
        let mut bytes = self.split().map_or(Vec::new(), |(parent, _)| parent.to_vec());
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }
}

/// What an entry named `raw` asks for.
///
/// # Errors
/// [`LayerError::Corrupt`] for a path that no layer may have.
pub fn meaning(raw: &[u8]) -> Result<Meaning, LayerError> {
    let path = LayerPath::parse(raw)?;
    let Some((parent, name)) = path.split() else { return Ok(Meaning::Entry(path)) };
    if parent.split(|byte| *byte == b'/').any(|component| component.starts_with(b".wh..wh.")) {
        return Ok(Meaning::Ignored);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry(path)),
        Some(b".wh..opq") => Ok(Meaning::Opaque(LayerPath(parent.to_vec()))),
        Some(hidden) if hidden.starts_with(WHITEOUT) => Ok(Meaning::Ignored),
        Some(b"" | b"." | b"..") => Err(refused(raw, "is not a valid whiteout")),
        Some(hidden) => Ok(Meaning::Whiteout(path.sibling(hidden))),
    }
}

fn refused(raw: &[u8], why: &str) -> LayerError {
    let shown = &raw[..raw.len().min(200)];
    LayerError::corrupt(format!("path {:?} {why}", String::from_utf8_lossy(shown)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(text: &str) -> LayerPath {
        LayerPath(text.as_bytes().to_vec())
    }

    #[test]
    fn names_are_cleaned_and_whiteouts_recognised() {
        for (raw, expected) in [
            ("a", Meaning::Entry(path("a"))),
            ("./a//b/./c/", Meaning::Entry(path("a/b/c"))),
            ("/etc/passwd", Meaning::Entry(path("etc/passwd"))),
            ("./", Meaning::Entry(path(""))),
            ("", Meaning::Entry(path(""))),
            ("a/.wh.b", Meaning::Whiteout(path("a/b"))),
            (".wh.b", Meaning::Whiteout(path("b"))),
            ("a/.wh..wh..opq", Meaning::Opaque(path("a"))),
            (".wh..wh..opq", Meaning::Opaque(path(""))),
            (".wh..wh.plnk/3.4", Meaning::Ignored),
            (".wh..wh.aufs", Meaning::Ignored),
            ("a/.wh.b/c", Meaning::Entry(path("a/.wh.b/c"))),
            ("a/..b", Meaning::Entry(path("a/..b"))),
        ] {
            assert_eq!(meaning(raw.as_bytes()).unwrap(), expected, "{raw:?}");
        }
    }

    #[test]
    fn paths_that_leave_the_layer_are_refused() {
        let long_name = "n".repeat(256);
        let long_path = "abc/".repeat(1100);
        for raw in ["..", "../x", "a/../b", "/../x", "a/..", ".wh...", ".wh..", ".wh.", "a\0b", &long_name, &long_path]
        {
            assert!(matches!(meaning(raw.as_bytes()), Err(LayerError::Corrupt(_))), "{raw:?}");
        }
    }
}
