//! Tokens and certificates change while the coordinator runs.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::path::Path;

use lode_tests::{Cluster, Flags, demo_model, lode};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Sends SIGHUP and waits until the log says `text` once more than before.
fn reload(cluster: &mut Cluster, text: &str) {
    let coordinator = cluster.coordinator.as_mut().unwrap();
    let before = coordinator.log().matches(text).count();
    coordinator.hang_up();
    while coordinator.log().matches(text).count() == before {
        // Says so if the coordinator has ended instead.
        coordinator.wait_for("serving");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

const READ: &str = "tokens and certificates read again";
const KEPT: &str = "the old tokens and certificates stay";

#[test]
fn tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "reader old\nworker w").unwrap();
    let flags = words(&format!("--token-file {}", path.display()));
    let flags = Flags { coordinator: flags.clone(), worker: flags, client: Vec::new() };
    let mut cluster = Cluster::start_with(flags, 1, &demo_model());
    cluster.lode(&["--token", "old", "status"]).ok();
    cluster.lode(&["--token", "new", "status"]).refused();

    std::fs::write(&path, "reader new\nworker w").unwrap();
    reload(&mut cluster, READ);
    cluster.lode(&["--token", "old", "status"]).refused();
    let said = cluster.lode(&["--token", "new", "--format", "json", "status"]).ok();
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["workers"].as_array().unwrap().len(), 1, "the worker stays");

    // A file that is none changes nothing, and no message repeats what is in it.
    std::fs::write(&path, "hidden reader").unwrap();
    reload(&mut cluster, KEPT);
    let log = cluster.coordinator.as_ref().unwrap().log();
    assert!(log.contains("line 1 is not ROLE TOKEN") && !log.contains("hidden"), "{log}");
    cluster.lode(&["--token", "new", "status"]).ok();
}

/// A certificate that signs itself, in `cert.pem` and `key.pem`; a copy of the certificate goes to `keep`.
fn certify(folder: &Path, keep: &str) -> String {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(folder.join(keep), certified.cert.pem()).unwrap();
    folder.join(keep).display().to_string()
}

#[test]
fn certificates() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path(), "first.pem");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let coordinator = words(&format!("--tls-cert {} --tls-key {}", file("cert.pem"), file("key.pem")));
    let mut cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 0, &demo_model());
    let url = cluster.url();
    let status = |ca: &str| lode(&["--coordinator", &url, "--ca", ca, "status"]);
    status(&first).ok();
    let second = certify(folder.path(), "second.pem");
    status(&second).refused();
    reload(&mut cluster, READ);
    status(&second).ok();
    status(&first).refused();

    // A key that is another certificate's.
    let third = certify(folder.path(), "third.pem");
    std::fs::copy(&second, folder.path().join("cert.pem")).unwrap();
    reload(&mut cluster, KEPT);
    status(&second).ok();
    status(&third).refused();
}
