//! Flags in `deploy/` are flags of the programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    process,
};

use lode_tests::binary;

use crate::{
    commands::{self, Command},
    files::{self, list, string},
};

/// What programs say about themselves, asked once each.
#[derive(Default)]
struct Helps(BTreeMap<Vec<String>, String>);

impl Helps {
    fn of(&mut self, path: &[String]) -> &str {
        self.0.entry(path.to_vec()).or_insert_with(|| {
            let output = process::Command::new(binary(&path[0])).args(&path[1..]).arg("--help").output().unwrap();
            assert!(output.status.success(), "{path:?} --help");
            String::from_utf8(output.stdout).unwrap()
        })
    }

    /// The program and the subcommands that a command names.
    fn path(&mut self, command: &Command) -> Vec<String> {
        let mut path = vec![command.program.clone()];
        for word in &command.words {
            let help = self.of(&path);
            let commands = help.split("Commands:").nth(1).unwrap_or_default();
            let mut names = commands.lines().skip(1).take_while(|line| !line.is_empty());
            if names.any(|line| line.split_whitespace().next() == Some(word)) {
                path.push(word.clone());
            }
        }
        path
    }

    fn flags(&mut self, path: &[String]) -> BTreeSet<String> {
        let lines = self.of(path).lines().map(str::trim).filter(|line| line.starts_with('-'));
        let words = lines.flat_map(|line| line.split([' ', ',', '=', '[']));
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    }
}

#[test]
fn flags_are_those_of_the_programs() {
    let (mut helps, mut checked) = (Helps::default(), BTreeSet::new());
    for command in commands::all() {
        let path = helps.path(&command);
        let known = helps.flags(&path);
        for flag in command.flags() {
            assert!(known.contains(flag), "deploy/{}: {} has no {flag}: {known:?}", command.file, path.join(" "));
            checked.insert((command.file.clone(), command.program.clone()));
        }
    }
    // A search that finds nothing would find nothing wrong either.
    for (file, program) in [
        ("compose/compose.yaml", "lode-coordinator"),
        ("compose/compose.yaml", "lode-worker"),
        ("kubernetes/base/coordinator.yaml", "lode-coordinator"),
        ("kubernetes/base/worker.yaml", "lode-worker"),
        ("slurm/coordinator.sbatch", "lode-coordinator"),
        ("slurm/one-machine", "lode"),
        ("slurm/up", "lode"),
        ("slurm/worker.sbatch", "lode-worker"),
        ("systemd/lode-coordinator.service", "lode-coordinator"),
        ("systemd/lode-worker@.service", "lode-worker"),
    ] {
        assert!(checked.contains(&(file.to_owned(), program.to_owned())), "no {program} in {file}: {checked:?}");
    }
}

/// Kubernetes leaves a `$(NAME)` that nobody has set as it stands.
#[test]
fn names_in_arguments_are_set() {
    let kustomization = files::only("kubernetes/base/kustomization.yaml");
    let literals = list(&kustomization["configMapGenerator"]).iter().flat_map(|map| list(&map["literals"]));
    let shared: Vec<&str> = literals.map(|literal| string(literal).split('=').next().unwrap()).collect();
    let worker = files::object("kubernetes/base/worker.yaml", "Deployment");
    let container = &worker["spec"]["template"]["spec"]["containers"][0];
    let own = list(&container["env"]).iter().map(|variable| string(&variable["name"]));
    let set: BTreeSet<&str> = shared.into_iter().chain(own).collect();
    let mut used = 0;
    for argument in list(&container["args"]).iter().map(string) {
        for name in argument.split("$(").skip(1) {
            let name = name.split(')').next().unwrap();
            assert!(set.contains(name), "{argument}: {name} is not among {set:?}");
            used += 1;
        }
    }
    assert!(used >= 3, "the worker's model, device and address are not fixed: {container}");
}
