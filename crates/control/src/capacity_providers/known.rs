//! Which provider a name means.

use gantry_api::Fault;
use gantry_domain::arn::{Name, Scope};

use crate::{
    fault,
    records::{CapacityProviderRecord, SharedRow},
    view::EcsView,
};

/// Fargate's, which belong to AWS and are attached, not made.
pub(crate) const BUILT_IN: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// What is behind a provider.
#[derive(Clone, Debug)]
pub(crate) enum Kind<'a> {
    /// The fleet.
    Fargate,
    /// Instances that are attributed to the provider.
    Group(&'a SharedRow<CapacityProviderRecord>),
}

impl Kind<'_> {
    /// Whether tasks that find no room wait for an instance.
    pub(crate) fn is_managed(&self) -> bool {
        matches!(self, Self::Group(row) if row.is_managed())
    }
}

/// The provider of this name that may be used now.
pub(crate) fn kind<'a>(view: &'a EcsView, scope: &Scope, name: &str) -> Option<Kind<'a>> {
    if BUILT_IN.contains(&name) {
        return Some(Kind::Fargate);
    }
    let name: Name = name.parse().ok()?;
    let row = view.namespace(scope)?.capacity_providers().get(&name)?;
    row.is_usable().then_some(Kind::Group(row))
}

/// The provider that Update and Delete mean. Fargate's can be neither changed nor deleted.
pub(crate) fn find<'a>(
    view: &'a EcsView,
    scope: &Scope,
    reference: &str,
) -> Result<(Name, &'a SharedRow<CapacityProviderRecord>), Fault> {
    let name = scope.capacity_provider(reference).map_err(|_| fault::capacity_provider_not_found())?;
    if BUILT_IN.contains(&name.as_str()) {
        return Err(fault::capacity_provider_reserved());
    }
    let row = view.namespace(scope).and_then(|space| space.capacity_providers().get(&name));
    let row = row.filter(|row| row.is_active()).ok_or_else(fault::capacity_provider_not_found)?;
    Ok((name, row))
}

/// A name that a new provider may have.
pub(crate) fn check_name(name: Option<&str>) -> Result<Name, Fault> {
    let given = name.unwrap_or_default();
    let lower = given.to_ascii_lowercase();
    if ["aws", "ecs", "fargate"].iter().any(|reserved| lower.starts_with(reserved)) {
        return Err(fault::capacity_provider_name());
    }
    given.parse().map_err(|_| fault::capacity_provider_name())
}
