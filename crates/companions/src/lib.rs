//! The AWS services that tasks lean on.
