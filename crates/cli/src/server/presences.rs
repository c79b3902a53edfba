//! Which machines are there, for Systems Manager: the control plane knows whose agents are connected.

use std::collections::BTreeMap;

use gantry_companions::ssm::{Presence, Presences};
use gantry_control::Control;

/// What the control plane knows.
pub(crate) struct MachinesOfInstances(pub(crate) Control);

impl Presences for MachinesOfInstances {
    fn presences(&self, account: &str, region: &str) -> BTreeMap<String, Presence> {
        let view = self.0.read();
        let own = view.hosts().filter(|(key, _)| key.scope.account == account && key.scope.region == region);
        let rows = own.filter_map(|(_, host)| host.row.as_ref()).filter(|row| row.is_registered());
        let presence = |row: &gantry_control::records::InstanceRecord| Presence {
            connected: row.agent_connected,
            since_ms: u64::try_from(row.connectivity_at.as_millis()).unwrap_or(0),
        };
        rows.filter_map(|row| Some((row.machine.clone()?, presence(row)))).collect()
    }
}
