//! The worker: gRPC server, registration, the device thread, mining and generation.
