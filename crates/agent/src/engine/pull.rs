//! The image of a container: asked for as configured, taken from the host where that is allowed.

use std::sync::Arc;

use gantry_api::task_values::RegistryLogin;
use gantry_runtime::image::{Image, ImageError, NoProgress, Password, RegistryAccess};
use tracing::warn;

use crate::{
    aws::AwsError,
    config::ImagePullBehavior,
    host::Host,
    reason::{ContainerReason, chain},
    task::{LaunchType, TaskSpec},
};

/// Makes the image of a container available.
pub(crate) async fn pull(host: &Host, task: &TaskSpec, index: usize) -> Result<Image, ContainerReason> {
    let image = pull_as_configured(host, task, index).await?;
    host.image_used(&image.digest);
    Ok(image)
}

async fn pull_as_configured(host: &Host, task: &TaskSpec, index: usize) -> Result<Image, ContainerReason> {
    let reference = &task.containers[index].image;
    let _in_use = host.image_use.read().await;
    let images = &host.runtime.images;
    let behavior = match task.launch_type {
        LaunchType::Fargate => ImagePullBehavior::Always,
        LaunchType::Ec2 | LaunchType::External => host.config.image_pull_behavior,
    };
    let cached = images.cached(reference).await;
    let ask = match behavior {
        // A digest names one content for ever: there is nothing to ask.
        _ if reference.contains("@sha256:") => false,
        ImagePullBehavior::Default | ImagePullBehavior::Always => true,
        ImagePullBehavior::Once | ImagePullBehavior::PreferCached => false,
    };
    if let Some(image) = &cached
        && !ask
    {
        return Ok(image.clone());
    }
    let pulled = match task.containers[index].has_registry_credentials {
        true => {
            let values = host.values.of(task).await?;
            let login = values.containers.get(&task.containers[index].name).and_then(|own| own.registry.clone());
            pull_with_login(host, reference, cached.as_ref(), login).await
        }
        false => pull_from_registry(host, task, reference, cached.as_ref()).await,
    };
    match pulled {
        Ok(image) => Ok(image),
        Err(reason) => match cached {
            Some(image) if behavior == ImagePullBehavior::Default => {
                warn!(reference, reason = reason.text(), "registry not usable; going on with the image on the host");
                Ok(image)
            }
            _ => Err(reason),
        },
    }
}

async fn pull_from_registry(
    host: &Host,
    task: &TaskSpec,
    reference: &str,
    cached: Option<&Image>,
) -> Result<Image, ContainerReason> {
    let access = |error: AwsError| no_access(task, &error);
    let first = host.registries.access(reference, Some(task)).await.map_err(access)?;
    match attempt(host, reference, cached, &first).await {
        // The token may have been revoked, or be of an earlier control plane.
        Err(ImageError::Denied { .. }) if first.basic.is_some() => {
            host.registries.refused(reference, task).await;
            let second = host.registries.access(reference, Some(task)).await.map_err(access)?;
            attempt(host, reference, cached, &second).await
        }
        other => other,
    }
    .map_err(|error| ContainerReason::from_pull(&error))
}

/// The registry's token was refused.
fn no_access(task: &TaskSpec, error: &AwsError) -> ContainerReason {
    let error = chain(error);
    match task.launch_type {
        LaunchType::Fargate => ContainerReason::ResourceInitialization(format!(
            "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr \
             registry auth: service call has been retried 1 time(s): {error}"
        )),
        LaunchType::Ec2 | LaunchType::External => ContainerReason::CannotPullEcr(error),
    }
}

/// From somebody else's registry, with the credentials that the container's definition refers to.
async fn pull_with_login(
    host: &Host,
    reference: &str,
    cached: Option<&Image>,
    login: Option<RegistryLogin>,
) -> Result<Image, ContainerReason> {
    let basic = login.map(|login| (login.username, Password(login.password)));
    let access = RegistryAccess { basic, ..RegistryAccess::default() };
    attempt(host, reference, cached, &access).await.map_err(|error| ContainerReason::from_pull(&error))
}

async fn attempt(
    host: &Host,
    reference: &str,
    cached: Option<&Image>,
    access: &RegistryAccess,
) -> Result<Image, ImageError> {
    let images = &host.runtime.images;
    if let Some(image) = cached
        && images.resolve(reference, access).await? == image.digest
    {
        return Ok(image.clone());
    }
    // The permit is taken only here: a warm start does not queue behind downloads.
    let _turn = host.pulls.acquire().await;
    images.pull(reference, access, Arc::new(NoProgress)).await
}
