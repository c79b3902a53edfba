//! The machines that joined: join tokens and activations, the identities that they were traded for, and sessions of the
//! roles behind those.
//!
//! A machine proves itself by signatures of a key that never leaves it; the server knows the public half only. Of
//! tokens and activation codes it keeps a hash. An identity stands for one machine until it is deleted; its sessions
//! end with it, because [`Machines::has`] is asked at every request.

mod fault;
mod join;
mod list;
mod picture;
mod rows;
mod secret;
mod sessions;
mod tokens;

use std::sync::Arc;

use gantry_api::Fault;
use gantry_store::{Store, StoreError, Txn, TxnError, View};
use tokio::sync::Mutex;

use crate::iam::{Clock, Iam};
use picture::Picture;

pub use list::MachineView;
pub use rows::identity_key;
pub use tokens::{NewToken, TokenOrder, TokenView};

pub(crate) use picture::Kept;
pub(crate) use rows::{ActivationRow, IdentityRow, Origin, activation_key};
pub(crate) use secret::{hash, random_text};

/// How often a change is planned again when another server was faster.
const ATTEMPTS: usize = 16;

/// The service. Clones share it.
#[derive(Clone)]
pub struct Machines {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    view: View<Picture>,
    iam: Iam,
    clock: Clock,
    /// Changes of this server go one after the other, so that they do not plan in vain.
    turn: Mutex<()>,
    own: OwnToken,
}

/// The token of the server's own machine: known to nobody after the process, and never used up.
struct OwnToken {
    hash: String,
    account: String,
    region: String,
}

impl Machines {
    /// Loads everything below `/machines/` of `store`. `own` is an account and region whose machines may join with the
    /// second thing that is returned: a token for agents on this very machine.
    ///
    /// # Errors
    /// When the store cannot be read, or there are no random numbers.
    pub async fn open(store: Store, iam: Iam, clock: Clock, own: (&str, &str)) -> Result<(Self, String), Fault> {
        let view = View::start(&store, rows::PREFIX).await.map_err(fault::store)?;
        let token = secret::token(tokens::PREFIX, "own")?;
        let own = OwnToken { hash: hash(&token), account: own.0.to_owned(), region: own.1.to_owned() };
        let inner = Inner { store, view, iam, clock, turn: Mutex::new(()), own };
        Ok((Self { inner: Arc::new(inner) }, token))
    }

    /// Whether this machine's identity is still there.
    pub fn has(&self, account: &str, id: &str) -> bool {
        self.inner.view.read().identity(id).is_some_and(|kept| kept.scope.0 == account)
    }

    /// Milliseconds since the epoch.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from((self.inner.clock)().as_millis()).unwrap_or(0)
    }

    pub(crate) fn iam(&self) -> &Iam {
        &self.inner.iam
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Picture) -> T) -> T {
        look(&self.inner.view.read())
    }

    /// Plans on the picture and commits, durable and in the picture when this returns. A plan without operations is an
    /// answer that needs no change.
    pub(crate) async fn change<T>(&self, plan: impl Fn(&Picture) -> Result<(Txn, T), Fault>) -> Result<T, Fault> {
        let _turn = self.inner.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (txn, answer) = self.look(&plan)?;
            if txn.then.is_empty() {
                return Ok(answer);
            }
            let (revision, done) = match self.inner.store.txn(txn).await {
                Ok(revision) => (revision, true),
                Err(TxnError::Conflict { .. }) => (self.inner.store.revision(), false),
                Err(TxnError::Store(error)) => return Err(fault::store(error)),
            };
            self.seen(revision).await.map_err(fault::store)?;
            if done {
                return Ok(answer);
            }
        }
        Err(fault::busy())
    }

    async fn seen(&self, revision: u64) -> Result<(), StoreError> {
        self.inner.view.wait_for(revision).await
    }
}
