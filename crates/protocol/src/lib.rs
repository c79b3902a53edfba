//! HTTP in and out: signatures, codecs, request ids, faults.
