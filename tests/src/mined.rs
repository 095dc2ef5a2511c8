//! A small job, what comes of it undisturbed, and how to say that a disturbed one came to the same.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Cluster, demo_model, few_concepts, lode};

/// A job's concepts and the exports that it must come to.
pub struct Expected {
    folder: TempDir,
    /// Ids and csv.
    exports: Vec<(String, String)>,
}

impl Expected {
    /// Mines `concepts` bundled concepts, cut to `sentences` a class, undisturbed on one worker.
    ///
    /// # Panics
    /// If that fails.
    pub fn of(concepts: usize, sentences: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ids = few_concepts(&folder.path().join("concepts"), concepts, sentences);
        let data = folder.path().join("data").display().to_string();
        let model = format!("m={}", demo_model().display());
        let at = ["--embedded", "--data-dir", &data];
        let files = files(&folder.path().join("concepts"));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        lode(&[&at[..], &["mine", "--model", &model, "--split", "never"], &files].concat()).ok();
        let export = |id: &String| {
            let ask = ["export", "--model", "m", "--concept", id, "--format", "csv", "--out", "-"];
            lode(&[&at[..], &ask].concat()).ok()
        };
        let exports = ids.iter().map(|id| (id.clone(), export(id))).collect();
        Self { folder, exports }
    }

    /// How many concepts.
    pub fn len(&self) -> usize {
        self.exports.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }

    /// The concepts' files.
    pub fn files(&self) -> Vec<String> {
        files(&self.folder.path().join("concepts"))
    }

    /// Submits the job and returns its id.
    ///
    /// # Panics
    /// If it is not taken.
    #[track_caller]
    pub fn submit(&self, cluster: &Cluster, flags: &[&str]) -> String {
        let files = self.files();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let ask = [&["--format", "json", "mine", "--model", "m", "--detach"], flags, &files].concat();
        let said: Value = serde_json::from_str(&cluster.lode(&ask).ok()).expect("JSON");
        said["job"].as_str().expect("a job").to_owned()
    }

    /// Watches a job to its end, which must be good: every concept indexed once, and the exports those of the undisturbed
    /// run. Returns the job's summary.
    ///
    /// # Panics
    /// If something differs.
    #[track_caller]
    pub fn check(&self, cluster: &Cluster, job: &str) -> Value {
        let output = cluster.lode(&["--format", "json", "watch", job]);
        assert!(output.status.success(), "{}\n{}", output.stdout, output.stderr);
        let summary: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(summary["concepts_indexed"].as_u64(), Some(self.len() as u64), "{summary}");
        assert_eq!(summary["concepts_failed"].as_u64(), Some(0), "{summary}");
        let status = status_of(cluster, job);
        assert_eq!((&status["state"], status["indexed"].as_u64()), (&"done".into(), Some(self.len() as u64)));
        self.check_exports(cluster);
        summary
    }

    /// The concepts as the cluster exports them, in the order of their ids.
    ///
    /// # Panics
    /// If one is not indexed.
    #[track_caller]
    pub fn exports_of(&self, cluster: &Cluster) -> Vec<String> {
        self.exports.iter().map(|(id, _)| cluster.export(id)).collect()
    }

    /// The exports must be those of the undisturbed run.
    ///
    /// # Panics
    /// If one differs.
    #[track_caller]
    pub fn check_exports(&self, cluster: &Cluster) {
        for (id, csv) in &self.exports {
            assert!(cluster.export(id) == *csv, "{id} is not what an undisturbed run gives");
        }
    }
}

/// A job as `lode jobs` lists it.
///
/// # Panics
/// If it is not there.
#[track_caller]
pub fn status_of(cluster: &Cluster, job: &str) -> Value {
    let listed: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "jobs"]).ok()).expect("JSON");
    listed.as_array().expect("jobs").iter().find(|one| one["job"] == job).expect("the job").clone()
}

/// Waits until something is so.
///
/// # Panics
/// If a minute passes.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|path| path.display().to_string()).collect()
}
