//! `openapi.json` against the server: every path is there, and every status it names is answered as it says.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::collections::BTreeSet;

use lode_tests::{Answer, Cluster, Flags, Front, demo_concepts, demo_model, misfits};
use serde_json::{Value, json};

/// The document, and what of it was seen.
struct Described {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Described {
    /// Follows a `$ref` into the components.
    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(place) => self.document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("{place}")),
            None => value,
        }
    }

    /// Checks a value against a schema of the document.
    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value, what: &str) {
        let found = misfits(&self.document, schema, value);
        assert!(found.is_empty(), "{what}: {found:#?}\n{value:#}");
    }

    /// Checks a request's body, if it has one that is meant well, and what was answered.
    #[track_caller]
    fn check(&mut self, operation: &str, body: Option<&Value>, answer: &Answer) {
        let (method, path) = operation.split_once(' ').unwrap();
        let described = &self.document["paths"][path][method];
        assert!(described.is_object(), "{operation} is not described");
        let status = answer.status.to_string();
        let response = self.resolved(&described["responses"][&status]);
        assert!(response.is_object(), "{operation} answers {status}, which is not described: {}", answer.body);
        let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{operation} answers {status} as {kind}, which is not described");
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            assert!(answer.header(name).is_some(), "{operation}: {name} is missing in\n{}", answer.head);
        }
        match kind {
            "application/json" => self.fits(schema, &answer.json(), operation),
            "text/event-stream" => {
                let (pieces, is_done) = answer.pieces();
                assert!(is_done && !pieces.is_empty());
                pieces.iter().for_each(|piece| self.fits(schema, piece, operation));
            }
            _ => {}
        }
        if let (200, Some(body)) = (answer.status, body) {
            self.fits(&described["requestBody"]["content"]["application/json"]["schema"], body, operation);
        }
        self.seen.insert((operation.to_owned(), status));
    }

    /// Everything that is described: operations and statuses.
    fn all(&self) -> BTreeSet<(String, String)> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    all.insert((format!("{method} {path}"), status.clone()));
                }
            }
        }
        all
    }
}

/// A server with tokens, and headers that show them.
struct Server {
    cluster: Cluster,
    front: Front,
}

const READER: &str = "authorization: Bearer r-1\r\n";
const WORKER: &str = "authorization: Bearer w-1\r\n";
const BUSY: &str = "authorization: Bearer b-1\r\n";

fn server(folder: &std::path::Path) -> Server {
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "admin a-1\nreader r-1\nreader b-1\nworker w-1\n").unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let flags = Flags {
        coordinator: words(&format!(
            "--http 127.0.0.1:0 --rate-limit 30 --lease 30 --generation-timeout 6 --token-file {}",
            tokens.display()
        )),
        worker: words("--token w-1"),
        client: words("--token a-1"),
    };
    let mut cluster = Cluster::start_with(flags, 0, &demo_model());
    let model = folder.join("model");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(demo_model()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    std::fs::write(model.join("chat_template.jinja"), "{% for m in messages %}{{ m.content }} {% endfor %}").unwrap();
    cluster.start_worker(&model);
    let file = |path: &str| demo_concepts().join(path).display().to_string();
    let mine = ["mine", "--model", "m", "--criteria", "auroc,l1", "--holdout", "0.2", "--intervals", "5"];
    cluster.lode(&[&mine[..], &[&file("gender/woman.json"), &file("gender/man.json")]].concat()).ok();
    let front = cluster.coordinator.as_mut().unwrap().front();
    Server { cluster, front }
}

/// Paths of queries: as described, as asked, as asked for something that is not there, as asked wrongly.
fn queries() -> Vec<[&'static str; 4]> {
    vec![
        ["/v1/models", "/v1/models", "", ""],
        ["/v1/models/{id}", "/v1/models/m@gender/woman:5", "/v1/models/nobody", "/v1/models/m@woman"],
        ["/v1/lode/models", "/v1/lode/models", "", "/v1/lode/models?top=3"],
        [
            "/v1/lode/models/{model}/concepts",
            "/v1/lode/models/m/concepts",
            "/v1/lode/models/nobody/concepts",
            "/v1/lode/models/m/concepts?top=3",
        ],
        [
            "/v1/lode/models/{model}/units/top",
            "/v1/lode/models/m/units/top?concept=gender/woman&top=3&layer=*&min_ap=0.1&bottom=true&criterion=auroc&pooling=max&tokens=own",
            "/v1/lode/models/m/units/top?concept=gender/nobody",
            "/v1/lode/models/m/units/top",
        ],
        [
            "/v1/lode/models/{model}/units/show",
            "/v1/lode/models/m/units/show?unit=transformer.h.0.mlp.c_fc[1]",
            "/v1/lode/models/m/units/show?unit=h[1]",
            "/v1/lode/models/m/units/show?unit=h",
        ],
        [
            "/v1/lode/models/{model}/units/layers",
            "/v1/lode/models/m/units/layers?concept=gender/woman&top=9",
            "/v1/lode/models/m/units/layers?concept=gender/nobody",
            "/v1/lode/models/m/units/layers?concept=gender/woman&top=0",
        ],
        [
            "/v1/lode/models/{model}/overlap",
            "/v1/lode/models/m/overlap?first=gender/woman&second=gender/man&min_ap=0.7",
            "/v1/lode/models/m/overlap?first=gender/woman&second=gender/nobody",
            "/v1/lode/models/m/overlap?first=gender/woman",
        ],
        [
            "/v1/lode/models/{model}/nearest",
            "/v1/lode/models/m/nearest?concept=gender/woman&limit=1",
            "/v1/lode/models/m/nearest?concept=gender/nobody",
            "/v1/lode/models/m/nearest?concept=gender/woman&limit=0",
        ],
    ]
}

