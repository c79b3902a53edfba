//! Environment files: `NAME=value` lines, taken as they are.

use std::collections::BTreeMap;

/// The variables of a file. A line that begins with `#` or has no `=` is none; nothing is trimmed, unquoted or expanded;
/// of a name that stands twice the last line counts, in the place of the first.
pub fn parse(text: &str) -> Vec<(String, String)> {
    // Line of the first, and the last value, by name: a file may have a great many names.
    let mut variables: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
        variables.entry(name).or_insert((number, value)).1 = value;
    }
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort_unstable_by_key(|(_, (number, _))| *number);
    variables.into_iter().map(|(name, (_, value))| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are() {
        let text = "# comment\nA=1\n B = x y \nno line\n=empty\nURL=a=b?c=\"d\"\r\n #C=3\nEMPTY=\nA=2\n";
        let expected = [("A", "2"), (" B ", " x y "), ("URL", "a=b?c=\"d\""), (" #C", "3"), ("EMPTY", "")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parse(text), expected);
    }
}
