//! Revisioned keys, transactions, watches: the state that survives.
