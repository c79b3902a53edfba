//! `maxResults` and `nextToken`, the same way in every list.

use gantry_api::Fault;
use gantry_domain::paging::Pager;

use crate::fault;

/// One page of a list as a request asks for it.
#[derive(Debug)]
pub(crate) struct Listing {
    question: String,
    size: usize,
    after: Option<String>,
}

impl Listing {
    /// Reads `maxResults` and `nextToken`. `question` holds the operation and every filter: a token is good for the same
    /// question only.
    pub(crate) fn new(
        question: String,
        next_token: Option<&str>,
        max_results: Option<i32>,
        (default, max): (usize, usize),
    ) -> Result<Self, Fault> {
        let size = match max_results {
            None => default,
            Some(asked) => usize::try_from(asked)
                .ok()
                .filter(|size| (1..=max).contains(size))
                .ok_or_else(|| fault::max_results(max))?,
        };
        let token = next_token.filter(|token| !token.is_empty());
        let after = Pager::new(&question, size).after(token).map_err(fault::bad_token)?;
        Ok(Self { question, size, after })
    }

    /// Where the page begins: after the item with this key.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The page, from items that begin there; and the token of the next one.
    pub(crate) fn page<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let page = Pager::new(&self.question, self.size).page(items, key);
        (page.items, page.next_token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_size_outside_the_range_is_refused() {
        let listing = |size| Listing::new("ListThings".into(), None, size, (10, 100));
        assert_eq!(listing(None).unwrap().size, 10);
        assert_eq!(listing(Some(100)).unwrap().size, 100);
        for size in [0, -1, 101, i32::MIN, i32::MAX] {
            assert_eq!(listing(Some(size)).unwrap_err().code, "InvalidParameterException", "{size}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_own_question_only() {
        let first = Listing::new("ListThings all".into(), None, Some(1), (10, 100)).unwrap();
        let (_, token) = first.page(["a", "b"], ToString::to_string);
        let again = |question: &str| Listing::new(question.into(), token.as_deref(), Some(5), (10, 100));
        assert_eq!(again("ListThings all").unwrap().after(), Some("a"));
        assert_eq!(again("ListThings red").unwrap_err().code, "InvalidParameterException");
    }
}
