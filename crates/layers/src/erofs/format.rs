//! Where directories and inodes lie in the image, and their bytes.
//!
//! ```text
//! block 0            superblock at byte 1024
//! from block 1       file contents
//! then               blocks of directories (and of links) too large to lie beside their inode
//! from `meta_block`  inodes, 64 bytes each, with their attributes and what is inlined behind them
//! ```

use std::io;

use super::{
    attributes,
    tree::{Content, Node, NodeId, Nodes, ROOT},
};
use crate::LayerError;

pub(super) const BLOCK: u32 = 4096;
const BLOCK_BYTES: usize = BLOCK as usize;
pub(super) const SUPERBLOCK_AT: u64 = 1024;
pub(super) const MAGIC: u32 = 0xE0F5_E1E2;
/// Inode times are modification times.
const COMPATIBLE_MTIME: u32 = 2;
const INODE_BYTES: usize = 64;
/// Node numbers count these.
const SLOT_BYTES: usize = 32;
const DIRENT_BYTES: usize = 12;
/// The root's place in the inode area; number 0 would read as "no inode".
const FIRST_INODE_AT: usize = 2 * INODE_BYTES;

/// Extended inode (bit 0), and the data layout.
const PLAIN: u16 = 1;
const INLINE: u16 = 1 | (2 << 1);

/// Where everything goes.
pub(super) struct Image {
    /// Nodes that have a name, the root first.
    order: Vec<NodeId>,
    /// By node.
    places: Vec<Place>,
    inode_area_bytes: usize,
    meta_block: u32,
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// Offset of the inode in the inode area; 0 for a node without a name.
    at: usize,
    links: u32,
    /// First block of a directory or link that has some.
    block: u32,
    /// Length of a directory or link.
    size: usize,
    /// How much of that lies behind the inode.
    inline: usize,
}

/// Decides where the inodes of `nodes` go when `first_block` is the first one that is free.
pub(super) fn lay_out(nodes: &Nodes, first_block: u64) -> Result<Image, LayerError> {
    let (order, mut places) = reachable(nodes);
    let too_large = || LayerError::corrupt("layer is too large");
    let mut block = u32::try_from(first_block).map_err(|_| too_large())?;
    let mut at = FIRST_INODE_AT;
    for id in &order {
        let (node, place) = (nodes.get(*id), &mut places[*id as usize]);
        let inode = INODE_BYTES + attributes::stored_bytes(&node.attributes);
        place.size = match &node.content {
            Content::Directory(_) => directory_bytes(&names(nodes, *id)),
            Content::Symlink(target) => target.len(),
            _ => 0,
        };
        let rest = place.size % BLOCK_BYTES;
        place.inline = if inode + rest <= BLOCK_BYTES { rest } else { 0 };
        let blocks = (place.size - place.inline).div_ceil(BLOCK_BYTES);
        if blocks > 0 {
            place.block = block;
            block = u32::try_from(blocks).ok().and_then(|more| block.checked_add(more)).ok_or_else(too_large)?;
        }
        at = at.next_multiple_of(INODE_BYTES);
        // What lies behind an inode must not cross a block.
        let start = at + inode;
        if place.inline > 0 && start / BLOCK_BYTES != (start + place.inline - 1) / BLOCK_BYTES {
            at = at.next_multiple_of(BLOCK_BYTES);
        }
        place.at = at;
        at += inode + place.inline;
    }
    Ok(Image { order, places, inode_area_bytes: at, meta_block: block })
}

impl Image {
    /// Hands out the blocks of directories and links, then the inode area.
    pub(super) fn write(&self, nodes: &Nodes, sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        for id in &self.order {
            let place = self.place(*id);
            if place.size > place.inline {
                let mut bytes = self.bytes_of(nodes, *id);
                bytes.truncate(place.size - place.inline);
                bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
                sink(&bytes)?;
            }
        }
        let mut written = 0;
        let mut bytes = Vec::new();
        for (number, id) in self.order.iter().enumerate() {
            let place = self.place(*id);
            bytes.clear();
            bytes.resize(place.at - written, 0);
            self.inode(nodes, *id, number, &mut bytes);
            if place.inline > 0 {
                let content = self.bytes_of(nodes, *id);
                bytes.extend_from_slice(&content[place.size - place.inline..]);
            }
            written += bytes.len();
            sink(&bytes)?;
        }
        debug_assert_eq!(written, self.inode_area_bytes, "the plan was followed");
        Ok(())
    }

