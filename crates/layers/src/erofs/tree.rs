//! The tree that a layer describes, held in memory until the archive has ended.
//!
//! The rules are those of the unpacker, whose kernel calls give them: parents are looked up through symbolic links as
//! after a chroot, the last component never is; a later entry replaces an earlier one, except that a directory keeps
//! what is in it; a whiteout speaks of lower layers only, whichever comes first in the archive.

use std::collections::{BTreeMap, BTreeSet};

use super::attributes::{self, Attribute};
use crate::{
    LayerError,
    archive::{Entry, Kind},
    path::LayerPath,
};

/// Memory for one layer's tree. The million entries that a layer may have fit; a hostile one does not get more.
pub(super) const TREE_BYTES_MAX: usize = 512 << 20;
/// What a node and its place in its directory take, besides names and values.
const NODE_BYTES: usize = 256;
/// The kernel's PATH_MAX without the terminating zero.
const PATH_BYTES_MAX: usize = 4095;
/// As the kernel follows.
const LINKS_MAX: usize = 40;

pub(super) type NodeId = u32;
pub(super) const ROOT: NodeId = 0;

#[derive(Debug)]
pub(super) enum Content {
    /// A file: its first block and its length in bytes.
    Blocks {
        block: u32,
        size: u64,
    },
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    Symlink(Box<[u8]>),
    /// Major and minor number.
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

#[derive(Debug)]
pub(super) struct Node {
    /// Permission, setuid, setgid and sticky bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) attributes: Vec<Attribute>,
    pub(super) content: Content,
    /// The directory that a directory is in; itself for the root.
    pub(super) parent: NodeId,
    /// Length of a directory's path.
    path_bytes: usize,
}

pub(super) struct Nodes {
    nodes: Vec<Node>,
    implied: BTreeSet<Vec<u8>>,
    /// An entry described the root directory.
    pub(super) root_explicit: bool,
    /// The parent of the last entry: archives list a directory's files together.
    parent: Option<(Vec<u8>, NodeId)>,
    bytes: usize,
}

/// Why there is no directory at a path.
enum Missing {
    NoEntry,
    NotDirectory,
    TooManyLinks,
}

impl Default for Nodes {
    fn default() -> Self {
        let root = directory(ROOT, 0);
        Self { nodes: vec![root], implied: BTreeSet::new(), root_explicit: false, parent: None, bytes: 0 }
    }
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// Directories that no entry described.
    pub(super) fn implied(&self) -> Vec<String> {
        self.implied.iter().filter_map(|path| String::from_utf8(path.clone()).ok()).collect()
    }

    pub(super) fn set_content(&mut self, id: NodeId, content: Content) {
        self.nodes[id as usize].content = content;
    }

    /// Adds one entry and returns its node.
    pub(super) fn create(&mut self, path: &LayerPath, entry: &Entry) -> Result<NodeId, LayerError> {
        let attributes = attributes::wanted(entry)?;
        self.account(entry.link.len() + attributes.iter().map(Attribute::bytes).sum::<usize>())?;
        let Some((parent, name)) = path.split() else {
            if entry.kind != Kind::Directory {
                return Err(LayerError::corrupt("the layer's root is not a directory"));
            }
            self.root_explicit = true;
            self.describe(ROOT, entry, attributes);
            return Ok(ROOT);
        };
        let directory = self.enter(parent)?;
        let content = match entry.kind {
            Kind::Directory => return self.create_directory(path, directory, name, entry, attributes),
            Kind::Hardlink => return self.create_hardlink(path, directory, name, entry),
            Kind::File => Content::Blocks { block: 0, size: 0 },
            Kind::Symlink if entry.link.is_empty() || entry.link.len() > PATH_BYTES_MAX => {
                return Err(refused(path.as_bytes(), "the link's target has no usable length"));
            }
            Kind::Symlink => Content::Symlink(Box::from(entry.link.as_slice())),
            Kind::Character => Content::Character(entry.device.0, entry.device.1),
            Kind::Block => Content::Block(entry.device.0, entry.device.1),
            Kind::Fifo => Content::Fifo,
        };
        let id = self.add(directory, name, Node { content, ..self::directory(directory, 0) })?;
        self.describe(id, entry, attributes);
        Ok(id)
    }

