//! Where each tag pointed, and when: the history of tags.
//!
//! Entries are written in the transaction that moves, sets or removes the tag, numbered from 1, and bounded per tag:
//! a new one takes the oldest away. They stay when the tag is deleted and go with the repository.

use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use crate::changes::{Actor, Origin};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{Read, RepositoryKeys, TagRow, encode};
use crate::name::Tag;
use crate::registry::Registry;

/// Entries kept of one tag.
pub const ENTRIES_PER_TAG_MAX: u64 = 100;

/// One entry: from then on the tag pointed there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The image; none when the tag was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// ARN of who did it.
    pub actor: String,
    /// What brought it about.
    #[serde(default)]
    pub origin: Origin,
}

/// An entry with the tag it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The tag.
    pub tag: Tag,
    /// Which of the tag's entries, from 1.
    pub number: u64,
    /// What it says.
    #[serde(flatten)]
    pub row: HistoryRow,
}

impl Registry {
    /// The history of one tag, or of all tags in byte order, oldest entry first; `after` is what the page before
    /// ended with. The other half says where the next page begins.
    pub async fn tag_history(
        &self,
        keys: &RepositoryKeys,
        tag: Option<&Tag>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<HistoryEntry>, Option<String>), RegistryError> {
        self.metadata.repository(keys).await?;
        let entry = |key: &str| {
            let (tag, number) = key.split_once('/')?;
            Some((tag.parse::<Tag>().ok()?, number.parse::<u64>().ok()?))
        };
        let prefix = tag.map_or_else(String::new, |tag| format!("{tag}/"));
        let (rows, more) = self.metadata.history(keys, &prefix, after, limit).await?;
        let next = rows.last().filter(|_| more).map(|(key, _)| key.clone());
        let entries = rows.into_iter().filter_map(|(key, row)| {
            let (tag, number) = entry(&format!("{prefix}{key}"))?;
            Some(HistoryEntry { tag, number, row })
        });
        Ok((entries.collect(), next))
    }

    /// How many entries a tag has had. `pointer` is its row; a tag without one may still have a history.
    pub(crate) async fn history_length(
        &self,
        keys: &RepositoryKeys,
        tag: &Tag,
        pointer: Option<&Read<TagRow>>,
    ) -> Result<u64, RegistryError> {
        match pointer {
            Some(pointer) => Ok(pointer.row.entries),
            None => self.metadata.history_length(keys, tag).await,
        }
    }

    /// Adds an entry to the transaction that changes the tag. `length` is how many there were when it was read.
    pub(crate) fn remember(
        &self,
        mut txn: Txn,
        keys: &RepositoryKeys,
        tag: &Tag,
        length: u64,
        digest: Option<&Digest>,
        actor: &Actor,
    ) -> Txn {
        let row = HistoryRow {
            digest: digest.cloned(),
            at_ms: self.now().as_millis(),
            actor: actor.arn.clone(),
            origin: actor.origin,
        };
        let key = keys.history_entry(tag, length + 1);
        // Of a tag that does not exist, the number of entries is not part of what the transaction names otherwise.
        txn = txn.require_absent(&key).put(&key, encode(&row));
        match (length + 1).checked_sub(ENTRIES_PER_TAG_MAX) {
            Some(oldest @ 1..) => txn.delete(keys.history_entry(tag, oldest)),
            _ => txn,
        }
    }
}
