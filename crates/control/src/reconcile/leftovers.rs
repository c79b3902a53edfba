//! Forgets what requests left behind and nobody asks for any more: expired client tokens, and subnets without tasks when
//! blocks of addresses become scarce.

use gantry_domain::{Timestamp, arn::Scope};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{Control, EcsView, keys, view::Change};

/// Records forgotten in one transaction.
const PER_TXN: usize = 200;
/// Blocks in use from which unused subnets give theirs back: half of all. A subnet that is named again later gets a
/// block as if for the first time, so nothing is lost but, perhaps, its old addresses.
const BLOCKS_BEFORE_RECLAIM: usize = 256;

/// Forgets leftovers.
#[derive(Debug)]
pub struct Leftovers {
    control: Control,
}

impl Leftovers {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Leftovers {
    type Key = Scope;
    type Error = TxnError;

    const NAME: &'static str = "leftovers";

    fn keys(&self) -> Vec<Scope> {
        self.control.read().namespaces().map(|(scope, _)| scope.clone()).collect()
    }

    fn keys_of(&self, _: &Change) -> Vec<Scope> {
        Vec::new()
    }

    async fn reconcile(&self, scope: &Scope) -> Result<Wake, TxnError> {
        let txn = plan(&self.control.read(), scope, self.control.now());
        let count = txn.compares.len();
        if count == 0 {
            return Ok(Wake::OnChange);
        }
        self.control.commit(txn).await?;
        Ok(if count >= PER_TXN { Wake::Again } else { Wake::OnChange })
    }
}

fn plan(view: &EcsView, scope: &Scope, now: Timestamp) -> Txn {
    let Some(space) = view.namespace(scope) else { return Txn::new() };
    let expired = space.client_tokens().iter().filter(|(_, row)| row.expires_at <= now).take(PER_TXN);
    let txn = expired.fold(Txn::new(), |txn, ((operation, cluster, token), row)| {
        let path = keys::client_token(scope, operation, cluster.as_str(), token);
        txn.require(&path, row.revision).delete(path)
    });
    if view.subnet_blocks() <= BLOCKS_BEFORE_RECLAIM {
        return txn;
    }
    let unused = space.subnets().filter(|(_, subnet)| subnet.taken.is_empty());
    let rows = unused.filter_map(|(name, subnet)| Some((name, subnet.row.as_ref()?)));
    rows.take(PER_TXN - txn.compares.len()).fold(txn, |txn, (name, row)| {
        let path = keys::subnet(scope, name);
        txn.require(&path, row.revision).delete(path).delete(keys::subnet_block(row.block))
    })
}
