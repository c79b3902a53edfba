//! Which GPUs the containers of a task get. A GPU is one container's alone, for as long as its task holds resources.

/// Gives each container as many of the `free` ones as it wants, in order. None when there are too few of them.
pub fn assign<'a>(
    wanted: impl IntoIterator<Item = u32>,
    free: impl IntoIterator<Item = &'a str>,
) -> Option<Vec<Vec<String>>> {
    let mut free = free.into_iter();
    let take = |count: u32| (0..count).map(|_| free.next().map(str::to_owned)).collect::<Option<Vec<_>>>();
    wanted.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::assign;

    #[test]
    fn containers_get_what_they_want_in_order() {
        assert_eq!(assign([1, 0, 2], ["a", "b", "c", "d"]).unwrap(), [vec!["a"], vec![], vec!["b", "c"]]);
        assert_eq!(assign([], ["a"]).unwrap(), Vec::<Vec<String>>::new());
    }

    #[test]
    fn no_container_gets_fewer_than_it_wants() {
        assert_eq!(assign([1, 2], ["a", "b"]), None);
        assert_eq!(assign([u32::MAX], ["a"]), None);
    }

    proptest! {
        #[test]
        fn no_gpu_is_given_twice(wanted in prop::collection::vec(0_u32..4, 0..5), free in 0_usize..12) {
            let free: Vec<String> = (0..free).map(|number| format!("GPU-{number}")).collect();
            let sum: u32 = wanted.iter().sum();
            let given = assign(wanted.iter().copied(), free.iter().map(String::as_str));
            prop_assert_eq!(given.is_some(), usize::try_from(sum).unwrap() <= free.len());
            if let Some(given) = given {
                let counts: Vec<u32> = given.iter().map(|ids| u32::try_from(ids.len()).unwrap()).collect();
                prop_assert_eq!(counts, wanted);
                let distinct: BTreeSet<&String> = given.iter().flatten().collect();
                prop_assert_eq!(distinct.len(), given.iter().flatten().count());
            }
        }
    }
}
