//! Secrets: which version a stage means, how a value is referred to, and passwords nobody thought up.

pub mod password;
pub mod reference;
pub mod value_from;
pub mod versions;
