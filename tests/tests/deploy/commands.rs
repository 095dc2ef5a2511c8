//! The commands that start our programs, wherever a file has one.

use serde_json::Value;

use crate::files;

const PROGRAMS: [&str; 3] = ["lode", "lode-coordinator", "lode-worker"];

/// One of our programs with its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where it stands, in `deploy/`.
    pub file: String,
    /// Which program.
    pub program: String,
    /// What follows, as written.
    pub words: Vec<String>,
}

impl Command {
    /// The names of the flags that it gives, with their dashes.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        let flags = self.words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
        flags.map(|word| word.split_once('=').map_or(word.as_str(), |(name, _)| name))
    }

    /// The value of a flag, written with a space or with `=`.
    pub fn value(&self, flag: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word.split('=').next() == Some(flag))?;
        match self.words[at].split_once('=') {
            Some((_, value)) => Some(value),
            None => self.words.get(at + 1).map(String::as_str),
        }
    }

    /// The port of an address or URL that a flag gives.
    #[track_caller]
    pub fn port(&self, flag: &str) -> u64 {
        let value = self.value(flag).unwrap_or_else(|| panic!("no {flag} in {self:?}"));
        let port = value.rsplit(':').next().unwrap_or_default();
        port.parse().unwrap_or_else(|_| panic!("no port in {flag} {value}"))
    }
}

/// A command that a document holds as a list of words, at its root.
pub fn of_list(file: &str, list: &Value) -> Option<Command> {
    let mut words = list.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
    let program = words.next()??;
    let words = words.collect::<Option<_>>()?;
    PROGRAMS.contains(&program.as_str()).then(|| Command { file: file.to_owned(), program, words })
}

/// All lists of a document that are commands.
fn in_document(file: &str, value: &Value, found: &mut Vec<Command>) {
    found.extend(of_list(file, value));
    match value {
        Value::Array(values) => values.iter().for_each(|value| in_document(file, value, found)),
        Value::Object(fields) => fields.values().for_each(|value| in_document(file, value, found)),
        _ => {}
    }
}

/// All commands in a text that a shell, systemd or a person reads.
pub fn in_text(file: &str, text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let word = word.rsplit(['$', '(', '"', '`']).next().unwrap_or_default();
            // A path to a program, not to a folder of the same name.
            let word = word.rsplit_once("/bin/").map_or(word, |(_, name)| name);
            // `--namespace lode` is somebody else's.
            let is_value = at > 0 && words[at - 1].starts_with('-');
            if PROGRAMS.contains(&word) && !is_value {
                let is_end = |word: &&&str| matches!(**word, "|" | "||" | "&" | "&&" | ";");
                let words = words[at + 1..].iter().take_while(|word| !is_end(word));
                let words = words.map(|word| word.trim_matches(['"', '\'', '`', ')']).to_owned()).collect();
                found.push(Command { file: file.to_owned(), program: word.to_owned(), words });
            }
        }
    }
    found
}

/// The flags that a systemd unit says may be added to its program's.
fn added(file: &str, text: &str) -> Option<Command> {
    let unit = file.strip_prefix("systemd/")?;
    let program = unit.split(['@', '.']).next()?.to_owned();
    let flags = text.split("LODE_FLAGS=").nth(1)?.split('"').next()?;
    Some(Command { file: file.to_owned(), program, words: flags.split_whitespace().map(str::to_owned).collect() })
}

/// All commands of all files.
pub fn all() -> Vec<Command> {
    let mut found = Vec::new();
    for file in files::all() {
        let text = files::text(&file);
        found.extend(in_text(&file, &text));
        found.extend(added(&file, &text));
        if file.ends_with(".yaml") {
            files::yaml(&file).iter().for_each(|document| in_document(&file, document, &mut found));
        }
    }
    found
}

#[test]
fn commands_are_found_as_people_write_them() {
    let text = "ExecStart=/usr/local/bin/lode-worker --model ${M} \\\n  --device=cpu --spill-dir /var/lib/lode\n\
                n=$(lode --format csv status 2>/dev/null | tail --lines 2)\n\
                kubectl --namespace lode create --help\n";
    let [worker, lode] = in_text("here", text).try_into().unwrap();
    assert_eq!((worker.program.as_str(), worker.value("--model")), ("lode-worker", Some("${M}")));
    assert_eq!(worker.flags().collect::<Vec<_>>(), ["--model", "--device", "--spill-dir"]);
    assert_eq!(worker.value("--device"), Some("cpu"));
    assert_eq!(lode.flags().collect::<Vec<_>>(), ["--format"]);
    let added = added("systemd/lode-worker@.service", "# Environment=\"LODE_FLAGS=--ca %d/ca --insecure\"\n").unwrap();
    assert_eq!((added.program.as_str(), added.flags().count()), ("lode-worker", 2));
    let list = serde_json::json!({"a": [["lode-coordinator", "--grpc=0.0.0.0:7400"], ["curl", "--fail"]]});
    let mut found = Vec::new();
    in_document("here", &list, &mut found);
    assert_eq!((found.len(), found[0].port("--grpc")), (1, 7400));
}
