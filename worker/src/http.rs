//! What the worker answers to probes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lode_ops::Subject;

/// How a worker is; clones are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    device_runs: AtomicBool,
    registered: AtomicBool,
}

impl Vitals {
    pub(crate) fn set_device_runs(&self, runs: bool) {
        self.0.device_runs.store(runs, Ordering::Relaxed);
    }

    pub(crate) fn set_registered(&self, registered: bool) {
        self.0.registered.store(registered, Ordering::Relaxed);
    }
}

/// Ready is who gets work: a worker that drains has said goodbye and is registered no more.
impl Subject for Vitals {
    fn ready(&self) -> Result<(), String> {
        if !self.0.device_runs.load(Ordering::Relaxed) {
            return Err("the device thread does not run".to_owned());
        }
        if !self.0.registered.load(Ordering::Relaxed) {
            return Err("not registered with the coordinator".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_ready_when_it_gets_work() {
        let vitals = Vitals::default();
        assert!(vitals.ready().unwrap_err().contains("device"));
        vitals.set_device_runs(true);
        assert!(vitals.ready().unwrap_err().contains("not registered"));
        vitals.clone().set_registered(true);
        assert_eq!(vitals.ready(), Ok(()));
        vitals.set_device_runs(false);
        assert!(vitals.ready().is_err());
    }
}
