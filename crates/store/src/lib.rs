//! The state that survives: revisioned keys, transactions, watches and leases, in the shape of etcd.
//!
//! What must hold, for every engine (one conformance suite checks it, `tests/conformance.rs`):
//!
//! - Every transaction that changes something gets the next [`Revision`]; it happens entirely or not at all, and is
//!   on disk when [`Store::txn`] returns.
//! - A read sees every transaction that was answered before it began.
//! - A [`Watch`] delivers every transaction after its start, in order, each as one [`Batch`] without the rows that were
//!   [put untold](Txn::put_untold); a watcher that fell too
//!   far behind is told [`WatchError::Compacted`] and loads again. No watcher makes the store buffer without bound.
//! - Everything has a bound ([`limits`]) and reaching it is a named error.
//!
//! Engines: [`Memory`] for tests and simulation, [`Embedded`] (redb, one file, group commit) for one machine.
//! The store does not know what values mean; rows and their formats belong to the crates that write them.

mod apply;
mod embedded;
mod engine;
mod error;
mod event;
mod feed;
mod key;
mod lease;
pub mod limits;
mod memory;
mod store;
mod txn;
mod view;
mod watch;

pub use embedded::{Embedded, EmbeddedOptions};
pub use engine::Engine;
pub use error::{OpenError, StoreError, TxnError, WatchError};
pub use event::{Batch, Event, KeyValue, Range, Revision};
pub use key::{KeyRange, prefix_end};
pub use lease::LeaseId;
pub use memory::{Memory, MemoryOptions};
pub use store::Store;
pub use txn::{Compare, Op, Txn};
pub use view::{Model, View, ViewGuard};
pub use watch::{Watch, WatchSource};
