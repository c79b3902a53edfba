//! What a client may write where a resource is meant: a short name, an id or a full ARN.

use super::{Arn, ContainerInstanceId, Family, Name, Resource, Revision, Scope, TaskDefinitionKey, TaskId};

/// Why a reference names nothing that could exist here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Neither a name, an id nor an ARN of the kind that is asked for.
    #[error("malformed identifier")]
    Malformed,
    /// An ARN of another account.
    #[error("identifier is for account {found}, not {expected}")]
    Account {
        /// The account in the ARN.
        found: String,
        /// The caller's account.
        expected: String,
    },
    /// An ARN of another region.
    #[error("identifier is for {found}, not {expected}")]
    Region {
        /// The region in the ARN.
        found: String,
        /// The region that was called.
        expected: String,
    },
    /// An ARN with another cluster in it than the request's.
    #[error("identifier is for cluster {found}, not {expected}")]
    Cluster {
        /// The cluster in the ARN.
        found: String,
        /// The request's cluster.
        expected: String,
    },
    /// The revision of a task definition is not a positive number.
    #[error("invalid revision {0:?}")]
    Revision(String),
}

/// `family` or `family:revision`, short or as an ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDefinitionReference {
    /// The family.
    pub family: Family,
    /// None means the latest ACTIVE revision.
    pub revision: Option<Revision>,
}

impl TaskDefinitionReference {
    /// The key, when the reference names one revision.
    pub fn key(&self) -> Option<TaskDefinitionKey> {
        self.revision.map(|revision| TaskDefinitionKey { family: self.family.clone(), revision })
    }
}

/// What of an ARN is of the kind asked for; none means another kind.
type Pick<T> = fn(Resource) -> Option<T>;

impl Scope {
    /// Reads a cluster's name or ARN.
    ///
    /// # Errors
    /// [`ReferenceError`] says what is wrong with the text; whether the cluster exists is not looked at.
    pub fn cluster(&self, reference: &str) -> Result<Name, ReferenceError> {
        if !reference.starts_with("arn:") {
            return reference.parse().map_err(|_| ReferenceError::Malformed);
        }
        self.read_arn(reference, |resource| match resource {
            Resource::Cluster(name) => Some(name),
            _ => None,
        })
    }

    /// Reads a service's name or ARN within `cluster`.
    ///
    /// # Errors
    /// As for [`Scope::cluster`], and when the ARN names another cluster.
    pub fn service(&self, cluster: &str, reference: &str) -> Result<Name, ReferenceError> {
        self.in_cluster(cluster, reference, |resource| match resource {
            Resource::Service { cluster, service } => Some((cluster, service)),
            _ => None,
        })
    }

    /// Reads a task's id or ARN within `cluster`.
    ///
    /// # Errors
    /// As for [`Scope::service`].
    pub fn task(&self, cluster: &str, reference: &str) -> Result<TaskId, ReferenceError> {
        self.in_cluster(cluster, reference, |resource| match resource {
            Resource::Task { cluster, task } => Some((cluster, task)),
            _ => None,
        })
    }

    /// Reads a container instance's id or ARN within `cluster`.
    ///
    /// # Errors
    /// As for [`Scope::service`].
    pub fn container_instance(&self, cluster: &str, reference: &str) -> Result<ContainerInstanceId, ReferenceError> {
        self.in_cluster(cluster, reference, |resource| match resource {
            Resource::ContainerInstance { cluster, instance } => Some((cluster, instance)),
            _ => None,
        })
    }

    /// Reads a capacity provider's name or ARN.
    ///
    /// # Errors
    /// As for [`Scope::cluster`].
    pub fn capacity_provider(&self, reference: &str) -> Result<Name, ReferenceError> {
        if !reference.starts_with("arn:") {
            return reference.parse().map_err(|_| ReferenceError::Malformed);
        }
        self.read_arn(reference, |resource| match resource {
            Resource::CapacityProvider(name) => Some(name),
            _ => None,
        })
    }

    /// Reads `family`, `family:revision` or a task definition's ARN (which may also lack the revision).
    ///
    /// # Errors
    /// As for [`Scope::cluster`], and for a revision that is not a positive number.
    pub fn task_definition(&self, reference: &str) -> Result<TaskDefinitionReference, ReferenceError> {
        self.definition("task-definition/", reference)
    }

    /// The same of a daemon task definition.
    ///
    /// # Errors
    /// As for [`Scope::task_definition`].
    pub fn daemon_task_definition(&self, reference: &str) -> Result<TaskDefinitionReference, ReferenceError> {
        self.definition("daemon-task-definition/", reference)
    }

    fn definition(&self, kind: &str, reference: &str) -> Result<TaskDefinitionReference, ReferenceError> {
        if !reference.starts_with("arn:") {
            return short_task_definition(reference);
        }
        // Not through `Arn`: a reference may leave the revision out, the ARN of a resource may not.
        let mut parts = reference.splitn(6, ':');
        let head: Vec<&str> = parts.by_ref().take(5).collect();
        let ["arn", _, "ecs", region, account] = head[..] else { return Err(ReferenceError::Malformed) };
        self.same_place(&Scope::new(account, region))?;
        let short = parts.next().and_then(|resource| resource.strip_prefix(kind));
        short_task_definition(short.ok_or(ReferenceError::Malformed)?)
    }

    fn in_cluster<T: std::str::FromStr>(
        &self,
        cluster: &str,
        reference: &str,
        pick: Pick<(Option<Name>, T)>,
    ) -> Result<T, ReferenceError> {
        if !reference.starts_with("arn:") {
            return reference.parse().map_err(|_| ReferenceError::Malformed);
        }
        match self.read_arn(reference, pick)? {
            (Some(found), _) if found.as_str() != cluster => {
                Err(ReferenceError::Cluster { found: found.into(), expected: cluster.to_owned() })
            }
            (_, value) => Ok(value),
        }
    }

    fn read_arn<T>(&self, text: &str, pick: Pick<T>) -> Result<T, ReferenceError> {
        let arn: Arn = text.parse().map_err(|_| ReferenceError::Malformed)?;
        self.same_place(&arn.scope)?;
        pick(arn.resource).ok_or(ReferenceError::Malformed)
    }

    /// Refuses an ARN of another account or region.
    ///
    /// # Errors
    /// [`ReferenceError::Region`] or [`ReferenceError::Account`].
    pub fn same_place(&self, found: &Scope) -> Result<(), ReferenceError> {
        if found.region != self.region {
            return Err(ReferenceError::Region { found: found.region.clone(), expected: self.region.clone() });
        }
        if found.account != self.account {
            return Err(ReferenceError::Account { found: found.account.clone(), expected: self.account.clone() });
        }
        Ok(())
    }
}

fn short_task_definition(text: &str) -> Result<TaskDefinitionReference, ReferenceError> {
    let (family, revision) = match text.split_once(':') {
        Some((family, revision)) => (family, Some(revision)),
        None => (text, None),
    };
    let family = family.parse().map_err(|_| ReferenceError::Malformed)?;
    let number = |text: &str| text.parse().map_err(|_| ReferenceError::Revision(text.to_owned()));
    Ok(TaskDefinitionReference { family, revision: revision.map(number).transpose()? })
}
