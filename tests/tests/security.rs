//! Who gets in and who stays out: tokens, addresses and certificates, on real processes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use lode_tests::{Cluster, Flags, Program, Raw, binary, demo_concepts, demo_model, lode, message};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

const READER: &str = "reader-5f1d8a0c";
const MINER: &str = "miner-77b2e6d3";
const WORKER: &str = "worker-c94a1f58";
const ADMIN: &str = "admin-0e6b3c92";
const WRONG: &str = "wrong-2d7f9b14";

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A folder with a token file.
fn tokens() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let lines = format!("# of a test\nadmin {ADMIN}\nminer {MINER}\nreader {READER}\nworker {WORKER}\n");
    std::fs::write(&path, lines).unwrap();
    (folder, path.display().to_string())
}

/// A cluster with one worker, guarded by tokens.
fn guarded() -> (tempfile::TempDir, Cluster) {
    let (folder, file) = tokens();
    let flags = words(&format!("--token-file {file}"));
    let flags = Flags { coordinator: flags.clone(), worker: flags, client: Vec::new() };
    (folder, Cluster::start_with(flags, 1, &demo_model()))
}

fn one_concept() -> String {
    demo_concepts().join("gender/woman.json").display().to_string()
}

/// Everything that the programs of a cluster have logged.
fn logs(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn hides_tokens(text: &str) {
    for token in [READER, MINER, WORKER, ADMIN, WRONG] {
        assert!(!text.contains(token), "a token is in:\n{text}");
    }
}

#[test]
fn a_role_may_what_it_needs() {
    let (_folder, cluster) = guarded();
    let (concept, mut heard) = (one_concept(), String::new());
    let mine = ["mine", "--model", "m", &concept];
    let mut refused = |args: &[&str], parts: &[&str]| {
        let said = cluster.lode(args).refused();
        says(&said, parts);
        heard += &said;
    };
    refused(&["status"], &["a token is needed and none was sent", "LODE_TOKEN"]);
    refused(&["--token", WRONG, "status"], &["none of this cluster's"]);
    refused(&["--token", "", "status"], &["the token is empty"]);
    refused(&[&["--token", READER], &mine[..]].concat(), &["the token is a reader's", "a miner or an admin"]);
    refused(&["--token", READER, "cancel", "1"], &["the token is a reader's", "CancelJob"]);
    refused(&["--token", WORKER, "status"], &["the token is a worker's", "a reader, a miner or an admin"]);

    cluster.lode(&[&["--token", MINER], &mine[..]].concat()).ok();
    let top = ["units", "top", "--model", "m", "--concept", "gender/woman", "--top", "3"];
    cluster.lode(&[&["--token", READER], &top[..]].concat()).ok();
    cluster.lode(&["--token", ADMIN, "jobs"]).ok();
    // Text comes from the worker, which the coordinator has to show its token.
    let generate = ["generate", "--model", "m", "--prompt", "Once", "--concept", "gender/woman", "--k", "5"];
    cluster.lode(&[&["--token", READER], &generate[..]].concat()).ok();
    hides_tokens(&heard);
    hides_tokens(&logs(cluster.folder()));
    says(&logs(cluster.folder()), &["refused"]);
}

#[test]
fn workers_and_coordinator_show_tokens_to_each_other() {
    let (folder, cluster) = guarded();
    let model = format!("m={}", demo_model().display());
    let url = cluster.url();
    let refused = |args: &[&str], part: &str| {
        let own = ["--coordinator", &url, "--model", &model, "--device", "cpu"];
        let mut worker = Program::start("lode-worker", folder.path(), [&own[..], args].concat());
        assert!(!worker.wait().success());
        says(&worker.log(), &["refused this worker", part]);
        hides_tokens(&worker.log());
    };
    refused(&[], "a token is needed and none was sent");
    refused(&["--token", WRONG], "none of this cluster's");
    refused(&["--token", READER], "the token is a reader's, but Register is for a worker or an admin");

    // The worker's own service is not open either.
    let status = cluster.lode(&["--token", READER, "--format", "json", "status"]).ok();
    let status: Value = serde_json::from_str(&status).unwrap();
    let worker = status["workers"][0]["url"].as_str().unwrap();
    let said = lode(&["--coordinator", worker, "status"]).refused();
    says(&said, &["a token is needed"]);
    let said = lode(&["--coordinator", worker, "--token", MINER, "status"]).refused();
    says(&said, &["none of this cluster's"]);
}

/// A worker's token is no right to another worker's place: neither to its address, nor to its signs of life, nor to its goodbye.
#[test]
fn a_worker_cannot_take_anothers_place() {
    const OTHER: &str = "other-worker-8c1e";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        words(&format!("--token-file {}", folder.path().join(name).display()))
    };
    let coordinator = file("ours", &format!("reader {READER}\nworker {WORKER}\nworker {OTHER}\n"));
    let worker = file("its", &format!("worker {WORKER}\n"));
    let client = words(&format!("--token {READER}"));
    let cluster = Cluster::start_with(Flags { coordinator, worker, client }, 1, &demo_model());
    let status = || -> Value { serde_json::from_str(&cluster.lode(&["--format", "json", "status"]).ok()).unwrap() };
    let before = status();
    let url = before["workers"][0]["url"].as_str().unwrap().to_owned();
    let id: u64 = before["workers"][0]["worker"].as_str().unwrap().trim_start_matches("worker-").parse().unwrap();

    let model = format!("m={}", demo_model().display());
    let coordinator = cluster.url();
    let own = ["--coordinator", &coordinator, "--model", &model, "--device", "cpu", "--token", OTHER];
    let mut impostor = Program::start("lode-worker", folder.path(), [&own[..], &["--advertise", &url]].concat());
    assert!(!impostor.wait().success());
    says(&impostor.log(), &["does not know the token", "--advertise"]);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let raw = Raw::connect(cluster.address()).await;
        for (method, token, expected) in [("Heartbeat", OTHER, 7), ("Deregister", OTHER, 7), ("Heartbeat", WORKER, 0)] {
            // `worker` and `url`: both messages have no more.
            let number = [&[0x08][..], &[u8::try_from(id).unwrap()]].concat();
            let body = [&number[..], &[0x12, u8::try_from(url.len()).unwrap()], url.as_bytes()].concat();
            let bearer = format!("Bearer {token}");
            let path = format!("/lode.v1.Registry/{method}");
            let ended = raw.call(&path, &[("authorization", &bearer)], message(&body)).await;
            assert_eq!(ended.status, Some(expected), "{method}: {ended:?}");
        }
    });
    assert_eq!(status()["workers"][0]["worker"], before["workers"][0]["worker"]);
    cluster.lode(&["generate", "--model", "m", "--prompt", "Once"]).ok();
    assert!(!logs(cluster.folder()).contains("called with other credentials"), "its own are kept");
}

