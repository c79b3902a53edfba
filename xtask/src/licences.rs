//! Checks licences and sources of all dependencies against `deny.toml`.
//!
//! The file is cargo-deny's, and its format stays cargo-deny's; that program takes longer to build than Gantry, so the
//! two checks that matter on every change are made here.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    clarify: Vec<Clarification>,
}

/// The licence of a crate whose manifest names none.
#[derive(Deserialize)]
struct Clarification {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

/// Fails with one line per dependency that is not acceptable.
pub(crate) fn check() -> Result<()> {
    let path = crate::generate::workspace_root()?.join("deny.toml");
    let deny: Deny = toml::from_str(&std::fs::read_to_string(path)?).context("reading deny.toml")?;
    let output = std::process::Command::new("cargo").args(["metadata", "--format-version=1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name =
            format!("{} {}", package["name"].as_str().unwrap_or("?"), package["version"].as_str().unwrap_or("?"));
        let Some(source) = package["source"].as_str() else { continue };
        if !source.starts_with("registry+https://github.com/rust-lang/crates.io-index") {
            wrong.push(format!("{name} comes from {source}, not from crates.io"));
        }
        let clarified = deny.licenses.clarify.iter().find(|known| package["name"].as_str() == Some(&known.name));
        let licence = match clarified {
            Some(known) => known.expression.as_str(),
            None => package["license"].as_str().unwrap_or("no licence"),
        };
        if !acceptable(licence, &deny.licenses.allow) {
            wrong.push(format!("{name} has the licence {licence}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

/// Whether an SPDX expression can be met with the allowed licences: every part of an AND, one of an OR.
fn acceptable(expression: &str, allowed: &[String]) -> bool {
    // Before SPDX expressions, crates wrote `MIT/Apache-2.0` for "or".
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(parts) = split(expression, " OR ") {
        return parts.iter().any(|part| acceptable(part, allowed));
    }
    if let Some(parts) = split(expression, " AND ") {
        return parts.iter().all(|part| acceptable(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => acceptable(inner, allowed),
        None => allowed.iter().any(|licence| licence == expression),
    }
}

/// Splits at `operator` outside parentheses; `None` when it does not occur there.
fn split<'e>(expression: &'e str, operator: &str) -> Option<Vec<&'e str>> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (index, letter) in expression.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && expression[index..].starts_with(operator) => {
                parts.push(expression[from..index].trim());
                from = index + operator.len();
            }
            _ => {}
        }
    }
    if parts.is_empty() {
        return None;
    }
    parts.push(expression[from..].trim());
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_an_or_and_every_part_of_an_and_must_be_allowed() {
        let allowed = ["MIT".to_string(), "Apache-2.0 WITH LLVM-exception".to_string()];
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(GPL-3.0 OR MIT) AND MIT", true),
            ("(GPL-3.0 OR MIT) AND BSD", false),
            ("Apache-2.0 WITH LLVM-exception", true),
        ] {
            assert_eq!(acceptable(expression, &allowed), expected, "{expression}");
        }
    }
}
