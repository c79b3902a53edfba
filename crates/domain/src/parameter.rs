//! Parameters of Parameter Store: what they may be called, how they are referred to, which versions they have, and when
//! they go.

pub mod filter;
pub mod name;
pub mod policies;
pub mod reference;
pub mod versions;
