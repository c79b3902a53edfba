//! Rust names for the model's names.

/// The Rust module of a service: `application-autoscaling` → `application_autoscaling`.
pub(crate) fn module(service: &str) -> String {
    service.replace('-', "_")
}

/// `managedEBSVolume` → `managed_ebs_volume`.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            out.push('_');
            continue;
        }
        let after_word = index > 0 && (letters[index - 1].is_ascii_lowercase() || letters[index - 1].is_ascii_digit());
        let ends_acronym = index > 0
            && letters[index - 1].is_ascii_uppercase()
            && letters.get(index + 1).is_some_and(char::is_ascii_lowercase)
            && !plural_acronym(&letters, index);
        if letter.is_ascii_uppercase() && (after_word || ends_acronym) {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// `ARNs`: the small s belongs to the acronym.
fn plural_acronym(letters: &[char], index: usize) -> bool {
    letters.get(index + 1) == Some(&'s') && letters.get(index + 2).is_none_or(char::is_ascii_uppercase)
}

/// A field name; keywords are escaped.
pub(crate) fn field(name: &str) -> String {
    let snake = snake(name);
    match snake.as_str() {
        "type" | "ref" | "match" | "use" | "in" | "enum" | "where" | "mod" => format!("r#{snake}"),
        _ => snake,
    }
}

/// A type name: the shape's own with a capital first letter.
pub(crate) fn type_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// `FARGATE_SPOT` → `FargateSpot`, `x86_64` → `X8664`.
pub(crate) fn variant(value: &str) -> String {
    let mut out = String::new();
    for word in value.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let keep_case = word.chars().any(|letter| letter.is_ascii_lowercase());
        let mut letters = word.chars();
        if let Some(first) = letters.next() {
            out.push(first.to_ascii_uppercase());
            let rest = letters.as_str();
            out.push_str(&if keep_case { rest.to_string() } else { rest.to_ascii_lowercase() });
        }
    }
    if out.is_empty() || out.starts_with(|letter: char| letter.is_ascii_digit()) {
        out.insert(0, 'V');
    }
    out
}

/// Variant names for all values of an enum, distinct even when two values differ only in case.
pub(crate) fn variants(values: &[String]) -> Vec<(String, &str)> {
    let mut seen = std::collections::BTreeSet::from(["Unknown".to_string()]);
    let mut out = Vec::new();
    for value in values {
        let mut name = variant(value);
        while !seen.insert(name.clone()) {
            name.push('X');
        }
        out.push((name, value.as_str()));
    }
    out
}
