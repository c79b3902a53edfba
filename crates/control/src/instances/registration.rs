//! Reads what an agent registers.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::{
    Fault,
    ecs::{Attribute, PlatformDevice, PlatformDeviceType, Resource},
};
use gantry_domain::limits::{
    REGISTERED_ATTRIBUTES_MAX, REGISTERED_GPUS_MAX, REPORTED_ID_CHARS_MAX, RESERVED_HOST_PORTS_MAX,
};

use crate::{fault, records::RegisteredResources};

/// The attribute with which a host offers itself to the Fargate fleet.
pub(crate) const FARGATE_ATTRIBUTE: &str = "gantry.fargate";
/// The attribute with which an agent says whose instance it is: the registration has no member for it.
pub(crate) const CAPACITY_PROVIDER_ATTRIBUTE: &str = "gantry.capacity-provider";
/// The attribute of instances from outside.
pub(crate) const EXTERNAL_ATTRIBUTE: &str = "ecs.capability.external";

/// The resources of a registration.
pub(crate) fn resources(given: &[Resource], devices: &[PlatformDevice]) -> Result<RegisteredResources, Fault> {
    let mut resources = RegisteredResources::default();
    let mut gpus: Vec<&str> = Vec::new();
    for resource in given {
        match resource.name.as_deref().unwrap_or_default() {
            "CPU" => resources.cpu = integer(resource)?,
            "MEMORY" => resources.memory = integer(resource)?,
            "PORTS" => resources.tcp = ports(resource)?,
            "PORTS_UDP" => resources.udp = ports(resource)?,
            "GPU" => gpus.extend(resource.string_set_value.iter().flatten().map(String::as_str)),
            // Agents may say more than we use.
            _ => {}
        }
    }
    gpus.extend(
        devices
            .iter()
            .filter(|device| device.r#type == Some(PlatformDeviceType::Gpu))
            .filter_map(|gpu| gpu.id.as_deref()),
    );
    resources.gpus = self::gpus(&gpus)?;
    Ok(resources)
}

/// Agents name their GPUs as a resource, as platform devices, or both: each once, in the order given.
fn gpus(given: &[&str]) -> Result<Vec<String>, Fault> {
    let mut gpus: Vec<String> = Vec::new();
    for id in given {
        if id.is_empty() || id.len() > REPORTED_ID_CHARS_MAX {
            return Err(fault::invalid("Invalid value for resource GPU."));
        }
        if !gpus.iter().any(|known| known == id) {
            if gpus.len() == REGISTERED_GPUS_MAX {
                return Err(fault::invalid(format!("At most {REGISTERED_GPUS_MAX} GPUs can be registered.")));
            }
            gpus.push((*id).to_owned());
        }
    }
    Ok(gpus)
}

fn integer(resource: &Resource) -> Result<u32, Fault> {
    let value = resource.integer_value.unwrap_or(0);
    u32::try_from(value).map_err(|_| invalid(resource))
}

fn ports(resource: &Resource) -> Result<BTreeSet<u16>, Fault> {
    let ports = resource.string_set_value.iter().flatten().map(|text| text.parse().map_err(|_| invalid(resource)));
    let ports: BTreeSet<u16> = ports.collect::<Result<_, _>>()?;
    if ports.len() > RESERVED_HOST_PORTS_MAX {
        return Err(invalid(resource));
    }
    Ok(ports)
}

fn invalid(resource: &Resource) -> Fault {
    fault::invalid(format!("Invalid value for resource {}.", resource.name.as_deref().unwrap_or_default()))
}

/// The attributes of a registration; the last of equal names counts.
pub(crate) fn attributes(given: &[Attribute]) -> Result<BTreeMap<String, Option<String>>, Fault> {
    if given.len() > REGISTERED_ATTRIBUTES_MAX {
        return Err(fault::invalid(format!("At most {REGISTERED_ATTRIBUTES_MAX} attributes can be registered.")));
    }
    let one = |attribute: &Attribute| {
        let name = attribute.name.clone().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| fault::invalid("Attribute name can not be blank."))?;
        if name.len().max(attribute.value.as_ref().map_or(0, String::len)) > REPORTED_ID_CHARS_MAX {
            return Err(fault::invalid(format!("Attributes have at most {REPORTED_ID_CHARS_MAX} characters.")));
        }
        Ok((name, attribute.value.clone().filter(|value| !value.is_empty())))
    };
    given.iter().map(one).collect()
}

/// What a machine says about itself; unsigned for machines that are not EC2's, so only what harms nobody is read.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    pub(crate) instance_id: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) instance_type: Option<String>,
    pub(crate) ami_id: Option<String>,
}

impl Identity {
    /// Reads an instance identity document; rubbish is no document.
    pub(crate) fn parse(document: Option<&str>) -> Self {
        let document: serde_json::Value = document.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let text = |name: &str| document.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self {
            instance_id: text("instanceId"),
            availability_zone: text("availabilityZone"),
            instance_type: text("instanceType"),
            ami_id: text("imageId"),
        }
    }

    /// The attributes that the service adds to those of the agent.
    pub(crate) fn attributes(&self, region: &str) -> impl Iterator<Item = (String, Option<String>)> {
        let zone = self.availability_zone.clone().unwrap_or_else(|| format!("{region}a"));
        let given = [
            ("ecs.availability-zone", Some(zone)),
            ("ecs.instance-type", self.instance_type.clone()),
            ("ecs.ami-id", self.ami_id.clone()),
        ];
        given.into_iter().filter(|(_, value)| value.is_some()).map(|(name, value)| (name.to_owned(), value))
    }
}
