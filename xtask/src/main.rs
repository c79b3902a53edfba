//! Generation and checks.
fn main() {}
