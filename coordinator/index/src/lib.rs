//! The sled-backed index of expertise: atomic by concept, keyed by model content.
