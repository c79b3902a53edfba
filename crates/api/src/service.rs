//! What the protocol layer must know about a service to route to it.

use serde::{Deserialize, Serialize};

/// How a service is addressed.
#[derive(Debug)]
pub struct ServiceInfo {
    /// Our name of it, for example `ecs`.
    pub name: &'static str,
    /// The service part of the signature's scope.
    pub signing_name: &'static str,
    /// Left of the dot in `X-Amz-Target`; empty for Query services.
    pub target_prefix: &'static str,
    /// `Version` of Query requests.
    pub api_version: &'static str,
    /// Speaks the Query protocol (forms in, XML out) instead of JSON.
    pub query: bool,
    /// Path and operation, of services that are addressed by paths.
    pub rest: &'static [(&'static str, &'static str)],
    /// Of Query answers.
    pub xml_namespace: &'static str,
    /// The error code that refuses input against the model.
    pub validation_code: &'static str,
    /// Every operation.
    pub operations: &'static [OperationInfo],
}

/// One operation of the model.
#[derive(Debug)]
pub struct OperationInfo {
    /// For example `CreateCluster`.
    pub name: &'static str,
    /// The members of its input.
    pub members: &'static [&'static str],
    /// Element around the result in Query answers.
    pub result_wrapper: &'static str,
    /// Modelled errors.
    pub errors: &'static [&'static str],
}

/// Input or output of an operation that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}
