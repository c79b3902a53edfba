//! Resources: ARNs with wildcards, and `*`.

use super::{
    error::Problem,
    evaluate::Asked,
    glob::Glob,
    template::{Syntax, Template},
};

/// A pattern of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResourcePattern {
    /// `*`
    Any,
    /// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`, with wildcards in each part but the service; in the last part
    /// they cross `/` and `:`, and variables may stand there.
    Arn { head: Box<[Glob; 5]>, resource: Template },
}

impl ResourcePattern {
    pub(super) fn parse(text: &str, variables: bool) -> Result<Self, Problem> {
        if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
            return Ok(Self::Any);
        }
        let invalid = || Problem::Resource(text.to_owned());
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts[..] else { return Err(invalid()) };
        let head = [arn, partition, service, region, account];
        if variables && head.iter().any(|part| part.contains("${")) {
            return Err(Problem::VariablePlace(text.to_owned()));
        }
        if arn != "arn" || service.is_empty() || service.contains(['*', '?']) || resource.is_empty() {
            return Err(invalid());
        }
        let resource = Template::parse(resource, Syntax { variables, wildcards: true })?;
        Ok(Self::Arn { head: Box::new(head.map(Glob::parse)), resource })
    }

    /// Whether it covers the resource of the request.
    pub(super) fn matches(&self, asked: &Asked<'_>) -> bool {
        let Self::Arn { head, resource: last } = self else { return true };
        let Some([parts @ .., resource]) = &asked.arn else { return false };
        // What differs most comes first.
        last.matches(resource, asked) && head.iter().zip(parts).all(|(glob, part)| glob.matches(part))
    }
}
