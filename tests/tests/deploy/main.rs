//! The files of `deploy/` fit the programs: flags, ports, probes and metrics that they name are there.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod addresses;
mod commands;
mod files;
mod flags;
mod monitoring;
mod probes;
