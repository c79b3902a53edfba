//! What a parameter may be called, and where it stands in its hierarchy.
//!
//! `/shop/db` and `shop/db` have the same ARN, so they are one parameter, which answers to the name it was made with.

/// Levels of a name.
const LEVELS_MAX: usize = 15;
/// A name with the beginning of its ARN.
const ARN_LENGTH_MAX: usize = 1011;

/// Why a text is no name of a new parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name with slashes begins with one.
    #[error("is not a fully qualified name")]
    NotQualified,
    /// A character that names do not have, an empty level, or a beginning that is the service's own.
    #[error("has a form that names do not have")]
    Form,
    /// Names of AWS's own parameters.
    #[error("is reserved")]
    Reserved,
    /// More levels than a name may have.
    #[error("has more than {LEVELS_MAX} levels")]
    TooDeep,
    /// Longer than a name may be.
    #[error("is longer than {max} characters")]
    TooLong {
        /// Characters that are left for the name.
        max: usize,
    },
}

/// Checks the name of a new parameter. `arn_start` is everything of its ARN before the name.
///
/// # Errors
/// The first rule broken.
pub fn check(name: &str, arn_start: &str) -> Result<(), NameError> {
    let bare = bare(name);
    if has_prefix(bare, "aws") {
        return Err(NameError::Reserved);
    }
    if bare.contains('/') && !name.starts_with('/') {
        return Err(NameError::NotQualified);
    }
    let max = ARN_LENGTH_MAX.saturating_sub(arn_start.len());
    if bare.len() > max {
        return Err(NameError::TooLong { max });
    }
    let is_level = |level: &str| {
        !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    if has_prefix(bare, "ssm") || !bare.split('/').all(is_level) {
        return Err(NameError::Form);
    }
    if bare.split('/').count() > LEVELS_MAX { Err(NameError::TooDeep) } else { Ok(()) }
}

/// A name as ARNs have it: without the first slash.
pub fn bare(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Whether a text can be a path: it begins with a slash and has nothing that names have not.
pub fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte))
}

/// Whether a parameter is below a path: directly, or anywhere when `recursive`.
pub fn is_below(name: &str, path: &str, recursive: bool) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let rest = match name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) => rest,
        // The root holds the names without slashes too.
        None if path.is_empty() => name,
        None => return false,
    };
    recursive || !rest.contains('/')
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:ssm:us-east-1:000000000000:parameter/";

    #[test]
    fn a_name_is_refused_for_the_rule_it_breaks() {
        let levels = |count: usize| "/a".repeat(count);
        let (deepest, too_deep) = (levels(15), levels(16));
        let (longest, too_long) = ("n".repeat(1011 - ARN.len()), "n".repeat(1012 - ARN.len()));
        let max = 1011 - ARN.len();
        for (name, expected) in [
            ("db", Ok(())),
            ("/shop/db.url-1_x", Ok(())),
            (&deepest, Ok(())),
            (&longest, Ok(())),
            ("shop/db", Err(NameError::NotQualified)),
            ("/shop//db", Err(NameError::Form)),
            ("/shop/", Err(NameError::Form)),
            ("/", Err(NameError::Form)),
            ("", Err(NameError::Form)),
            ("a b", Err(NameError::Form)),
            ("a:1", Err(NameError::Form)),
            ("größe", Err(NameError::Form)),
            ("SSM-x", Err(NameError::Form)),
            ("/ssm/x", Err(NameError::Form)),
            ("/aws/service/x", Err(NameError::Reserved)),
            ("AwsThing", Err(NameError::Reserved)),
            (&too_deep, Err(NameError::TooDeep)),
            (&too_long, Err(NameError::TooLong { max })),
        ] {
            assert_eq!(check(name, ARN), expected, "{name}");
        }
    }

    #[test]
    fn below_a_path_is_what_has_it_as_levels_before_it() {
        for (name, path, recursive, expected) in [
            ("/shop/db", "/shop", false, true),
            ("/shop/db", "/shop/", false, true),
            ("/shop/db/url", "/shop", false, false),
            ("/shop/db/url", "/shop", true, true),
            ("/shopping/db", "/shop", true, false),
            ("/shop", "/shop", true, false),
            ("plain", "/", false, true),
            ("/shop/db", "/", false, false),
            ("/shop/db", "/", true, true),
        ] {
            assert_eq!(is_below(name, path, recursive), expected, "{name} {path} {recursive}");
        }
    }
}
