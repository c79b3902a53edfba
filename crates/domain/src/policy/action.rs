//! Actions: `ecr:BatchGetImage`, `ecr:Get*`, `*`.

use super::{error::Problem, glob::Glob};

/// A pattern of actions. Neither part is case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActionPattern {
    /// In lower case.
    pub(super) text: String,
    glob: Glob,
}

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let invalid = || Problem::Action(text.to_owned());
        if text != "*" {
            let (service, name) = text.split_once(':').ok_or_else(invalid)?;
            let service_ok = service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let name_ok = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'?'));
            if service.is_empty() || name.is_empty() || !service_ok || !name_ok {
                return Err(invalid());
            }
        }
        let text = text.to_ascii_lowercase();
        Ok(Self { glob: Glob::parse(&text), text })
    }

    /// Whether it covers `action`, which is in lower case.
    pub(super) fn matches(&self, action: &str) -> bool {
        self.glob.matches(action)
    }
}
