use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

/// The contract with users: these lines must go on being understood.
#[test]
fn the_contract_parses() {
    let lines = "
        up --model gpt2=./gpt2 --workers 2 --device auto --data-dir d --grpc 127.0.0.1:0
        lint a.json b.jsonl folder
        lint a.json --model gpt2=./gpt2 --compat selfcond --strict
        mine --model gpt2 a.json b --pooling max
        mine --model gpt2 a.json --compat selfcond --limit-per-class 1000 --seed 1234 --detach
        mine --model gpt2 a.json --strict
        jobs
        watch job-3
        watch 3
        cancel job-3
        status
        concepts --model gpt2
        units top --model gpt2 --concept sense/bank
        units top --model gpt2 --concept sense/bank --top 50 --layer *.mlp.* --min-ap 0.9 --bottom
        units show --model gpt2 transformer.h.3.mlp.c_fc[1187]
        units layers --model gpt2 --concept sense/bank
        overlap --model gpt2 sense/bank sense/bass --top 100
        overlap --model gpt2 sense/bank sense/bass --min-ap 0.9 --pooling mean
        nearest --model gpt2 sense/bank --compat selfcond
        export --model gpt2 --concept sense/bank --format csv --out f.csv
        export --model gpt2 --concept sense/bank --format parquet --out f.parquet
        export --model gpt2 --concept sense/bank --format json --out -
        generate --model gpt2 --prompt Once
        generate --model gpt2 --prompt Once --concept sense/bank --k 50 --value mean --positions all --rank top
        generate --model gpt2 --prompt Once --concept a/b:30 --concept c/d --value -1.5 --positions generated --rank random
        generate --model gpt2 --prompt Once --num 3 --max-new-tokens 9 --temperature 0.8 --top-p 0.9 --top-k 40 --seed 7
        generate --model gpt2 --prompt Once --repetition-penalty 1.2 --presence-penalty 0.5 --frequency-penalty -0.5 --logit-bias 50256=-100 --logit-bias 3=1.5 --value zero --concept a/b --positions last
        --coordinator http://other:7400 --format json status
        --embedded --data-dir d mine --model gpt2=./gpt2 a.json
        mine --embedded --data-dir d --workers 2 --device cpu --dtype f16 --memory-budget 2GiB --model gpt2=x a.json
        --embedded --data-dir d units top --model gpt2 --concept sense/bank --format csv
        completions bash";
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words = std::iter::once("lode").chain(line.split_whitespace());
        if let Err(error) = Args::try_parse_from(words) {
            panic!("lode {line}\n{error}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |line: &str, part: &str| {
        let words = std::iter::once("lode").chain(line.split_whitespace());
        let message = Args::try_parse_from(words).unwrap_err().to_string();
        assert!(message.contains(part), "lode {line}\n{message}");
    };
    refused("units top --model gpt2 --concept bank", "GROUP/NAME");
    refused("units show --model gpt2 h.3", "LAYER[INDEX]");
    refused("overlap --model gpt2 a/b c/d --top 5 --min-ap 0.5", "cannot be used with");
    refused("generate --model gpt2 --prompt x --concept a/b --value big", "mean, p50, p90, zero");
    refused("mine --model gpt2= a.json", "NAME=PATH_OR_HUB_ID");
    refused("mine --model gpt2", "CONCEPTS");
    refused("watch x", "job-7");
    refused("up", "--model");
}

#[test]
fn compat_decides_the_recipe() {
    let resolve = |pooling, compat| RecipeArgs { pooling, compat }.resolve();
    assert_eq!(resolve(None, None).unwrap(), Recipe::default());
    assert_eq!(resolve(None, Some(Compat::Selfcond)).unwrap().tokens, Tokens::Selfcond);
    assert!(resolve(Some(Pooling::Mean), Some(Compat::Selfcond)).unwrap_err().to_string().contains("pools by max"));
}
