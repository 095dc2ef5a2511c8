//! Tokens and certificates change while the coordinator runs.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::path::Path;

use lode_tests::{Cluster, Flags, Program, demo_concepts, demo_model, lode};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Has the coordinator read its files again, and waits until its log says `text` once more than before.
fn reload(cluster: &mut Cluster, text: &str) {
    reload_program(cluster.coordinator.as_mut().unwrap(), text);
}

fn reload_program(program: &mut Program, text: &str) {
    let before = program.log().matches(text).count();
    program.hang_up();
    while program.log().matches(text).count() == before {
        // Says so if it has ended instead.
        program.wait_for("");
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

/// A worker changes its token without leaving: the coordinator calls it with the new one as soon as it has seen it.
#[test]
fn a_workers_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(file(name), text).unwrap();
    let flags = |name: &str| words(&format!("--token-file {}", file(name).display()));
    write("ours", "miner m\nworker old");
    write("its", "worker old");
    let client = words("--token m");
    let mut cluster =
        Cluster::start_with(Flags { coordinator: flags("ours"), worker: flags("its"), client }, 1, &demo_model());
    let registered = |cluster: &Cluster| cluster.workers[0].log().matches("registered worker").count();

    // One that nobody knows: it keeps its own.
    write("its", "worker stranger");
    reload_program(&mut cluster.workers[0], "the old token and certificates stay");
    let said = cluster.workers[0].log();
    assert!(said.contains("the coordinator refused them") && !said.contains("stranger"), "{said}");

    write("ours", "miner m\nworker old\nworker new");
    reload(&mut cluster, READ);
    write("its", "worker new");
    reload_program(&mut cluster.workers[0], "token and certificates read again");
    write("ours", "miner m\nworker new");
    reload(&mut cluster, READ);
    cluster.lode(&["mine", "--model", "m", &demo_concepts().join("gender/woman.json").display().to_string()]).ok();
    cluster.lode(&["generate", "--model", "m", "--prompt", "Once"]).ok();
    assert_eq!(registered(&cluster), 1, "it never left");
    let log = cluster.coordinator.as_ref().unwrap().log();
    assert!(log.contains("called with other credentials from now on"), "{log}");
}

/// `lode up` reads its tokens again; its own parts go on whatever they are.
#[test]
fn an_embedded_clusters_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("tokens"), folder.path().join("data").display().to_string());
    std::fs::write(&path, "reader old").unwrap();
    let (model, tokens) = (format!("m={}", demo_model().display()), path.display().to_string());
    let up = ["up", "--data-dir", &data, "--device", "cpu", "--model", &model, "--grpc", "127.0.0.1:0"];
    let mut up = Program::start("lode", folder.path(), [&up[..], &["--token-file", &tokens]].concat());
    up.wait_for("next, in another terminal");
    let log = up.log();
    let url = log.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches([',', ';']);
    let generate =
        |token: &str| lode(&["--coordinator", url, "--token", token, "generate", "--model", "m", "--prompt", "We"]);
    generate("old").ok();
    std::fs::write(&path, "reader new").unwrap();
    reload_program(&mut up, "tokens read again");
    generate("old").refused();
    generate("new").ok();
    std::fs::write(&path, "nonsense").unwrap();
    reload_program(&mut up, "the old tokens stay");
    generate("new").ok();
    up.terminate();
    assert!(up.wait().success(), "{}", up.log());
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
