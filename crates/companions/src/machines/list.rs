//! The machines that joined, for whoever has to know them or to put one out.

use gantry_api::{Caller, Fault};
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use super::picture::Kept;
use super::rows::{IdentityRow, Origin, identity_key};
use super::{Machines, fault};

/// What can be seen of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineView {
    /// Its id.
    pub id: String,
    /// The name that it gives itself.
    pub name: String,
    /// Where it joined from.
    pub address: String,
    /// Its operating system.
    pub platform: String,
    /// What it joined with: `own`, `token ID` or `activation ID`.
    pub joined_with: String,
    /// The only cluster that it may register in.
    pub cluster: Option<String>,
    /// For the Fargate fleet too.
    pub fargate: bool,
    /// Milliseconds since the epoch.
    pub joined_at: u64,
}

impl Machines {
    /// Machines of the caller's account and region after the id `after`, at most `limit`, in the order of their ids.
    pub fn list(&self, caller: &Caller, after: Option<&str>, limit: usize) -> Vec<MachineView> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.look(|picture| {
            let rest = picture.identities.range::<str, _>((from, std::ops::Bound::Unbounded));
            rest.filter(|(_, kept)| is_of(kept, caller)).take(limit).map(|(id, kept)| view(id, &kept.row)).collect()
        })
    }

    /// Puts a machine out: its sessions end and it cannot begin others. What runs on it goes on; its container instance
    /// is away from then on.
    ///
    /// # Errors
    /// When there is none, it is the server's own, or the store fails.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Fault> {
        self.change(|picture| {
            let kept = picture.identity(id).filter(|kept| is_of(kept, caller)).ok_or_else(|| fault::no_machine(id))?;
            if kept.row.origin == Origin::Own {
                return Err(fault::invalid("The server's own machine joins again at every start."));
            }
            let key = identity_key(&kept.scope.0, &kept.scope.1, id);
            Ok((Txn::new().require(&key, kept.revision).delete(key), ()))
        })
        .await
    }
}

fn is_of(kept: &Kept<IdentityRow>, caller: &Caller) -> bool {
    kept.scope.0 == caller.account && kept.scope.1 == caller.region
}

fn view(id: &str, row: &IdentityRow) -> MachineView {
    MachineView {
        id: id.to_owned(),
        name: row.about.computer_name.clone(),
        address: row.address.clone(),
        platform: [row.about.platform_name.as_str(), &row.about.platform_version].join(" ").trim().to_owned(),
        joined_with: match &row.origin {
            Origin::Own => "own".to_owned(),
            Origin::Token(id) => format!("token {id}"),
            Origin::Activation(id) => format!("activation {id}"),
        },
        cluster: row.cluster.clone(),
        fargate: row.fargate,
        joined_at: row.joined_at,
    }
}
