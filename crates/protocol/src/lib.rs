//! How bytes become typed operations: routing, signatures, codecs, request ids and faults.
//!
//! The path of a request: [`route`] names service and operation from the head, [`sigv4`] proves who sent it,
//! [`access`] decides whether that principal may, a codec ([`json`], [`query`]) decodes, the service answers, the
//! codec encodes. [`endpoint`] is the only file that does I/O.
//!
//! JSON and XML are known only here and in the registry. No service knows which protocol a request came in.

pub mod access;
pub mod endpoint;
pub mod fixed;
pub mod identity;
pub mod inside;
pub mod json;
pub mod principals;
pub mod query;
pub mod route;
pub mod services;
pub mod signer;
pub mod sigv4;