fn texts() -> [(&'static str, Value); 2] {
    let condition = json!([{"concept": "gender/woman", "k": 5, "rank": "next", "criterion": "cohens-d", "value": 0.5, "positions": "1..9", "recipe": {"pooling": "max"}}, {"units": [3], "value": "zero"}]);
    let more = json!({"model": "m@gender/man:3", "n": 2, "seed": 1, "stop": ["zz"], "condition": condition, "observe": ["gender/woman", {"concept": "gender/man", "k": 4}]});
    let with = |own: Value| {
        let mut both = more.clone();
        own.as_object().unwrap().iter().for_each(|(key, value)| both[key] = value.clone());
        both
    };
    [
        ("/v1/completions", with(json!({"prompt": ["Yesterday", "Once"], "max_tokens": 5, "logprobs": 2}))),
        (
            "/v1/chat/completions",
            with(
                json!({"messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 2}),
            ),
        ),
    ]
}

fn set(body: &Value, key: &str, value: Value) -> Value {
    let mut changed = body.clone();
    changed[key] = value;
    changed
}

#[test]
fn the_server_answers_as_it_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = server(folder.path());
    let front = &server.front;
    let described = front.get("/openapi.json");
    let mut described = Described { document: described.ok(), seen: BTreeSet::new() };
    assert_eq!(described.document["info"]["version"], env!("CARGO_PKG_VERSION"));

    for (path, body) in texts() {
        let operation = format!("post {path}");
        let line = format!("POST {path}");
        let ask = |headers: &str, body: &Value| front.ask(&line, headers, &body.to_string());
        described.check(&operation, Some(&body), &ask(READER, &body));
        let streaming = set(&set(&body, "stream", json!(true)), "stream_options", json!({"include_usage": true}));
        described.check(&operation, Some(&streaming), &ask(READER, &streaming));
        let plain =
            json!({"model": "m", "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2});
        described.check(&operation, Some(&plain), &ask(READER, &plain));
        described.check(&operation, None, &ask(READER, &set(&body, "n", json!(0))));
        described.check(&operation, None, &ask(READER, &set(&body, "model", json!("nobody"))));
        described.check(&operation, None, &ask("", &body));
        described.check(&operation, None, &ask(WORKER, &body));
        described.check(&operation, None, &front.ask(&line, READER, &" ".repeat((1 << 20) + 1)));
    }
    for [path, good, unknown, bad] in queries() {
        let operation = format!("get {path}");
        let ask = |path: &str, headers: &str| front.ask(&format!("GET {path}"), headers, "");
        described.check(&operation, None, &ask(good, READER));
        described.check(&operation, None, &ask(good, ""));
        described.check(&operation, None, &ask(good, WORKER));
        for (asked, status) in [(unknown, 404), (bad, 400)] {
            if !asked.is_empty() {
                let answer = ask(asked, READER);
                assert_eq!(answer.status, status, "{asked}: {}", answer.body);
                described.check(&operation, None, &answer);
            }
        }
    }
    for path in ["/openapi.json", "/healthz", "/readyz", "/metrics"] {
        described.check(&format!("get {path}"), None, &front.get(path));
    }
    // One that asks too often is told so, wherever.
    let busy: Vec<String> = queries().iter().map(|[path, good, ..]| format!("get {path} {good}")).collect();
    let texts_of = texts().map(|(path, _)| format!("post {path} {path}"));
    for operation in busy.iter().chain(&texts_of) {
        let (operation, asked) = operation.rsplit_once(' ').unwrap();
        let method = operation.split(' ').next().unwrap().to_uppercase();
        let answer =
            (0..400).map(|_| front.ask(&format!("{method} {asked}"), BUSY, "{}")).find(|answer| answer.status == 429);
        described.check(operation, None, &answer.expect("a rate has an end"));
    }
    // A worker that lives, as far as is known, and says nothing.
    server.cluster.workers[0].freeze();
    let late = texts().map(|(path, body)| {
        let (path, body) = (path.to_owned(), set(&body, "model", json!("m")).to_string());
        let front = Front::at(&front.address().to_string());
        std::thread::spawn(move || (path.clone(), front.ask(&format!("POST {path}"), READER, &body)))
    });
    for asked in late {
        let (path, answer) = asked.join().unwrap();
        assert_eq!(answer.status, 504, "{}", answer.body);
        described.check(&format!("post {path}"), None, &answer);
    }
    server.cluster.workers[0].thaw();
    // Without workers there is no text.
    server.cluster.workers[0].terminate();
    server.cluster.workers[0].wait();
    for (path, body) in texts() {
        let answer = front.ask(&format!("POST {path}"), READER, &set(&body, "model", json!("m")).to_string());
        assert_eq!(answer.status, 503, "{}", answer.body);
        described.check(&format!("post {path}"), None, &answer);
    }
    // Readiness fails only while the process starts or drains: `tests/operations.rs` has it.
    described.seen.insert(("get /readyz".into(), "503".into()));

    let missing: Vec<_> = described.all().difference(&described.seen).cloned().collect();
    assert!(missing.is_empty(), "described and never seen: {missing:#?}");
}
