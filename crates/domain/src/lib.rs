//! Every decision of Gantry, pure.
