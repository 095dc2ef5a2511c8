//! A cluster of real processes on free ports, in a folder that goes when the test ends.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::process::{Output, Program, binary};

/// What the programs of a cluster are started with beyond what every cluster needs.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The coordinator's.
    pub coordinator: Vec<String>,
    /// Every worker's.
    pub worker: Vec<String>,
    /// Every `lode`'s.
    pub client: Vec<String>,
}

/// A coordinator and its workers.
pub struct Cluster {
    folder: TempDir,
    port: u16,
    flags: Flags,
    /// The coordinator, while it runs.
    pub coordinator: Option<Program>,
    /// The workers that were started, the killed ones too.
    pub workers: Vec<Program>,
}

impl Cluster {
    /// Starts a coordinator and `workers` workers with `model` under the name `m`, and waits until all are registered.
    ///
    /// # Panics
    /// If one does not come up.
    pub fn start(workers: usize, model: &Path) -> Self {
        Self::start_with(Flags::default(), workers, model)
    }

    /// The same with more flags.
    ///
    /// # Panics
    /// If one does not come up.
    pub fn start_with(flags: Flags, workers: usize, model: &Path) -> Self {
        let mut cluster = Self::with(flags);
        cluster.start_coordinator();
        for _ in 0..workers {
            cluster.start_worker(model);
        }
        cluster
    }

    /// A folder and a port; the test starts the processes.
    ///
    /// # Panics
    /// If no folder or port can be had.
    pub fn empty() -> Self {
        Self::with(Flags::default())
    }

    fn with(flags: Flags) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, port: free_port(), flags, coordinator: None, workers: Vec::new() }
    }

    /// The folder of the index and the logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the index is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The coordinator's URL.
    pub fn url(&self) -> String {
        let has_tls = self.flags.coordinator.iter().any(|flag| flag == "--tls-cert");
        format!("{}://127.0.0.1:{}", if has_tls { "https" } else { "http" }, self.port)
    }

    /// Where the coordinator listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The coordinator's arguments.
    pub fn coordinator_args(&self) -> Vec<String> {
        let data_dir = self.data_dir().display().to_string();
        let own = vec!["--data-dir".into(), data_dir, "--grpc".into(), format!("127.0.0.1:{}", self.port)];
        [own, self.flags.coordinator.clone()].concat()
    }

    /// Starts the coordinator, or starts it again: same folder, same port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_coordinator(&mut self) {
        let mut command = Command::new(binary("lode-coordinator"));
        command.args(self.coordinator_args());
        self.start_coordinator_as(command);
    }

    /// Starts the coordinator by a command of the test's own.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_coordinator_as(&mut self, command: Command) {
        let mut coordinator = Program::spawn("lode-coordinator", self.folder(), command);
        coordinator.wait_for("serving");
        self.coordinator = Some(coordinator);
    }

    /// kill -9 to the coordinator.
    pub fn kill_coordinator(&mut self) {
        if let Some(mut coordinator) = self.coordinator.take() {
            coordinator.kill();
        }
    }

    /// Starts one more worker and waits until it is registered.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_worker(&mut self, model: &Path) {
        let mut worker = Program::start("lode-worker", self.folder(), self.worker_args(model));
        let has_json = self.flags.worker.iter().any(|flag| flag == "json");
        worker.wait_for(if has_json { "\"registered\"" } else { "registered worker" });
        self.workers.push(worker);
    }

    /// Starts one more worker that holds at `place` (see `lode_ops::pause_at`) until [`Cluster::let_go`].
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_worker_pausing(&mut self, model: &Path, place: &str, flags: &[&str]) {
        let mut command = Command::new(binary("lode-worker"));
        command.args(self.worker_args(model)).args(flags);
        self.pausing(&mut command, place);
        self.start_worker_as(command);
    }

    /// Starts one more worker by a command of the test's own and waits until it is registered.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_worker_as(&mut self, command: Command) {
        let mut worker = Program::spawn("lode-worker", self.folder(), command);
        worker.wait_for("registered worker");
        self.workers.push(worker);
    }

    /// Kills the coordinator and starts it again: same folder, same port; it holds at `place`, if one is given, until
    /// [`Cluster::let_go`].
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_coordinator_again(&mut self, place: Option<&str>) {
        self.kill_coordinator();
        let mut command = Command::new(binary("lode-coordinator"));
        command.args(self.coordinator_args());
        if let Some(place) = place {
            self.pausing(&mut command, place);
        }
        self.start_coordinator_as(command);
    }

    /// Starts `lode` against this cluster and does not wait for it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn_lode(&self, args: &[&str]) -> Program {
        let url = self.url();
        let flags = self.flags.client.iter().map(String::as_str);
        let args = ["--coordinator", &url].into_iter().chain(flags).chain(args.iter().copied());
        Program::start("lode", self.folder(), args)
    }

    fn pausing(&self, command: &mut Command, place: &str) {
        let file = self.folder().join("pause");
        std::fs::write(&file, "").expect("the folder can be written");
        command.env("LODE_PAUSE_AT", place).env("LODE_PAUSE_FILE", file);
    }

    /// Ends all pauses.
    pub fn let_go(&self) {
        // It may have been let go before.
        let _ = std::fs::remove_file(self.folder().join("pause"));
    }

    /// Expertise of a concept as csv.
    ///
    /// # Panics
    /// If it is not indexed.
    #[track_caller]
    pub fn export(&self, concept: &str) -> String {
        self.lode(&["export", "--model", "m", "--concept", concept, "--format", "csv", "--out", "-"]).ok()
    }

    /// A worker's arguments.
    pub fn worker_args(&self, model: &Path) -> Vec<String> {
        let model = format!("m={}", model.display());
        let own = ["--coordinator", &self.url(), "--model", &model, "--device", "cpu"].map(str::to_owned);
        [&own[..], &self.flags.worker].concat()
    }

    /// Runs `lode` against this cluster.
    ///
    /// # Panics
    /// If it does not start.
    pub fn lode(&self, args: &[&str]) -> Output {
        let url = self.url();
        let flags = self.flags.client.iter().map(String::as_str);
        let args: Vec<&str> = ["--coordinator", &url].into_iter().chain(flags).chain(args.iter().copied()).collect();
        lode(&args)
    }
}

/// Runs `lode` to its end.
///
/// # Panics
/// If it does not start.
pub fn lode(args: &[&str]) -> Output {
    let output = Command::new(binary("lode"))
        .args(args)
        .env_remove("LODE_COORDINATOR")
        .env_remove("LODE_TOKEN")
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .output()
        .expect("lode starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("lode writes UTF-8");
    Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
