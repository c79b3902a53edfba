//! How many tasks of each group an instance has. A placement asks every instance of a cluster for one group, so what is
//! compared are numbers that lie side by side: names lie all over the memory.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Tasks by group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Of the names, in order; two names may have the same.
    hashes: Vec<u64>,
    /// The names with their tasks, as many as there are hashes.
    counts: Vec<(Box<str>, u32)>,
}

/// A group to look for.
#[derive(Debug, Clone, Copy)]
pub struct GroupKey<'a> {
    hash: u64,
    name: &'a str,
}

impl<'a> GroupKey<'a> {
    /// The group of this name.
    pub fn new(name: &'a str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self { hash: hasher.finish(), name }
    }
}

impl Groups {
    /// Tasks of a group.
    pub fn count(&self, group: GroupKey<'_>) -> u32 {
        self.find(group).map_or(0, |index| self.counts[index].1)
    }

    /// One task more.
    pub fn add(&mut self, name: &str) {
        let group = GroupKey::new(name);
        match self.find(group) {
            Ok(index) => self.counts[index].1 += 1,
            Err(index) => {
                self.hashes.insert(index, group.hash);
                self.counts.insert(index, (name.into(), 1));
            }
        }
    }

    /// One task less, if there is one.
    pub fn remove(&mut self, name: &str) {
        let Ok(index) = self.find(GroupKey::new(name)) else { return };
        self.counts[index].1 -= 1;
        if self.counts[index].1 == 0 {
            self.hashes.remove(index);
            self.counts.remove(index);
        }
    }

    /// The groups that have tasks, in no order that means anything.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.iter().map(|(name, _)| &**name)
    }

    /// Where the group is, or where it belongs.
    fn find(&self, group: GroupKey<'_>) -> Result<usize, usize> {
        let first = self.hashes.partition_point(|hash| *hash < group.hash);
        let alike = self.hashes[first..].iter().take_while(|hash| **hash == group.hash).count();
        let is_it = |index: &usize| &*self.counts[*index].0 == group.name;
        (first..first + alike).find(is_it).ok_or(first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_like_a_map(steps in prop::collection::vec((any::<bool>(), "[a-e]{1,2}"), 0..200)) {
            let (mut groups, mut map) = (Groups::default(), BTreeMap::<String, u32>::new());
            for (add, name) in steps {
                if add {
                    groups.add(&name);
                    *map.entry(name).or_default() += 1;
                } else {
                    groups.remove(&name);
                    if let Some(count) = map.get_mut(&name) {
                        *count -= 1;
                    }
                    map.retain(|_, count| *count > 0);
                }
                let mut names: Vec<&str> = groups.names().collect();
                names.sort_unstable();
                prop_assert_eq!(&names, &map.keys().map(String::as_str).collect::<Vec<_>>());
                prop_assert!(map.iter().all(|(name, count)| groups.count(GroupKey::new(name)) == *count));
            }
            prop_assert_eq!(groups.count(GroupKey::new("another")), 0);
        }
    }

    #[test]
    fn names_with_the_same_hash_are_told_apart() {
        let mut groups = Groups { hashes: vec![7, 7], counts: vec![("a".into(), 1), ("b".into(), 2)] };
        assert_eq!(["a", "b", "c"].map(|name| groups.count(GroupKey { hash: 7, name })), [1, 2, 0]);
        groups.add("d");
        assert_eq!(groups.count(GroupKey::new("d")), 1);
    }
}
