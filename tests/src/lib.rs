//! One door for all end-to-end tests: a cluster of real processes, and the data that the tests run on.

mod cluster;
mod data;
mod http;
mod hub;
mod mined;
mod process;
mod proxy;
mod raw;
mod schema;

pub use self::{
    cluster::{Cluster, Flags, lode},
    data::{Case, demo_concepts, demo_model, few_concepts, golden_cases, repository, shared},
    http::{Answer, Front, request},
    hub::Hub,
    mined::{Expected, status_of, wait_until},
    process::{Output, Program, binary},
    proxy::Proxy,
    raw::{Ended, Held, Raw, message},
    schema::misfits,
};
