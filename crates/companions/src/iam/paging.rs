//! Pages of IAM's lists: `MaxItems`, `Marker`, `IsTruncated`.

use gantry_api::Fault;
use gantry_domain::paging::Pager;

use super::fault;

/// Items a page has unless the request says otherwise.
const ITEMS_DEFAULT: i32 = 100;

/// A part of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) is_truncated: Option<bool>,
    pub(super) marker: Option<String>,
}

/// What a request says about its page.
pub(super) struct Asked {
    pub(super) marker: Option<String>,
    pub(super) max_items: Option<i32>,
}

impl Asked {
    /// The page of `items`, which are in the order of their keys. `question` names the list with its filters.
    pub(super) fn page<T>(
        self,
        question: &str,
        items: impl IntoIterator<Item = (String, T)>,
    ) -> Result<Page<T>, Fault> {
        let max = usize::try_from(self.max_items.unwrap_or(ITEMS_DEFAULT)).unwrap_or(1);
        let pager = Pager::new(question, max);
        let after = pager.after(self.marker.as_deref()).map_err(|_| fault::validation("Invalid Marker."))?;
        let rest = items.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        let page = pager.page(rest, |(key, _)| key.clone());
        Ok(Page {
            items: page.items.into_iter().map(|(_, item)| item).collect(),
            is_truncated: Some(page.next_token.is_some()),
            marker: page.next_token,
        })
    }
}

/// The paging members of an input.
macro_rules! asked {
    ($input:ident) => {
        crate::iam::paging::Asked { marker: $input.marker.clone(), max_items: $input.max_items }
    };
}
pub(super) use asked;