#[test]
fn no_log_level_shows_a_token() {
    let (folder, file) = tokens();
    let flags = Flags { coordinator: words(&format!("--token-file {file}")), ..Flags::default() };
    let mut cluster = Cluster::start_with(flags, 0, &demo_model());
    cluster.kill_coordinator();
    let mut coordinator = Command::new(binary("lode-coordinator"));
    coordinator.args(cluster.coordinator_args()).env("RUST_LOG", "trace");
    cluster.start_coordinator_as(coordinator);
    let mut worker = Command::new(binary("lode-worker"));
    worker.args(cluster.worker_args(&demo_model())).args(["--token-file", &file]).env("RUST_LOG", "trace");
    let mut worker = Program::spawn("lode-worker", folder.path(), worker);
    worker.wait_for("registered worker");
    let generate = ["generate", "--model", "m", "--prompt", "Once"];
    cluster.lode(&[&["--token", READER], &generate[..]].concat()).ok();
    cluster.lode(&["--token", WRONG, "status"]).refused();
    let client = Command::new(binary("lode"))
        .args(["--coordinator", &cluster.url(), "status"])
        .env("LODE_TOKEN", READER)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    assert!(client.status.success());
    for text in [worker.log(), logs(cluster.folder()), String::from_utf8_lossy(&client.stderr).into_owned()] {
        says(&text, &["TRACE"]);
        hides_tokens(&text);
    }
}

#[test]
fn a_token_file_that_is_none_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, format!("{ADMIN} admin\n")).unwrap();
    let args = ["--data-dir", "data", "--token-file"].map(Into::into);
    let mut coordinator = Program::start("lode-coordinator", folder.path(), [&args[..], &[file]].concat());
    assert!(!coordinator.wait().success());
    says(&coordinator.log(), &["is not a token file", "line 1 is not ROLE TOKEN"]);
    hides_tokens(&coordinator.log());
}

