//! Wire types generated from the service models, and the agent protocol.
