//! Pages of a sorted list, and the opaque token that continues it.
//!
//! The token holds the last item given out, not a position: items that come or go between two pages neither repeat nor
//! hide others. It also holds a digest of what was asked, so that a token given to another list, or back to the same
//! list with other filters, is refused rather than quietly wrong.

/// The token did not come from this list with these filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not one of this list's")]
pub struct BadToken;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Continues the list; none at its end.
    pub next_token: Option<String>,
}

/// A list as one request sees it. `question` names the operation and every filter, in any unambiguous form.
#[derive(Clone, Copy, Debug)]
pub struct Pager<'a> {
    question: &'a str,
    max: usize,
}

impl<'a> Pager<'a> {
    /// Pages of at most `max` items (at least one) of the list that `question` describes.
    pub fn new(question: &'a str, max: usize) -> Self {
        Self { question, max: max.max(1) }
    }

    /// The key after which the page begins, none for the first page.
    ///
    /// # Errors
    /// [`BadToken`] when the token was not made by [`Pager::page`] for the same question.
    pub fn after(&self, token: Option<&str>) -> Result<Option<String>, BadToken> {
        token.map(|token| decode(self.question, token)).transpose()
    }

    /// Takes a page from items that already begin after the token's key; `key` is what the list is ordered by.
    pub fn page<T>(&self, items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> String) -> Page<T> {
        let mut items = items.into_iter();
        let page: Vec<T> = items.by_ref().take(self.max).collect();
        let more = items.next().is_some();
        let next_token = page.last().filter(|_| more).map(|last| encode(self.question, &key(last)));
        Page { items: page, next_token }
    }
}

const DIGEST_LENGTH: usize = 8;

/// Eight bytes of FNV-1a over question and key: a guard against mistakes, not against forgery, which gains nothing.
fn digest(question: &str, key: &str) -> [u8; DIGEST_LENGTH] {
    let bytes = question.bytes().chain([0]).chain(key.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.to_be_bytes()
}

fn encode(question: &str, key: &str) -> String {
    use std::fmt::Write;
    let mut token = String::with_capacity(2 * (DIGEST_LENGTH + key.len()));
    for byte in digest(question, key).into_iter().chain(key.bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

fn decode(question: &str, token: &str) -> Result<String, BadToken> {
    let pairs = token.as_bytes().chunks(2);
    let bytes: Vec<u8> = pairs.map(byte).collect::<Option<_>>().ok_or(BadToken)?;
    let (seal, key) = bytes.split_at_checked(DIGEST_LENGTH).ok_or(BadToken)?;
    let key = String::from_utf8(key.to_vec()).map_err(|_| BadToken)?;
    if seal == digest(question, &key) { Ok(key) } else { Err(BadToken) }
}

fn byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = *pair else { return None };
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(nibble(high)? << 4 | nibble(low)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn walk(max: usize, names: &[&str]) -> (Vec<String>, usize) {
        let pager = Pager::new("List", max);
        let (mut seen, mut pages, mut token) = (Vec::new(), 0, None);
        loop {
            let after = pager.after(token.as_deref()).unwrap();
            let rest = names.iter().filter(|name| after.as_deref().is_none_or(|after| **name > after));
            let page = pager.page(rest, |name| name.to_string());
            assert!(page.items.len() <= max);
            seen.extend(page.items.iter().map(|name| name.to_string()));
            pages += 1;
            token = page.next_token;
            if token.is_none() {
                return (seen, pages);
            }
        }
    }

    #[test]
    fn the_pages_together_are_the_list_and_the_last_has_no_token() {
        let names = ["a", "b", "c", "d", "é"];
        for (max, pages) in [(1, 5), (2, 3), (5, 1), (100, 1)] {
            assert_eq!(walk(max, &names), (names.map(str::to_owned).to_vec(), pages), "{max} at a time");
        }
        assert_eq!(walk(3, &[]), (vec![], 1));
    }

    #[test]
    fn a_token_of_another_question_or_a_made_up_one_is_refused() {
        let token = Pager::new("ListClusters", 1).page(["a", "b"], |name| name.to_string()).next_token.unwrap();
        let after = |question, token: &str| Pager::new(question, 1).after(Some(token));
        assert_eq!(after("ListClusters", &token), Ok(Some("a".into())));
        assert_eq!(after("ListTasks", &token), Err(BadToken));
        for made_up in ["", "0", "zz", "é", "0000000000000000", "00000000000000006", &token[2..], &format!("{token}00")]
        {
            assert_eq!(after("ListClusters", made_up), Err(BadToken), "{made_up:?}");
        }
    }
}
