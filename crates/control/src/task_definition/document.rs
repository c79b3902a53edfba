//! A registration as the checks see it: the wire document with the few facts that most rules ask for.

use gantry_api::ecs::{Compatibility, ContainerDefinition, LogDriver, NetworkMode, OSFamily, TaskDefinition};
use gantry_domain::arn::is_account;

use super::invalid::Invalid;

/// What most rules ask for, worked out once.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) task: &'a TaskDefinition,
}

impl<'a> Document<'a> {
    pub(super) fn containers(self) -> impl Iterator<Item = Container<'a>> {
        list(&self.task.container_definitions).iter().map(move |definition| Container { document: self, definition })
    }

    pub(super) fn container(self, name: &str) -> Option<Container<'a>> {
        self.containers().find(|container| container.name() == name)
    }

    /// The network mode, `bridge` when none is given.
    pub(super) fn network_mode(self) -> &'a NetworkMode {
        self.task.network_mode.as_ref().unwrap_or(&NetworkMode::Bridge)
    }

    /// Whether the document asks to be valid for this launch type.
    pub(super) fn requires(self, compatibility: &Compatibility) -> bool {
        list(&self.task.requires_compatibilities).contains(compatibility)
    }

    pub(super) fn is_windows(self) -> bool {
        let platform = self.task.runtime_platform.as_ref();
        let family = platform.and_then(|platform| platform.operating_system_family.as_ref());
        family.is_some_and(|family| *family != OSFamily::Linux)
    }

    pub(super) fn has_execution_role(self) -> bool {
        !text(&self.task.execution_role_arn).is_empty()
    }
}

/// One container within its document.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) document: Document<'a>,
    pub(super) definition: &'a ContainerDefinition,
}

impl<'a> Container<'a> {
    pub(super) fn name(self) -> &'a str {
        text(&self.definition.name)
    }

    /// `Invalid 'member' setting for container 'name'.` unless the condition holds.
    pub(super) fn ensure(self, holds: bool, member: &'static str) -> Result<(), Invalid> {
        if holds { Ok(()) } else { Err(Invalid::ContainerSetting { member, container: self.name().to_owned() }) }
    }

    pub(super) fn is_essential(self) -> bool {
        self.definition.essential.unwrap_or(true)
    }

    pub(super) fn log_driver(self) -> Option<&'a LogDriver> {
        self.definition.log_configuration.as_ref().and_then(|configuration| configuration.log_driver.as_ref())
    }
}

/// An absent list is an empty one.
pub(super) fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// An absent text is an empty one.
pub(super) fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// Whether an image comes from a private Amazon ECR registry (`ACCOUNT.dkr.ecr.REGION.amazonaws.com/…`).
pub(super) fn is_ecr_image(image: &str) -> bool {
    let host = image.split('/').next().unwrap_or_default();
    let mut parts = host.splitn(3, '.');
    let account = parts.next().unwrap_or_default();
    is_account(account)
        && parts.next() == Some("dkr")
        && parts.next().is_some_and(|rest| {
            (rest.starts_with("ecr.") || rest.starts_with("ecr-fips.")) && rest.contains(".amazonaws.com")
        })
}
