//! A set of attributes, kept once for all instances that have the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Map = BTreeMap<String, Option<String>>;

/// Attribute names with their optional values. Machines of one kind have the same ones but for a few: clones share them,
/// and [`AttributeSets`] makes sets that were read apart one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributeSet(Arc<Map>);

impl AttributeSet {
    /// To change it; those that shared it keep what they have.
    pub fn to_mut(&mut self) -> &mut Map {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Map> for AttributeSet {
    fn from(map: Map) -> Self {
        Self(Arc::new(map))
    }
}

impl Deref for AttributeSet {
    type Target = Map;
    fn deref(&self) -> &Map {
        &self.0
    }
}

impl Serialize for AttributeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AttributeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

/// The sets in use, each once.
#[derive(Debug, Default)]
pub(crate) struct AttributeSets {
    known: BTreeSet<AttributeSet>,
    /// How many there were when unused ones were last thrown away.
    kept: usize,
}

/// Unused sets are not looked for among fewer than this.
const SETS_MIN: usize = 64;

impl AttributeSets {
    /// The known set that is equal, or this one from now on.
    pub(crate) fn share(&mut self, set: &mut AttributeSet) {
        if let Some(known) = self.known.get(set) {
            set.clone_from(known);
            return;
        }
        if self.known.len() >= 2 * self.kept.max(SETS_MIN) {
            self.known.retain(|set| Arc::strong_count(&set.0) > 1);
            self.kept = self.known.len();
        }
        self.known.insert(set.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(value: &str) -> AttributeSet {
        Map::from([("rack".to_owned(), Some(value.to_owned()))]).into()
    }

    #[test]
    fn equal_sets_become_one_and_a_change_of_one_is_not_seen_by_the_others() {
        let mut sets = AttributeSets::default();
        let (mut first, mut second) = (set("1"), set("1"));
        sets.share(&mut first);
        sets.share(&mut second);
        assert!(Arc::ptr_eq(&first.0, &second.0));
        second.to_mut().insert("zone".into(), None);
        assert_eq!((first.len(), second.len()), (1, 2));
    }

    #[test]
    fn sets_that_nobody_has_any_more_do_not_pile_up() {
        let mut sets = AttributeSets::default();
        let mut kept = set("kept");
        sets.share(&mut kept);
        for number in 0..10_000 {
            sets.share(&mut set(&number.to_string()));
        }
        assert!(sets.known.len() <= 2 * SETS_MIN);
        let mut again = set("kept");
        sets.share(&mut again);
        assert!(Arc::ptr_eq(&kept.0, &again.0));
    }
}
