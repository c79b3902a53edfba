//! The seam between bytes and operations: one implementation per wire protocol, in `gantry-protocol`.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Fault, OperationInfo, ServiceInfo,
    validate::{Path, Problems, Validate},
};

/// Reads one request's input and writes its answer.
pub trait Codec: Sync {
    /// The input, or the protocol's error for bytes that are not one.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault>;
    /// Whether input is held against the model's constraints. Off only where a test wants to reach every operation.
    fn checks(&self) -> bool {
        true
    }
    /// The answer's body.
    fn encode<T: Serialize>(
        &self,
        service: &ServiceInfo,
        operation: &OperationInfo,
        output: &T,
    ) -> Result<Vec<u8>, Fault>;
}

/// Decodes and checks against the model.
pub fn decode<T: DeserializeOwned + Validate, C: Codec>(codec: &C, service: &ServiceInfo) -> Result<T, Fault> {
    let input: T = codec.decode()?;
    if !codec.checks() {
        return Ok(input);
    }
    let mut problems = Problems::default();
    input.validate(&Path::Root, &mut problems);
    match problems.into_fault(service) {
        None => Ok(input),
        Some(fault) => Err(fault),
    }
}

/// Decodes an input that the model says nothing about.
pub fn decode_unchecked<T: DeserializeOwned, C: Codec>(codec: &C, _service: &ServiceInfo) -> Result<T, Fault> {
    codec.decode()
}

/// Waits for the operation and encodes what it says.
pub async fn answer<T: Serialize, C: Codec>(
    codec: &C,
    service: &ServiceInfo,
    operation: &OperationInfo,
    running: impl Future<Output = Result<T, Fault>>,
) -> Result<Vec<u8>, Fault> {
    codec.encode(service, operation, &running.await?)
}
