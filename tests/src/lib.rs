//! One door for all end-to-end tests: a cluster of real processes, and the data that the tests run on.

mod cluster;
mod data;
mod http;
mod hub;
mod process;
mod raw;

pub use self::{
    cluster::{Cluster, Flags, lode},
    data::{Case, demo_concepts, demo_model, golden_cases, repository, shared},
    http::{Answer, Front},
    hub::Hub,
    process::{Output, Program, binary},
    raw::{Ended, Raw, message},
};
