//! Query strings. Pure.

use percent_encoding::percent_decode_str;

use crate::fault::RegistryError;

/// More parameters than any client sends; the rest is ignored.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a request, decoded, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The page size `n`.
    pub(super) fn page_size(&self) -> Result<Option<usize>, RegistryError> {
        let size = self.get("n").filter(|n| !n.is_empty());
        size.map(|n| n.parse().map_err(|_| RegistryError::BadRequest("invalid number of results requested")))
            .transpose()
    }
}

fn decode(text: &str) -> String {
    // Digests never contain a plus, and names neither; forms write spaces as plus, which nothing here needs.
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order_and_encoding() {
        let query = Query::parse("from=a%2Fb&mount=sha256%3Aabc&tag=1&tag=2&flag&=&n=10");
        assert_eq!(query.get("mount"), Some("sha256:abc"));
        assert_eq!(query.get("from"), Some("a/b"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("absent"), None);
        assert!(matches!(query.page_size(), Ok(Some(10))));
        assert!(Query::parse("n=-1").page_size().is_err());
        assert!(Query::parse("n=x").page_size().is_err());
        assert!(matches!(Query::parse("n=").page_size(), Ok(None)));
    }
}
