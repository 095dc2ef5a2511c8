//! `lode-demo`: the demo's corpus, concepts, model and evaluation, one command each.

mod print;

use std::{env, num::NonZeroUsize, path::PathBuf, process};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use lode_demo::{
    checkpoint, concepts,
    conditioned::Demonstration,
    corpus::{Corpus, CorpusSize, Stream},
    evaluate, sample, tokenizer,
    train::{self, TrainConfig},
};

/// Writes the demo's texts and concepts, trains its model and measures it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the training text, the held-out text and the concept sets to a folder
    Corpus {
        /// Folder to write to
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        text: Text,
    },
    /// Write the concept sets: concept_list.csv and GROUP/CONCEPT.json
    Concepts {
        /// Folder to write to
        #[arg(long, default_value = "client/demo/assets/concepts")]
        out: PathBuf,
        #[command(flatten)]
        text: Text,
    },
    /// Train the tokenizer and the model and write the model folder
    Train(TrainArgs),
    /// Measure the model: held-out perplexity against n-grams, he or she by occupation; write evaluation.json
    Evaluate {
        /// Model folder
        #[arg(long, default_value = "client/demo/assets/model")]
        model: PathBuf,
        /// Measure these texts, too: what `lode demo --all --show 40 --format json` says
        #[arg(long)]
        texts: Option<PathBuf>,
        #[command(flatten)]
        text: Text,
    },
    /// Print texts that the model writes
    Sample {
        /// Model folder
        #[arg(long, default_value = "client/demo/assets/model")]
        model: PathBuf,
        /// How the texts begin
        #[arg(long, default_value = "Yesterday")]
        prompt: String,
        /// How many texts
        #[arg(long, default_value_t = 10)]
        num: usize,
        /// Most tokens a text gains
        #[arg(long, default_value_t = 60)]
        max_new_tokens: usize,
        /// Seed of the draws
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
}

#[derive(Args)]
struct Text {
    /// Seed of every random choice
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Documents to train on
    #[arg(long, default_value_t = CorpusSize::default().train)]
    documents: usize,
    /// Documents to hold out
    #[arg(long, default_value_t = CorpusSize::default().held_out)]
    held_out: usize,
}

impl Text {
    fn size(&self) -> CorpusSize {
        CorpusSize { train: self.documents, held_out: self.held_out }
    }
}

#[derive(Args)]
struct TrainArgs {
    /// Folder to write the model to
    #[arg(long, default_value = "client/demo/assets/model")]
    out: PathBuf,
    #[command(flatten)]
    text: Text,
    /// Optimiser steps
    #[arg(long, default_value_t = 2000)]
    steps: usize,
    /// Texts of 128 tokens in a step
    #[arg(long, default_value = "8")]
    batch: NonZeroUsize,
    /// Threads that share a step; another number rounds differently and gives another model
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
    /// Highest learning rate
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Share of a text's units that are left out in training
    #[arg(long, default_value_t = 0.05)]
    dropout: f64,
    /// Most entries of the tokenizer; it stops when every word of the corpus has one
    #[arg(long, default_value_t = 4096)]
    vocabulary: usize,
    /// Write the folder every so many steps
    #[arg(long, default_value = "250")]
    checkpoint_every: NonZeroUsize,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Corpus { out, text } => {
            Corpus::generate(text.seed, text.size())?.write(&out)?;
            concepts::write(&out.join("concepts"), &concepts::generate(text.seed)?)?;
        }
        Command::Concepts { out, text } => concepts::write(&out, &concepts::generate(text.seed)?)?,
        Command::Train(args) => train(&args)?,
        Command::Evaluate { model, texts, text } => {
            let written = texts.map(|path| Demonstration::read(&path)).transpose()?;
            let corpus = Corpus::generate(text.seed, text.size())?;
            print::evaluation(&evaluate::evaluate(&model, &corpus, written.as_ref())?);
        }
        Command::Sample { model, prompt, num, max_new_tokens, seed } => {
            let (model, tokenizer) = checkpoint::read(&model)?;
            let rng = &mut Stream::Samples.rng(seed);
            for _ in 0..num {
                print::line(&sample::sample(&model, &tokenizer, &prompt, max_new_tokens, rng)?);
            }
        }
    }
    Ok(())
}

/// candle sizes its own thread pools from this variable when it first computes.
const POOL_SIZE: &str = "RAYON_NUM_THREADS";

fn train(args: &TrainArgs) -> Result<()> {
    // its pools wait by spinning: beside our training threads they take more time than they give, so they are turned
    // off, by a second start of this program because a process cannot safely change its own environment
    if env::var_os(POOL_SIZE).is_none() {
        let program = env::current_exe().context("cannot find this program to start it again")?;
        let status = process::Command::new(program).args(env::args_os().skip(1)).env(POOL_SIZE, "1").status()?;
        // it has said what went wrong, if anything did
        process::exit(status.code().unwrap_or(1));
    }
    let corpus = Corpus::generate(args.text.seed, args.text.size())?;
    let texts: Vec<String> = corpus.train.iter().map(|document| document.text()).collect();
    let tokenizer = tokenizer::train(texts.iter().map(String::as_str), args.vocabulary)?;
    let config = TrainConfig {
        seed: args.text.seed,
        steps: args.steps,
        batch: args.batch,
        threads: args.threads,
        learning_rate: args.learning_rate,
        dropout: args.dropout,
        checkpoint_every: args.checkpoint_every,
    };
    train::train(&args.out, &corpus.train, &tokenizer, &config)?;
    Ok(())
}