    /// Hides `path` of lower layers: overlayfs reads a character device 0:0 as "nothing here".
    pub(super) fn whiteout(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        let Some((parent, name)) = path.split() else { return Err(LayerError::corrupt("whiteout of the root")) };
        let directory = self.enter(parent)?;
        match self.child(directory, name) {
            None => {
                let node = Node { mode: 0, content: Content::Character(0, 0), ..self::directory(directory, 0) };
                self.add(directory, name, node).map(drop)
            }
            // The layer itself has the name, so what is here stays; a directory must not show what lies below it.
            Some(found) => {
                if matches!(self.get(found).content, Content::Directory(_)) {
                    self.set_opaque(found);
                }
                Ok(())
            }
        }
    }

    /// Hides everything that lower layers have in the directory `path`.
    pub(super) fn opaque(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        // Entering it creates it when only its content is in the archive.
        let directory = self.enter(path.as_bytes())?;
        self.set_opaque(directory);
        Ok(())
    }

    fn create_directory(
        &mut self,
        path: &LayerPath,
        parent: NodeId,
        name: &[u8],
        entry: &Entry,
        attributes: Vec<Attribute>,
    ) -> Result<NodeId, LayerError> {
        let found = self.child(parent, name);
        let id = match found {
            Some(found) if matches!(self.get(found).content, Content::Directory(_)) => found,
            found => {
                let id = self.add(parent, name, directory(parent, 0))?;
                // The layer both removes the lower directory and makes a new one.
                if found.is_some_and(|found| self.is_whiteout(found)) {
                    self.set_opaque(id);
                }
                id
            }
        };
        self.implied.remove(path.as_bytes());
        self.describe(id, entry, attributes);
        Ok(id)
    }

    /// The target must be an earlier entry of the same layer; Docker and containerd know no other kind either.
    fn create_hardlink(
        &mut self,
        path: &LayerPath,
        parent: NodeId,
        name: &[u8],
        entry: &Entry,
    ) -> Result<NodeId, LayerError> {
        let refused = |why| refused(path.as_bytes(), why);
        let target = LayerPath::parse(&entry.link).map_err(|_| refused("the link leaves the layer"))?;
        let (target_parent, target_name) = target.split().ok_or_else(|| refused("a link to a directory"))?;
        let from = self.find(target_parent).map_err(|_| refused("the link's target is not there"))?;
        let id = self.child(from, target_name).ok_or_else(|| refused("the link's target is not there"))?;
        if matches!(self.get(id).content, Content::Directory(_)) {
            return Err(refused("a link to a directory"));
        }
        if (from, target_name) != (parent, name) {
            self.account(name.len())?;
            self.insert(parent, name, id)?;
        }
        Ok(id)
    }

    /// Attributes that the archive gives; those that a directory had stay unless they are given anew.
    fn describe(&mut self, id: NodeId, entry: &Entry, attributes: Vec<Attribute>) {
        let node = &mut self.nodes[id as usize];
        // The mode of a symbolic link means nothing; Linux filesystems give it all permissions.
        node.mode = if entry.kind == Kind::Symlink { 0o777 } else { entry.mode };
        (node.uid, node.gid, node.mtime) = (entry.uid, entry.gid, entry.mtime);
        node.attributes.retain(|old| !attributes.iter().any(|new| new.has_name_of(old)));
        node.attributes.extend(attributes);
    }

    fn set_opaque(&mut self, id: NodeId) {
        let (node, opaque) = (&mut self.nodes[id as usize], Attribute::opaque());
        if !node.attributes.contains(&opaque) {
            node.attributes.push(opaque);
        }
    }

