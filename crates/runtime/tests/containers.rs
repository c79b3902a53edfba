//! Real containers, looked at from inside and from outside. Needs root, control groups and a static busybox.
//!
//! Self-contained on purpose: `GANTRY_SHIM` (default: the example program `shim` beside this test) and `BUSYBOX`
//! (default: /bin/busybox) are all it needs, so it also runs in a bare virtual machine.
#![allow(clippy::unwrap_used, missing_docs)]

mod containers {
    pub(crate) mod errors;
    pub(crate) mod exec;
    pub(crate) mod fixture;
    pub(crate) mod gpus;
    pub(crate) mod inside;
    pub(crate) mod life;
    pub(crate) mod limits;
    pub(crate) mod oci_binary;
    pub(crate) mod output;
    pub(crate) mod sessions;
}
