//! The typed client library, the embedded cluster and the lode command line.
