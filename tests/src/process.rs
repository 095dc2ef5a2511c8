//! Programs of this workspace as processes.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::Front;

/// The path of one of the workspace's programs, beside the test that runs.
///
/// # Panics
/// If it was not built: `cargo nextest run --workspace` (or `cargo test --workspace`) builds all of them.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run the tests of the whole workspace", path.display());
    path
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Data.
    pub stdout: String,
    /// Progress, logs and errors.
    pub stderr: String,
}

impl Output {
    /// The data, if the program succeeded.
    ///
    /// # Panics
    /// If it did not; shows both streams.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// What the program said, if it failed.
    ///
    /// # Panics
    /// If it succeeded, or died of a panic or a signal instead of saying what is wrong.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(matches!(self.status.code(), Some(code) if code != 0 && code != 101), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self.stderr
    }
}

/// A program that runs on; killed when dropped.
pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts one of the workspace's programs, its log in `folder`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start<A: AsRef<OsStr>>(name: &'static str, folder: &Path, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(binary(name));
        command.args(args);
        Self::spawn(name, folder, command)
    }

    /// Starts a command that ends up as the program `name`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn(name: &'static str, folder: &Path, mut command: Command) -> Self {
        let log = (0..).map(|i| folder.join(format!("{name}-{i}.log"))).find(|path| !path.exists());
        let log = log.expect("numbers do not end");
        let file = File::create(&log).expect("the log can be written");
        if !command.get_envs().any(|(name, _)| name == "RUST_LOG") {
            command.env("RUST_LOG", "info");
        }
        command.env_remove("LODE_TOKEN").env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has held, in bytes; the system's file cache is not counted.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system counts memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// The processor time that it has used, in seconds.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the process is there");
        // User and system time, in hundredths; the name before them may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>() as f64 / 100.0
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its HTTP front, which `--http 127.0.0.1:0` gives it.
    ///
    /// # Panics
    /// As [`Self::wait_for`], and if the log does not say where the front is.
    #[track_caller]
    pub fn front(&mut self) -> Front {
        self.wait_for("HTTP front up");
        let log = self.log();
        let line = log.lines().find(|line| line.contains("HTTP front up")).expect("it was just there");
        Front::at(line.split("address=").nth(1).expect("it says where").trim())
    }

    /// Waits until a line of its log contains `text`.
    ///
    /// # Panics
    /// If the program ends first, or a minute passes.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            let ended = self.child.try_wait().expect("its status can be asked");
            assert!(ended.is_none(), "{} ended before it said {text:?}:\n{}", self.name, self.log());
            assert!(start.elapsed() < Duration::from_secs(60), "{} never said {text:?}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If a minute passes.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status can be asked") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{} does not end:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // A program that has ended already is as dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, as an operator or an orchestrator stops it.
    ///
    /// # Panics
    /// If `kill` is not to be had.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGSTOP: it stays, and does nothing.
    ///
    /// # Panics
    /// If `kill` is not to be had.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT: it goes on.
    ///
    /// # Panics
    /// If `kill` is not to be had.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// SIGHUP: read your files again.
    ///
    /// # Panics
    /// If `kill` is not to be had.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill is there");
        assert!(status.success(), "SIG{name} to {}", self.name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
