//! The coordinator: registry, planner, job loop, merge, dispatch and the gRPC front.
