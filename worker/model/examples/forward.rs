//! Times the forward pass of mining: `forward MODEL_FOLDER SENTENCES_FILE`, sentences one a line.
//!
//! Prints the number of tokens, then for every line on stdin runs all sentences once, pools every unit, and prints the
//! seconds. So a peer can take turns with it: `tests/peers/forward.py` does.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::{env, error::Error, fs, io, path::Path, time::Instant};

use lode_domain::pooling::{Pooling, Tokens};
use lode_model::{LoadOptions, Model, Prepared, pack};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, sentences] = arguments.as_slice() else {
        return Err("usage: forward MODEL_FOLDER SENTENCES_FILE".into());
    };
    let model = Model::load(Path::new(folder), &LoadOptions::default())?;
    let mut prepared = Vec::new();
    for sentence in fs::read_to_string(sentences)?.lines() {
        prepared.push(model.text().prepare(sentence, Tokens::Own)?.map_err(|dropped| dropped.to_string())?);
    }
    println!("{}", prepared.iter().map(Prepared::len).sum::<usize>());
    let batches = pack(&prepared, &model.batch_shape());
    for line in io::stdin().lines() {
        line?;
        let start = Instant::now();
        for batch in &batches {
            let members: Vec<&Prepared> = batch.iter().map(|&number| &prepared[number]).collect();
            model.responses(&members, Pooling::Max)?;
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