    fn is_whiteout(&self, id: NodeId) -> bool {
        matches!(self.get(id).content, Content::Character(0, 0))
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.get(directory).content {
            Content::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn add(&mut self, parent: NodeId, name: &[u8], mut node: Node) -> Result<NodeId, LayerError> {
        self.account(name.len())?;
        node.path_bytes = self.get(parent).path_bytes + 1 + name.len();
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| too_much())?;
        self.nodes.push(node);
        self.insert(parent, name, id)?;
        Ok(id)
    }

    /// Gives `id` a name; what had it is out of the tree.
    fn insert(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), LayerError> {
        // Through symbolic links the real nesting can be deeper than the path is long; the kernel cannot name that.
        if self.get(parent).path_bytes + 1 + name.len() > PATH_BYTES_MAX {
            return Err(refused(name, "nested too deep"));
        }
        if let Content::Directory(children) = &mut self.nodes[parent as usize].content {
            children.insert(Box::from(name), id);
        }
        Ok(())
    }

    fn account(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.bytes = self.bytes.saturating_add(NODE_BYTES + bytes);
        if self.bytes > TREE_BYTES_MAX { Err(too_much()) } else { Ok(()) }
    }

    /// The directory `path`, created with what is missing of it.
    fn enter(&mut self, path: &[u8]) -> Result<NodeId, LayerError> {
        if path.is_empty() {
            self.parent = None;
            return Ok(ROOT);
        }
        if let Some((current, id)) = &self.parent
            && current == path
        {
            return Ok(*id);
        }
        let id = match self.find(path) {
            Ok(id) => id,
            Err(Missing::TooManyLinks) => return Err(refused(path, "too many levels of symbolic links")),
            Err(Missing::NoEntry | Missing::NotDirectory) => self.make_directories(path)?,
        };
        self.parent = Some((path.to_vec(), id));
        Ok(id)
    }

    fn find(&self, path: &[u8]) -> Result<NodeId, Missing> {
        let (mut at, mut links) = (ROOT, 0);
        let mut pending: Vec<&[u8]> = path.rsplit(|byte| *byte == b'/').collect();
        while let Some(name) = pending.pop() {
            match name {
                b"" | b"." => continue,
                b".." => {
                    at = self.get(at).parent;
                    continue;
                }
                _ => {}
            }
            let child = self.child(at, name).ok_or(Missing::NoEntry)?;
            match &self.get(child).content {
                Content::Directory(_) => at = child,
                Content::Symlink(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Missing::TooManyLinks);
                    }
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                    pending.extend(target.rsplit(|byte| *byte == b'/'));
                }
                _ => return Err(Missing::NotDirectory),
            }
        }
        Ok(at)
    }

    fn make_directories(&mut self, path: &[u8]) -> Result<NodeId, LayerError> {
        let (mut parent, mut start) = (ROOT, 0);
        while start < path.len() {
            let end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |slash| start + slash);
            let (prefix, name) = (&path[..end], &path[start..end]);
            parent = match self.find(prefix) {
                Ok(id) => id,
                Err(Missing::TooManyLinks) => return Err(refused(path, "too many levels of symbolic links")),
                Err(Missing::NoEntry | Missing::NotDirectory) => self.make_directory(parent, prefix, name)?,
            };
            start = end + 1;
        }
        Ok(parent)
    }

    fn make_directory(&mut self, parent: NodeId, prefix: &[u8], name: &[u8]) -> Result<NodeId, LayerError> {
        let hidden = match self.child(parent, name) {
            None => false,
            Some(found) if self.is_whiteout(found) => true,
            Some(_) => return Err(refused(prefix, "not a directory")),
        };
        let gid = Some(self.get(parent)).filter(|parent| parent.mode & 0o2000 != 0).map_or(0, |parent| parent.gid);
        let id = self.add(parent, name, Node { gid, ..directory(parent, 0) })?;
        if hidden {
            self.set_opaque(id);
        }
        self.account(prefix.len())?;
        self.implied.insert(prefix.to_vec());
        Ok(id)
    }
}

/// What a directory gets that no entry describes. Its time is the epoch, so that images do not depend on the clock.
fn directory(parent: NodeId, path_bytes: usize) -> Node {
    Node {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        attributes: Vec::new(),
        content: Content::Directory(BTreeMap::new()),
        parent,
        path_bytes,
    }
}

fn too_much() -> LayerError {
    LayerError::corrupt(format!("a layer's tree needs more than {TREE_BYTES_MAX} bytes"))
}

fn refused(path: &[u8], why: &str) -> LayerError {
    LayerError::corrupt(format!("cannot unpack {}: {why}", String::from_utf8_lossy(&path[..path.len().min(200)])))
}
