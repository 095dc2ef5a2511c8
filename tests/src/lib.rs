//! One harness that starts real clusters, and the tests that use it.
