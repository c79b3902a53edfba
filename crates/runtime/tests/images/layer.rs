//! Builds layers in memory.

use std::io::Write;

use tar::{EntryType, Header};

#[derive(Default)]
pub(crate) struct Layer(Option<tar::Builder<Vec<u8>>>);

impl Layer {
    fn append(mut self, path: &str, content: &[u8], change: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        change(&mut header);
        let builder = self.0.get_or_insert_with(|| tar::Builder::new(Vec::new()));
        builder.append_data(&mut header, path, content).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.append(path, content.as_bytes(), |_| {})
    }

    pub(crate) fn file_of(self, path: &str, uid: u64, mode: u32) -> Self {
        self.append(path, b"content", |header| {
            header.set_uid(uid);
            header.set_mode(mode);
        })
    }

    pub(crate) fn directory(self, path: &str, mode: u32) -> Self {
        self.append(path, b"", |header| {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(mode);
        })
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.append(path, b"", |header| {
            header.set_entry_type(EntryType::Link);
            header.set_link_name(target).unwrap();
        })
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.append(path, b"", |header| {
            header.set_entry_type(EntryType::Symlink);
            header.set_link_name(target).unwrap();
        })
    }

    pub(crate) fn null_device(self, path: &str) -> Self {
        self.append(path, b"", |header| {
            header.set_entry_type(EntryType::Char);
            header.set_mode(0o666);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
    }

    pub(crate) fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let builder = self.0.get_or_insert_with(|| tar::Builder::new(Vec::new()));
        let key = format!("SCHILY.xattr.{name}");
        builder.append_pax_extensions([(key.as_str(), value)]).unwrap();
        self
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.unwrap_or_else(|| tar::Builder::new(Vec::new())).into_inner().unwrap()
    }

    /// (blob, archive)
    pub(crate) fn plain(self) -> (Vec<u8>, Vec<u8>) {
        let tar = self.tar();
        (tar.clone(), tar)
    }

    pub(crate) fn gzip(self) -> (Vec<u8>, Vec<u8>) {
        let tar = self.tar();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        (encoder.finish().unwrap(), tar)
    }

    pub(crate) fn zstd(self) -> (Vec<u8>, Vec<u8>) {
        let tar = self.tar();
        (zstd::encode_all(&tar[..], 1).unwrap(), tar)
    }
}
