//! The order containers start in: `dependsOn`, `links` and `volumesFrom` make one graph, which must have no cycle.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::ecs::{ContainerCondition, NetworkMode};

use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::invalid::Invalid;

pub(super) fn check(document: Document<'_>) -> Result<(), Invalid> {
    for container in document.containers() {
        check_depends_on(container)?;
        check_links(container)?;
    }
    if has_cycle(document, link_names) {
        return Err(Invalid::LinkCycle);
    }
    if has_cycle(document, every_name) { Err(Invalid::DependencyCycle) } else { Ok(()) }
}

fn check_depends_on(container: Container<'_>) -> Result<(), Invalid> {
    for dependency in list(&container.definition.depends_on) {
        let name = text(&dependency.container_name);
        let Some(other) = container.document.container(name) else {
            return Err(Invalid::UnknownDependency { container: name.to_owned() });
        };
        match dependency.condition {
            Some(ContainerCondition::Success | ContainerCondition::Complete) if other.is_essential() => {
                return Err(Invalid::EssentialDependency);
            }
            Some(ContainerCondition::Healthy) if other.definition.health_check.is_none() => {
                return Err(Invalid::DependencyWithoutHealthCheck { container: name.to_owned() });
            }
            None | Some(ContainerCondition::Unknown(_)) => return container.ensure(false, "dependsOn"),
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_links(container: Container<'_>) -> Result<(), Invalid> {
    let links = list(&container.definition.links);
    let mode = container.document.network_mode();
    if !links.is_empty() && *mode != NetworkMode::Bridge {
        return Err(Invalid::LinkMode { mode: mode.to_string() });
    }
    for link in links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        if container.document.container(name).is_none() || alias.is_empty() || alias.contains(':') {
            return Err(Invalid::Link { link: link.clone(), container: container.name().to_owned() });
        }
    }
    Ok(())
}

fn link_names(container: Container<'_>) -> Vec<&str> {
    list(&container.definition.links).iter().map(|link| link.split(':').next().unwrap_or_default()).collect()
}

fn every_name(container: Container<'_>) -> Vec<&str> {
    let mut names = link_names(container);
    names.extend(list(&container.definition.depends_on).iter().map(|dependency| text(&dependency.container_name)));
    names.extend(list(&container.definition.volumes_from).iter().map(|from| text(&from.source_container)));
    names
}

/// Takes containers away that wait for nobody until none is left, or a cycle is.
fn has_cycle<'a>(document: Document<'a>, waits_for: fn(Container<'a>) -> Vec<&'a str>) -> bool {
    let mut left: BTreeMap<&str, Vec<&str>> =
        document.containers().map(|container| (container.name(), waits_for(container))).collect();
    loop {
        let names: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, waits_for| waits_for.iter().any(|name| names.contains(name)));
        if left.is_empty() || left.len() == before {
            return !left.is_empty();
        }
    }
}
