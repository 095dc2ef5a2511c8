//! Fifty random faults, one after the other, while jobs run: every job finishes, and its exports are those of an undisturbed
//! run. `LODE_CHAOS_SEED` chooses other faults, `LODE_CHAOS_FAULTS` how many.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    net::{SocketAddr, TcpListener},
    thread::sleep,
    time::Duration,
};

use lode_tests::{Cluster, Expected, Flags, Proxy, demo_model, status_of};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWorker,
    StopWorker,
    FreezeWorker,
    CutNetwork,
    SlowNetwork,
    KillCoordinator,
    StopCoordinator,
    FreezeCoordinator,
    KillBoth,
}

const FAULTS: [Fault; 9] = [
    Fault::KillWorker,
    Fault::StopWorker,
    Fault::FreezeWorker,
    Fault::CutNetwork,
    Fault::SlowNetwork,
    Fault::KillCoordinator,
    Fault::StopCoordinator,
    Fault::FreezeCoordinator,
    Fault::KillBoth,
];

/// Three workers, each behind a proxy of its own.
struct Arena {
    cluster: Cluster,
    lines: Vec<(SocketAddr, Proxy)>,
}

impl Arena {
    fn new() -> Self {
        let coordinator = ["--lease", "1", "--shard-deadline", "10"].map(str::to_owned).to_vec();
        // Nothing is held from job to job: every job has work to do.
        let worker = ["--response-cache", "0B"].map(str::to_owned).to_vec();
        let flags = Flags { coordinator, worker, ..Flags::default() };
        let cluster = Cluster::start_with(flags, 0, &demo_model());
        let mut arena = Self { cluster, lines: Vec::new() };
        for number in 0..3 {
            let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            arena.lines.push((listen, Proxy::to(listen)));
            let worker = arena.worker(number);
            arena.cluster.workers.push(worker);
        }
        for worker in &mut arena.cluster.workers {
            worker.wait_for("registered worker");
        }
        arena
    }

    /// Starts worker `number`, without waiting for it.
    fn worker(&self, number: usize) -> lode_tests::Program {
        let (listen, proxy) = &self.lines[number];
        let mut args = self.cluster.worker_args(&demo_model());
        let address = format!("http://{}", proxy.address());
        args.extend(["--listen".to_owned(), listen.to_string(), "--advertise".to_owned(), address]);
        lode_tests::Program::start("lode-worker", self.cluster.folder(), args)
    }

    fn restart_worker(&mut self, number: usize) {
        self.cluster.workers[number].kill();
        self.cluster.workers[number] = self.worker(number);
    }

    fn suffer(&mut self, fault: Fault, number: usize, pause: Duration) {
        match fault {
            Fault::KillWorker => {
                self.cluster.workers[number].kill();
                sleep(pause);
                self.restart_worker(number);
            }
            Fault::StopWorker => {
                self.cluster.workers[number].terminate();
                sleep(pause);
                self.restart_worker(number);
            }
            Fault::FreezeWorker => {
                self.cluster.workers[number].freeze();
                sleep(pause);
                self.cluster.workers[number].thaw();
            }
            Fault::CutNetwork => {
                self.lines[number].1.cut();
                sleep(pause);
                self.lines[number].1.mend();
            }
            Fault::SlowNetwork => {
                self.lines[number].1.slow_down(100_000);
                sleep(pause);
                self.lines[number].1.slow_down(0);
            }
            Fault::KillCoordinator => self.cluster.start_coordinator_again(None),
            Fault::StopCoordinator => {
                let mut coordinator = self.cluster.coordinator.take().unwrap();
                coordinator.terminate();
                assert!(coordinator.wait().success(), "{}", coordinator.log());
                self.cluster.start_coordinator();
            }
            Fault::FreezeCoordinator => {
                self.cluster.coordinator.as_ref().unwrap().freeze();
                sleep(pause);
                self.cluster.coordinator.as_ref().unwrap().thaw();
            }
            Fault::KillBoth => {
                self.cluster.workers[number].kill();
                self.cluster.start_coordinator_again(None);
                sleep(pause);
                self.restart_worker(number);
            }
        }
    }
}

fn from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn fifty_random_faults_change_nothing() {
    let (seed, faults) = (from_env("LODE_CHAOS_SEED", 20_261_123), from_env("LODE_CHAOS_FAULTS", 50));
    let expected = Expected::of(9, 60);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut arena = Arena::new();
    let (mut suffered, mut jobs) = (0, 0);
    while suffered < faults {
        let split = *["never", "always", "auto"].choose(&mut random).unwrap();
        let job = expected.submit(&arena.cluster, &["--split", split]);
        jobs += 1;
        while suffered < faults && status_of(&arena.cluster, &job)["state"] == "running" {
            sleep(Duration::from_millis(random.random_range(0..600)));
            let fault = *FAULTS.choose(&mut random).unwrap();
            let (number, pause) = (random.random_range(0..3), Duration::from_millis(random.random_range(50..2500)));
            eprintln!("seed {seed}, {job} (split {split}), fault {suffered}: {fault:?} of {number} for {pause:?}");
            arena.suffer(fault, number, pause);
            suffered += 1;
        }
        expected.check(&arena.cluster, &job);
    }
    eprintln!("{suffered} faults over {jobs} jobs");
}
