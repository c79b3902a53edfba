//! What requests name: buses by name or ARN, resources by ARN, and the tokens of pages.

use gantry_api::Fault;
use gantry_domain::paging::{Page, Pager};

use super::fault;
use super::picture::Picture;
use super::rows::{DEFAULT_BUS, Scope};

/// Items of a page unless the request says otherwise; also the most.
const PAGE_MAX: i32 = 100;

/// The name in an `EventBusName`: a name, an ARN of this account and region, or nothing for `default`.
pub(super) fn bus(scope: &Scope, given: Option<&str>) -> Result<String, Fault> {
    let Some(given) = given else { return Ok(DEFAULT_BUS.to_owned()) };
    if !given.starts_with("arn:") {
        return Ok(given.to_owned());
    }
    match given.strip_prefix(&scope.bus_arn("")) {
        Some(name) => Ok(name.to_owned()),
        None => Err(fault::no_bus(given)),
    }
}

/// The same, when there is such a bus.
pub(super) fn existing_bus(picture: &Picture, scope: &Scope, given: Option<&str>) -> Result<String, Fault> {
    let bus = bus(scope, given)?;
    if picture.has_bus(scope, &bus) { Ok(bus) } else { Err(fault::no_bus(&bus)) }
}

/// A page of items in the order of their keys. `question` names the list with its filters.
pub(super) fn page<T>(
    question: &str,
    limit: Option<i32>,
    token: Option<&str>,
    items: impl IntoIterator<Item = (String, T)>,
) -> Result<Page<T>, Fault> {
    let pager = Pager::new(question, usize::try_from(limit.unwrap_or(PAGE_MAX)).unwrap_or(1));
    let after = pager.after(token).map_err(|_| fault::bad_token())?;
    let rest = items.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let page = pager.page(rest, |(key, _)| key.clone());
    let items = page.items.into_iter().map(|(_, item)| item).collect();
    Ok(Page { items, next_token: page.next_token })
}