#[test]
fn an_open_door_to_the_network_must_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let model = format!("m={}", demo_model().display());
    let both = ["--token-file", "--insecure"];

    let coordinator = ["--data-dir", &data, "--grpc", "0.0.0.0:0"];
    let mut refused = Program::start("lode-coordinator", folder.path(), coordinator);
    assert!(!refused.wait().success());
    says(&refused.log(), &both);
    let insecure = [&coordinator[..], &["--insecure"]].concat();
    Program::start("lode-coordinator", folder.path(), insecure).wait_for("serving");
    let (_tokens, file) = tokens();
    let guarded = [&coordinator[..], &["--token-file", &file]].concat();
    Program::start("lode-coordinator", folder.path(), guarded).wait_for("serving");

    let worker = ["--model", &model, "--listen", "0.0.0.0:0", "--advertise", "http://127.0.0.1:1"];
    let mut refused = Program::start("lode-worker", folder.path(), worker);
    assert!(!refused.wait().success());
    says(&refused.log(), &both);

    let data = folder.path().join("up").display().to_string();
    let up = ["up", "--data-dir", &data, "--device", "cpu", "--model", &model, "--grpc", "0.0.0.0:0"];
    says(&lode(&up).refused(), &both);
    Program::start("lode", folder.path(), [&up[..], &["--insecure"]].concat()).wait_for("serving m");
}

#[test]
fn an_embedded_server_asks_for_tokens_too() {
    let (folder, file) = tokens();
    let data = folder.path().join("data").display().to_string();
    let model = format!("m={}", demo_model().display());
    let up = ["up", "--data-dir", &data, "--device", "cpu", "--model", &model, "--grpc", "127.0.0.1:0"];
    let mut server = Program::start("lode", folder.path(), [&up[..], &["--token-file", &file]].concat());
    server.wait_for("next, in another terminal");
    let log = server.log();
    let url = log.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches([',', ';']);
    says(&lode(&["--coordinator", url, "status"]).refused(), &["a token is needed"]);
    lode(&["--coordinator", url, "--token", MINER, "mine", "--model", "m", &one_concept()]).ok();
    hides_tokens(&server.log());
}

/// Authorities and what they sign, in a folder.
struct Office(tempfile::TempDir);

impl Office {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Makes an authority; its certificate goes to `NAME.pem`.
    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        std::fs::write(self.path(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    }

    /// Signs a certificate for this machine, valid until the end of `year`; it goes to `NAME.pem`, its key to `NAME.key`.
    fn sign(&self, name: &str, issuer: &Issuer<'static, KeyPair>, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        std::fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// `--tls-cert` and `--tls-key`.
    fn identity(&self, name: &str) -> Vec<String> {
        let (pem, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        ["--tls-cert", &pem, "--tls-key", &key].map(str::to_owned).to_vec()
    }

    fn authority_flag(&self, flag: &str, name: &str) -> Vec<String> {
        vec![flag.to_owned(), self.file(&format!("{name}.pem"))]
    }
}

fn lode_at(url: &str, flags: &[Vec<String>]) -> lode_tests::Output {
    let flags = flags.concat();
    let flags = flags.iter().map(String::as_str);
    lode(&["--coordinator", url].into_iter().chain(flags).chain(["status"]).collect::<Vec<_>>())
}

#[test]
fn a_certificate_is_checked_and_the_line_encrypted() {
    let office = Office::new();
    let ours = office.authority("ours");
    office.authority("others");
    office.sign("server", &ours, 2090);
    let ca = office.authority_flag("--ca", "ours");
    let flags = Flags { coordinator: office.identity("server"), worker: ca.clone(), client: ca.clone() };
    let cluster = Cluster::start_with(flags, 1, &demo_model());
    cluster.lode(&["mine", "--model", "m", &one_concept()]).ok();

    let refused = |url: &str, flags: &[Vec<String>], parts: &[&str]| says(&lode_at(url, flags).refused(), parts);
    let https = cluster.url();
    refused(&https, &[office.authority_flag("--ca", "others")], &["not to be trusted", "--ca"]);
    refused(&https, &[], &["https:// needs --ca"]);
    let http = https.replace("https", "http");
    refused(&http, &[], &["https:// and --ca"]);
    refused(&http, std::slice::from_ref(&ca), &["http:// is not encrypted"]);
    refused(&https.replace("127.0.0.1", "localhost"), std::slice::from_ref(&ca), &["other names"]);
    refused(&https, &[vec!["--ca".to_owned(), office.file("server.key")]], &["no certificate in PEM form"]);

    // A worker that does not trust the coordinator ends with the reason instead of trying for ever.
    let model = format!("m={}", demo_model().display());
    let args = words(&format!("--coordinator {https} --device cpu --model {model}"));
    let args = [args, office.authority_flag("--ca", "others")].concat();
    let mut worker = Program::start("lode-worker", cluster.folder(), args);
    assert!(!worker.wait().success());
    says(&worker.log(), &["not to be trusted"]);

    let plain = Cluster::start(0, &demo_model());
    refused(&plain.url().replace("http", "https"), &[ca], &["does not speak TLS"]);
}

#[test]
fn mutual_tls_asks_both_sides_for_certificates() {
    let office = Office::new();
    let (ours, others) = (office.authority("ours"), office.authority("others"));
    for (name, issuer, year) in [
        ("server", &ours, 2090),
        ("worker", &ours, 2090),
        ("user", &ours, 2090),
        ("stranger", &others, 2090),
        ("late", &ours, 2021),
    ] {
        office.sign(name, issuer, year);
    }
    let ca = office.authority_flag("--ca", "ours");
    let flags = Flags {
        coordinator: [office.identity("server"), office.authority_flag("--tls-client-ca", "ours")].concat(),
        worker: [ca.clone(), office.identity("worker")].concat(),
        client: [ca.clone(), office.identity("user")].concat(),
    };
    let cluster = Cluster::start_with(flags, 1, &demo_model());
    // The worker serves TLS as well, and the coordinator checks its certificate.
    let status: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "status"]).ok()).unwrap();
    assert!(status["workers"][0]["url"].as_str().unwrap().starts_with("https://"));
    cluster.lode(&["mine", "--model", "m", &one_concept()]).ok();

