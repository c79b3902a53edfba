//! Pages of lists.

use gantry_api::Fault;
use gantry_domain::paging::Pager;

use super::fault;

/// One page of `items`, which come in the order of their keys, and the token of the next.
pub(super) fn page<T>(
    question: &str,
    (asked, max): (Option<i32>, usize),
    token: Option<&str>,
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let size = asked.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0).unwrap_or(max).min(max);
    let pager = Pager::new(question, size);
    let after = pager.after(token).map_err(|_| fault::bad_token())?;
    let rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let page = pager.page(rest, &key);
    Ok((page.items, page.next_token))
}
