//! Times generation: `generate MODEL_FOLDER`, then on stdin a line `SEQUENCES PROMPT_TOKENS NEW_TOKENS K` for each run; prints the
//! seconds of each.
//!
//! Sequences are greedy and never end early, prompts are random and all distinct. With K above 0 every sequence has a condition of its
//! own on K random units at all positions; values are small, so that nothing overflows. A peer can take turns with it:
//! `tests/peers/generate.py` does.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::{env, error::Error, io, path::Path, sync::Arc, time::Instant};

use lode_domain::{
    intervention::{ForcedUnit, Intervention, Positions},
    sampling::Sampling,
    unit::UnitId,
};
use lode_model::{Conditions, Engine, EngineOptions, LoadOptions, Model, SequenceRequest};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: generate MODEL_FOLDER")?;
    let model = Arc::new(Model::load(Path::new(&folder), &LoadOptions::default())?);
    let mut random = Random(1);
    for line in io::stdin().lines() {
        let line = line?;
        let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [sequences, prompt, new, k] = numbers[..] else {
            return Err("a line is: SEQUENCES PROMPT_TOKENS NEW_TOKENS K".into());
        };
        let requests =
            (0..sequences).map(|_| request(&model, &mut random, [prompt, new, k])).collect::<Result<Vec<_>, _>>()?;
        println!("{}", run(&model, requests, u64::from(sequences * new))?);
    }
    Ok(())
}

fn request(model: &Model, random: &mut Random, [prompt, new, k]: [u32; 3]) -> Result<SequenceRequest, Box<dyn Error>> {
    let vocab = model.vocab_len() as u64;
    let prompt: Vec<u32> = (0..prompt).map(|_| random.below(vocab) as u32).collect();
    let sampling = Sampling { temperature: 0.0, max_new_tokens: new, ..Sampling::default() };
    let request = SequenceRequest::new(model, &prompt, sampling);
    let unit = |_| ForcedUnit { unit: UnitId(random.below(model.unit_space().len() as u64) as u32), value: 0.01 };
    let units: Vec<ForcedUnit> = (0..k).map(unit).collect();
    let interventions = if k == 0 { vec![] } else { vec![Intervention::new(Positions::All, units)] };
    Ok(SequenceRequest { conditions: Arc::new(Conditions::of(model.unit_space(), &interventions)?), ..request })
}

/// Seconds from the first join to the last of `tokens` tokens.
fn run(model: &Arc<Model>, requests: Vec<SequenceRequest>, tokens: u64) -> Result<f64, Box<dyn Error>> {
    let mut engine = Engine::new(Arc::clone(model), EngineOptions::default());
    let start = Instant::now();
    for request in requests {
        engine.join(request)?;
    }
    let mut drawn = 0;
    while engine.active() > 0 {
        drawn += engine.step()?.iter().filter(|event| event.token.is_some()).count() as u64;
    }
    if drawn != tokens {
        return Err(format!("{drawn} of {tokens} tokens were drawn: the model ended texts early").into());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Random numbers that need no crate: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
