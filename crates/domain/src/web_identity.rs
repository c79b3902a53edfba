//! Identities that an OpenID Connect issuer vouches for: what an issuer is called here ([`issuer`]), and what the
//! claims of its tokens say ([`claims`]).
//!
//! Whether a token is of its issuer, its signature tells; that is looked at before anything here is believed.

pub mod claims;
pub mod issuer;