    /// The superblock of an image of `blocks` blocks.
    pub(super) fn superblock(&self, blocks: u64) -> [u8; 128] {
        let mut bytes = [0; 128];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE_MTIME.to_le_bytes());
        put(12, &[u8::try_from(BLOCK.trailing_zeros()).unwrap_or_default()]);
        put(14, &u16::try_from(self.number(ROOT)).unwrap_or_default().to_le_bytes());
        put(16, &(self.order.len() as u64).to_le_bytes());
        put(36, &u32::try_from(blocks).unwrap_or(u32::MAX).to_le_bytes());
        put(40, &self.meta_block.to_le_bytes());
        bytes
    }

    fn place(&self, id: NodeId) -> Place {
        self.places[id as usize]
    }

    /// The number by which directories name an inode.
    fn number(&self, id: NodeId) -> u64 {
        (self.place(id).at / SLOT_BYTES) as u64
    }

    fn inode(&self, nodes: &Nodes, id: NodeId, number: usize, bytes: &mut Vec<u8>) {
        let (node, place) = (nodes.get(id), self.place(id));
        let attribute_bytes = attributes::stored_bytes(&node.attributes);
        let attribute_count = if attribute_bytes == 0 { 0 } else { (attribute_bytes - 12) / 4 + 1 };
        let (size, unit) = match node.content {
            Content::Blocks { block, size } => (size, block),
            Content::Directory(_) | Content::Symlink(_) => (place.size as u64, place.block),
            Content::Character(major, minor) | Content::Block(major, minor) => (0, device(major, minor)),
            Content::Fifo => (0, 0),
        };
        let format = if place.inline > 0 { INLINE } else { PLAIN };
        let mode = u16::try_from(kind_bits(node) | node.mode).unwrap_or_default();
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(attribute_count).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(&mode.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&unit.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(number + 1).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(&node.uid.to_le_bytes());
        bytes.extend_from_slice(&node.gid.to_le_bytes());
        bytes.extend_from_slice(&node.mtime.0.to_le_bytes());
        bytes.extend_from_slice(&node.mtime.1.to_le_bytes());
        bytes.extend_from_slice(&place.links.to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        attributes::store(&node.attributes, bytes);
    }

    /// The content of a directory or link.
    fn bytes_of(&self, nodes: &Nodes, id: NodeId) -> Vec<u8> {
        match &nodes.get(id).content {
            Content::Directory(_) => self.directory(nodes, &names(nodes, id)),
            Content::Symlink(target) => target.to_vec(),
            _ => Vec::new(),
        }
    }

    fn directory(&self, nodes: &Nodes, names: &[(&[u8], NodeId)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in blocks(names) {
            bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
            let mut name_at = block.len() * DIRENT_BYTES;
            for (name, id) in block {
                bytes.extend_from_slice(&self.number(*id).to_le_bytes());
                bytes.extend_from_slice(&u16::try_from(name_at).unwrap_or_default().to_le_bytes());
                bytes.extend_from_slice(&[kind_number(nodes.get(*id)), 0]);
                name_at += name.len();
            }
            for (name, _) in block {
                bytes.extend_from_slice(name);
            }
        }
        bytes
    }
}

/// Nodes that have a name, parents first, and how many names each has.
fn reachable(nodes: &Nodes) -> (Vec<NodeId>, Vec<Place>) {
    let mut places = vec![Place::default(); nodes.len()];
    let mut order = vec![ROOT];
    places[ROOT as usize].links = 2;
    let mut next = 0;
    while let Some(id) = order.get(next).copied() {
        next += 1;
        let Content::Directory(children) = &nodes.get(id).content else { continue };
        for child in children.values() {
            let place = &mut places[*child as usize];
            if place.links == 0 {
                order.push(*child);
            }
            if matches!(nodes.get(*child).content, Content::Directory(_)) {
                place.links = 2;
                places[id as usize].links += 1;
            } else {
                place.links += 1;
            }
        }
    }
    (order, places)
}

/// What a directory lists, in the order of bytes.
fn names(nodes: &Nodes, id: NodeId) -> Vec<(&[u8], NodeId)> {
    let node = nodes.get(id);
    let Content::Directory(children) = &node.content else { return Vec::new() };
    let mut names: Vec<(&[u8], NodeId)> = vec![(b".", id), (b"..", node.parent)];
    names.extend(children.iter().map(|(name, id)| (&**name, *id)));
    names.sort_unstable();
    names
}

/// Splits a directory's names into those of one block each.
fn blocks<'a, 'b>(names: &'b [(&'a [u8], NodeId)]) -> Vec<&'b [(&'a [u8], NodeId)]> {
    let (mut blocks, mut start, mut used) = (Vec::new(), 0, 0);
    for (index, (name, _)) in names.iter().enumerate() {
        let more = DIRENT_BYTES + name.len();
        if used + more > BLOCK_BYTES {
            blocks.push(&names[start..index]);
            (start, used) = (index, 0);
        }
        used += more;
    }
    blocks.push(&names[start..]);
    blocks
}

fn directory_bytes(names: &[(&[u8], NodeId)]) -> usize {
    let blocks = blocks(names);
    let last = blocks.last().map_or(0, |block| block.iter().map(|(name, _)| DIRENT_BYTES + name.len()).sum());
    (blocks.len() - 1) * BLOCK_BYTES + last
}

fn kind_bits(node: &Node) -> u32 {
    match node.content {
        Content::Fifo => 0o010_000,
        Content::Character(..) => 0o020_000,
        Content::Directory(_) => 0o040_000,
        Content::Block(..) => 0o060_000,
        Content::Blocks { .. } => 0o100_000,
        Content::Symlink(_) => 0o120_000,
    }
}

/// As in directories.
fn kind_number(node: &Node) -> u8 {
    match node.content {
        Content::Blocks { .. } => 1,
        Content::Directory(_) => 2,
        Content::Character(..) => 3,
        Content::Block(..) => 4,
        Content::Fifo => 5,
        Content::Symlink(_) => 7,
    }
}

/// The kernel's encoding of a device number.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)
}
