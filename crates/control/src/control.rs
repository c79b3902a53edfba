//! The one handle every operation and reconciler works with.

use std::sync::Arc;

use gantry_api::{Caller, Fault};
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope},
};
use gantry_store::{Revision, Store, StoreError, Txn, TxnError, View, ViewGuard};

use crate::{
    clock::SharedClock,
    exec::{Hub, NoTranscripts, Transcripts},
    fault,
    hook_caller::{HookCaller, NoCaller},
    image_digests::{ImageDigests, NoDigests},
    keys,
    launch::{self, Launch, LaunchError, Launched, Launcher},
    metrics::Metrics,
    random::Random,
    records::{ClusterRecord, SharedRow},
    revisions::RevisionNumbers,
    settings::Settings,
    task_roles::{NoRoles, TaskRoles},
    view::EcsView,
};

/// How often a plan may lose its race before the request is refused. Each lost round means that somebody else's
/// transaction was done, so the system moves on; a request that loses this often had better be retried later.
const ATTEMPTS_MAX: usize = 32;

/// The control plane: store, picture, clock and settings. Clones share everything.
#[derive(Clone)]
pub struct Control {
    /// Where everything is kept.
    pub store: Store,
    /// The picture requests are answered from.
    pub view: View<EcsView>,
    /// What time it is.
    pub clock: SharedClock,
    /// Where ids and seeds come from.
    pub random: Random,
    /// What the operator chose.
    pub settings: Arc<Settings>,
    /// What tasks were measured to use.
    pub metrics: Arc<Metrics>,
    /// Who calls the HTTP hooks of deployments.
    pub hooks: Arc<dyn HookCaller>,
    /// Who takes roles on for tasks.
    pub roles: Arc<dyn TaskRoles>,
    /// Who knows what a tag of an image stands for.
    pub images: Arc<dyn ImageDigests>,
    /// Where the transcripts of ECS Exec go.
    pub transcripts: Arc<dyn Transcripts>,
    /// Who is connected to which session of ECS Exec.
    pub(crate) exec_hub: Arc<Hub>,
    /// Revision numbers on their way into the store.
    pub(crate) revisions: Arc<RevisionNumbers>,
    launcher: Launcher,
}

/// What a planning closure decided.
#[derive(Debug)]
pub enum Plan<T> {
    /// Nothing is to be written; this is the answer.
    Done(T),
    /// This is the answer once the transaction is done.
    Commit(Txn, T),
}

impl Control {
    /// Loads the picture of `store` and follows it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Store, clock: SharedClock, settings: Settings) -> Result<Self, StoreError> {
        let view = View::start(&store, keys::PREFIX).await?;
        let launcher = launch::start(store.clone(), view.clone(), clock.clone(), settings.subnet_seed.clone());
        Ok(Self {
            store,
            view,
            clock,
            random: Random::system(),
            settings: Arc::new(settings),
            metrics: Arc::default(),
            hooks: Arc::new(NoCaller),
            roles: Arc::new(NoRoles),
            images: Arc::new(NoDigests),
            transcripts: Arc::new(NoTranscripts),
            exec_hub: Arc::default(),
            revisions: Arc::default(),
            launcher,
        })
    }

    /// The same with another source of random numbers, so that a simulated run can be repeated.
    #[must_use]
    pub fn with_random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// The same with somebody who calls the HTTP hooks of deployments.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn HookCaller>) -> Self {
        self.hooks = hooks;
        self
    }

    /// The same with somebody who takes roles on for tasks.
    #[must_use]
    pub fn with_roles(mut self, roles: Arc<dyn TaskRoles>) -> Self {
        self.roles = roles;
        self
    }

    /// The same with somebody who knows what a tag of an image stands for.
    #[must_use]
    pub fn with_images(mut self, images: Arc<dyn ImageDigests>) -> Self {
        self.images = images;
        self
    }

    /// The same with a place for the transcripts of ECS Exec.
    #[must_use]
    pub fn with_transcripts(mut self, transcripts: Arc<dyn Transcripts>) -> Self {
        self.transcripts = transcripts;
        self
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A look at the picture. Do not keep it over an `await`.
    pub fn read(&self) -> ViewGuard<'_, EcsView> {
        self.view.read()
    }

    /// Does a transaction and waits until the picture shows it.
    ///
    /// # Errors
    /// [`TxnError::Conflict`] when a compare did not hold; the picture then already shows what was in the way.
    pub async fn commit(&self, txn: Txn) -> Result<Revision, TxnError> {
        commit(&self.store, &self.view, txn).await
    }

    /// Starts tasks: places and creates them, all or as many as find a place.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing was created then.
    pub async fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        self.check_roles(&launch)?;
        self.launcher.launch(launch, self.random.clone()).await
    }

    /// Plans on the picture and commits; plans again when somebody else was faster. The closure runs under the
    /// picture's lock, so it decides and does nothing else.
    ///
    /// # Errors
    /// The closure's fault, a fault of the store, or the refusal after too many lost races.
    pub async fn transact<T>(&self, mut plan: impl FnMut(&EcsView) -> Result<Plan<T>, Fault>) -> Result<T, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            let planned = plan(&self.read())?;
            let (txn, answer) = match planned {
                Plan::Done(answer) => return Ok(answer),
                Plan::Commit(txn, answer) => (txn, answer),
            };
            match self.commit(txn).await {
                Ok(_) => return Ok(answer),
                Err(TxnError::Conflict { key }) => tracing::debug!(key, "plan was overtaken, planning again"),
                Err(TxnError::Store(error)) => return Err(fault::store(error)),
            }
        }
        Err(fault::overtaken())
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("store", &self.store).finish_non_exhaustive()
    }
}

/// See [`Control::commit`].
pub(crate) async fn commit(store: &Store, view: &View<EcsView>, txn: Txn) -> Result<Revision, TxnError> {
    match store.txn(txn).await {
        Ok(revision) => {
            view.wait_for(revision).await?;
            Ok(revision)
        }
        Err(error @ TxnError::Conflict { .. }) => {
            view.wait_for(store.revision()).await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Account and region of a caller.
pub(crate) fn scope(caller: &Caller) -> Scope {
    Scope::new(&caller.account, &caller.region)
}

/// The name in a request's `cluster` member: a name, an ARN, or nothing for `default`.
pub(crate) fn cluster_name(scope: &Scope, cluster: Option<&str>) -> Result<Name, Fault> {
    let reference = cluster.filter(|text| !text.is_empty()).unwrap_or("default");
    scope.cluster(reference).map_err(|error| fault::cluster_reference(&error))
}

/// The ACTIVE cluster of that name.
pub(crate) fn active_cluster<'a>(
    view: &'a EcsView,
    scope: &Scope,
    name: &Name,
) -> Result<(&'a crate::view::ClusterView, &'a SharedRow<ClusterRecord>), Fault> {
    let cluster = view.cluster(scope, name).ok_or_else(fault::cluster_not_found)?;
    match cluster.row() {
        Some(row) if row.is_active() => Ok((cluster, row)),
        Some(_) => Err(fault::cluster_inactive()),
        None => Err(fault::cluster_not_found()),
    }
}