    let url = cluster.url();
    let refused = |identity: Vec<String>, part: &str| {
        says(&lode_at(&url, &[ca.clone(), identity]).refused(), &[part]);
    };
    refused(Vec::new(), "asks for a client certificate");
    // The server's own reason may be lost with the connection, so only what is always said is asked for.
    refused(office.identity("stranger"), "--tls-client-ca");
    refused(office.identity("late"), "expired");
    refused(office.identity("user")[..2].to_vec(), "go together");
}

#[test]
fn an_expired_server_is_not_trusted() {
    let office = Office::new();
    let ours = office.authority("ours");
    office.sign("server", &ours, 2021);
    let flags = Flags { coordinator: office.identity("server"), ..Flags::default() };
    let cluster = Cluster::start_with(flags, 0, &demo_model());
    let said = lode_at(&cluster.url(), &[office.authority_flag("--ca", "ours")]).refused();
    says(&said, &["the server's certificate has expired"]);
}

/// Asks over TLS what an HTTP client would.
fn over_tls(address: std::net::SocketAddr, authority: &Path, request: &str) -> lode_tests::Answer {
    use std::io::{Read as _, Write as _};
    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, std::net::TcpStream::connect(address).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // Servers that close without a farewell of TLS's own have said all the same.
    let _ = stream.read_to_end(&mut answer);
    lode_tests::Answer::read(&String::from_utf8(answer).unwrap())
}

#[test]
fn the_api_is_encrypted_and_probes_need_not_be() {
    let office = Office::new();
    let ours = office.authority("ours");
    office.sign("server", &ours, 2090);
    let ca = office.authority_flag("--ca", "ours");
    let coordinator = [office.identity("server"), words("--http 127.0.0.1:0")].concat();
    let mut cluster = Cluster::start_with(Flags { coordinator, worker: ca.clone(), client: ca }, 1, &demo_model());
    let front = cluster.coordinator.as_mut().unwrap().front();
    let ask = |path: &str| {
        over_tls(front.address(), &office.path("ours.pem"), &lode_tests::request(&format!("GET {path}"), "", ""))
    };
    assert_eq!(ask("/v1/models").ok()["data"][0]["id"], "m");
    let plain = front.get("/v1/models");
    assert_eq!(plain.status, 403);
    says(&plain.body, &["use https://"]);
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!((front.get(probe).status, ask(probe).status), (200, 200), "{probe}");
    }
}
